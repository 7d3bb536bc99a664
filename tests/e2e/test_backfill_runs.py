"""``modelfleet backfill``: past intervals as the schedule would have run them, whatever fails on the way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import Result
from test_gate import to_second_champion
from typer.testing import CliRunner

from chain_bench import BULK, BULK_START, DAYS, World
from modelfleet.cli import app
from modelfleet.lake import Lake, runs
from modelfleet.steps import waiting_intervals

pytest_plugins = ["fixtures_mlflow"]

FIRST, SECOND, THIRD = DAYS
WELLS = """
from chain_bench import wells
from modelfleet import Monthly, Schedule
from modelfleet.airflow import many_models
many_models(wells(schedule=Schedule(ingest="@daily", train=Monthly())))
"""


@pytest.fixture(autouse=True)
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of fleet files, with the fleet of wells in it."""
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "wells.py").write_text(WELLS)
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder))
    monkeypatch.setenv("COLUMNS", "400")
    return folder


def backfill(first: str, last: str, *options: str, fleet: str = "wells", code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["backfill", fleet, "--from", first, "--to", last, *options])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    return result


def outcomes(result: Result) -> list[tuple[str, str, str]]:
    """Pipeline, interval and outcome of each row of the table at the end."""
    return re.findall(r"^│ (\w+) +│ ([\d-]+) +│ (\w+) ", result.stdout, re.MULTILINE)


def digests(world: World, *pipelines: str) -> dict[str, str]:
    return {
        f"{name}/{run.interval.key}": run.digest
        for name in pipelines
        for run in runs.all_committed(Lake.open(), world.spec.name, name)
    }


def test_each_interval_is_ingested_and_scored_as_one_by_one(world: World) -> None:
    shown = backfill(FIRST, SECOND)

    assert outcomes(shown) == [(pipeline, day, "done") for day in (FIRST, SECOND) for pipeline in ("ingest", "score")]
    made = digests(world, "ingest", "score")
    assert list(made) == [
        f"ingest/{BULK}",
        *(f"{name}/{day}" for name in ("ingest", "score") for day in (FIRST, SECOND)),
    ]
    for day in (FIRST, SECOND):
        world.run("ingest", day)
        world.run("score", day, force=True)
    assert digests(world, "ingest", "score") == made

    again = backfill(FIRST, SECOND, "--pipeline", "score")
    assert "taken over from" in again.stdout
    assert digests(world, "ingest", "score") == made


def test_dry_run_lists_the_runs_and_makes_none(world: World) -> None:
    shown = backfill(BULK, FIRST, "--train", "--dry-run")

    assert [line.split() for line in shown.stdout.splitlines()] == [
        *([name, BULK] for name in ("ingest", "train", "promote", "score")),
        *([name, FIRST] for name in ("ingest", "score")),
    ]
    assert runs.committed(Lake.open(), "wells", "ingest", FIRST) is None


def test_what_fails_is_told_at_the_end_and_the_rest_is_done(world: World) -> None:
    world.execute(f"UPDATE readings SET depth = 99999 WHERE read_at LIKE '{SECOND}%'")

    shown = backfill(FIRST, THIRD, code=1)

    assert outcomes(shown) == [
        (name, day, "failed" if (name, day) == ("score", SECOND) else "done")
        for day in DAYS
        for name in ("ingest", "score")
    ]
    assert "QualityError: fleet 'wells'" in shown.stdout


def test_intervals_never_ingested_can_not_be_scored(world: World) -> None:
    world.run("ingest", SECOND)

    shown = backfill(FIRST, SECOND, "--pipeline", "score", code=1)

    assert outcomes(shown) == [("score", FIRST, "failed"), ("score", SECOND, "done")]
    assert f"DataError: fleet 'wells': interval {FIRST} is not ingested" in shown.stdout


def test_a_bulk_load_is_not_cut_into_days_and_what_needs_them_is_skipped(world: World) -> None:
    shown = backfill("2024-03-30", BULK, code=1)

    assert outcomes(shown) == [
        *(("ingest", "2024-03-30", "failed"), ("score", "2024-03-30", "skipped")),
        *(("ingest", BULK, "done"), ("score", BULK, "skipped")),
    ]
    for said in (f"overlaps {BULK}", "ingest of 2024-03-30 is not done", f"{BULK} was ingested for training only"):
        assert said in shown.stdout
    assert world.committed("ingest", BULK).interval.start.isoformat().startswith(BULK_START)


def test_intervals_without_champion_wait_and_those_without_rows_are_empty(new_world: World) -> None:
    shown = backfill("2023-12-31", "2024-01-01")

    assert outcomes(shown) == [
        *(("ingest", "2023-12-31", "done"), ("score", "2023-12-31", "empty")),
        *(("ingest", "2024-01-01", "done"), ("score", "2024-01-01", "waiting")),
    ]
    assert waiting_intervals(new_world.spec) == ["2024-01-01"]


def test_scoring_takes_todays_champion_or_the_one_of_then(world: World) -> None:
    world.execute("INSERT INTO readings SELECT 900001, 'plain', 8, '2023-12-31 09:30:00', 500, 3, 0, NULL, NULL")
    to_second_champion(world)
    world.run("ingest", "2023-12-31")

    def versions(*options: str) -> dict[str, int]:
        backfill("2023-12-31", THIRD, "--pipeline", "score", *options, code=1)
        committed = runs.all_committed(Lake.open(), "wells", "score")
        return {run.interval.key: run.inputs["champion"]["version"] for run in committed}

    assert versions("--as-of") == {FIRST: 1, SECOND: 1, THIRD: 2}
    assert waiting_intervals(world.spec) == ["2023-12-31"]
    (row,) = world.warehouse.runs("wells", pipeline="score", interval="2023-12-31")
    assert (row["status"], row["message"]) == ("waiting", "no champion as of 2023-12-31")

    assert versions() == {"2023-12-31": 2, FIRST: 2, SECOND: 2, THIRD: 2}


@pytest.mark.parametrize(
    "first, last, options, message",
    [
        (SECOND, FIRST, (), "the first interval is after the last"),
        ("yesterday", FIRST, (), "interval key 'yesterday' is malformed"),
        (FIRST, "2099-01-01", (), "2099-01-01 is not over yet"),
        (FIRST, FIRST, ("--pipeline", "train"), "no interval of its schedule ends there"),
    ],
)
def test_bounds_that_can_not_be_meant_are_one_message(
    first: str, last: str, options: tuple[str, ...], message: str, new_world: World
) -> None:
    assert message in backfill(first, last, *options, code=1).stderr


def test_an_unknown_fleet_is_one_message(new_world: World) -> None:
    assert "did you mean 'wells'" in backfill(FIRST, SECOND, fleet="well", code=1).stderr
