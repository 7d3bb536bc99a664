"""What the demo starts by itself, and what it leaves to asset events."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "demo"))

import chain
from chain import BULK, DAYS, Goal

FLEET = chain.FLEETS[0]
INGEST, TRAIN, PROMOTE = (Goal(FLEET, pipeline, BULK) for pipeline in ("ingest", "train", "promote"))
DAILY = [Goal(FLEET, "ingest", day) for day in DAYS]


def started(done: list[Goal], begun: list[Goal]) -> list[Goal]:
    return [start.goal for start in chain.to_start(frozenset(done), frozenset(begun)) if start.goal.fleet == FLEET]


@pytest.mark.parametrize(
    "done, begun, starts",
    [
        pytest.param([], [], [INGEST], id="nothing done"),
        pytest.param([], [INGEST], [], id="bulk ingest runs"),
        pytest.param([INGEST], [INGEST], [TRAIN], id="bulk ingest done"),
        pytest.param([INGEST, TRAIN], [INGEST, TRAIN], [], id="the training's event starts the promotion"),
        pytest.param([INGEST, TRAIN, PROMOTE], [INGEST, TRAIN, PROMOTE], DAILY, id="champion there"),
        pytest.param(
            [INGEST, TRAIN, PROMOTE, DAILY[0]],
            [INGEST, TRAIN, PROMOTE, *DAILY],
            [],
            id="the ingests' events start the scoring",
        ),
        pytest.param([INGEST, TRAIN], [], [PROMOTE], id="interrupted before promotion"),
        pytest.param(
            [INGEST, TRAIN, PROMOTE, *DAILY],
            [],
            [Goal(FLEET, "score", day) for day in DAYS],
            id="interrupted before scoring",
        ),
        pytest.param(list(chain.goals()), [], [], id="all done"),
    ],
)
def test_only_what_no_event_starts_is_triggered(done: list[Goal], begun: list[Goal], starts: list[Goal]) -> None:
    assert started(done, begun) == starts


def test_bulk_load_is_for_training_only() -> None:
    (bulk, *_) = chain.to_start(frozenset(), frozenset())

    assert bulk.conf == {"start": "2013-01-01", "train_only": True}
