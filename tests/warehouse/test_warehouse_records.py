"""Runs, models, decisions and incidents."""

from __future__ import annotations

import json
import math
from datetime import timedelta

import pyarrow as pa
import pytest
from warehouse_cases import ISSUED, T0, trained

from modelfleet import metric_names, pack
from modelfleet.errors import DataError, NotFoundError
from modelfleet.warehouse import Warehouse
from modelfleet.warehouse.schema import MODELS


def test_run_recorded_again_is_updated_and_keeps_what_is_not_given(warehouse: Warehouse) -> None:
    key = ("delays", "train", "2013-09-30", "a1")
    warehouse.record_run(*key, status="running", started_at=T0, spec_digest="d")
    for _ in range(2):
        warehouse.record_run(
            *key, status="committed", ended_at=ISSUED, rows=5, counts={"trained": 4}, step_seconds={"train": 1.5}
        )
    assert warehouse.runs() == [
        {
            **dict(zip(("fleet", "pipeline", "interval", "attempt"), key, strict=True)),
            "status": "committed",
            "started_at": T0,
            "ended_at": ISSUED,
            "rows": 5,
            "counts": {"trained": 4},
            "step_seconds": {"train": 1.5},
            "message": None,
            "spec_digest": "d",
            "code_version": None,
        }
    ]
    assert warehouse.run_counts() == [{"fleet": "delays", "pipeline": "train", "status": "committed", "n": 1}]


def test_run_that_failed_and_runs_again_has_neither_end_nor_message(warehouse: Warehouse) -> None:
    key = ("delays", "train", "2013-09-30", "a1")
    warehouse.record_run(*key, status="failed", ended_at=ISSUED, message="odd \0 \ud800 text")
    assert warehouse.runs()[0]["message"] in ("odd \ufffd ? text",)
    warehouse.record_run(*key, status="running")
    assert (warehouse.runs()[0]["ended_at"], warehouse.runs()[0]["message"]) == (None, None)


def test_run_of_unknown_status_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match="'done'; allowed are running, committed"):
        warehouse.record_run("delays", "train", "2013-09-30", "a1", status="done")


def test_waiting_intervals_are_those_whose_latest_score_run_waits(warehouse: Warehouse) -> None:
    def run(
        interval: str, attempt: str, status: str, hour: int, pipeline: str = "score", fleet: str = "delays"
    ) -> None:
        warehouse.record_run(fleet, pipeline, interval, attempt, status=status, started_at=T0 + timedelta(hours=hour))

    run("2013-10-02", "a", "waiting", 1)
    run("2013-10-01", "a", "failed", 1)
    run("2013-10-01", "b", "waiting", 2)
    run("2013-10-03", "z", "waiting", 1)
    run("2013-10-03", "a", "committed", 2)
    run("2013-10-04", "a", "waiting", 1, pipeline="train")
    run("2013-10-05", "a", "waiting", 1, fleet="lateness")
    assert warehouse.waiting_intervals("delays") == ["2013-10-01", "2013-10-02"]


def test_latest_attempt_is_the_committed_one_that_started_last(warehouse: Warehouse) -> None:
    for hour, (interval, attempt, status) in enumerate(
        [("2013-10-01", "b", "committed"), ("2013-10-02", "a", "empty"), ("2013-10-01", "a", "committed"),
         ("2013-10-01", "c", "failed"), ("2013-10-03", "a", "running")]
    ):  # fmt: skip
        warehouse.record_run("f", "train", interval, attempt, status=status, started_at=T0 + timedelta(hours=hour))
    assert warehouse.latest_attempt("f", "train") == ("2013-10-01", "a")
    assert warehouse.latest_attempt("f", "train", "2013-10-02") == ("2013-10-02", "a")
    assert warehouse.latest_attempt("f", "train", statuses=("failed",)) == ("2013-10-01", "c")
    assert warehouse.latest_attempt("f", "score") is None


def test_models_loaded_twice_are_there_once_with_own_metrics_as_json(warehouse: Warehouse) -> None:
    for _ in range(2):
        args = ("delays", "2013-09-30", "a1", trained())
        assert warehouse.load_models(*args, version=4, own_metrics=("within_5",)) == 3
    warehouse.record_run("delays", "train", "2013-09-30", "a1", status="committed")
    found = warehouse.models("delays").to_pylist()
    assert [(r["partition"], r["status"], r["mae"], r["n_rows"], r["model_version"], r["rmse"]) for r in found] == [
        ("carrier=AA", "trained", 1.5, 100, 4, None),
        ("carrier=DL", "skipped", None, 3, 4, None),
        ("carrier=UA", "failed", None, 50, 4, None),
    ]
    assert found[0]["own_metrics"] == '{"within_5": 0.5, "champion_within_5": 0.25}'
    assert found[1]["own_metrics"] == '{"within_5": null, "champion_within_5": null}'
    assert (found[0]["window_start"], found[2]["message"]) == (T0, "ValueError: \ufffd")
    assert warehouse.models("delays", partition="carrier=DL")["reason"].to_pylist() == ["too_few_rows"]
    counts = warehouse.model_counts("delays", "2013-09-30")
    assert [(row["status"], row["n"]) for row in sorted(counts, key=lambda r: r["status"])] == [
        ("failed", 1), ("skipped", 1), ("trained", 1)]  # fmt: skip


def test_models_of_a_forecast_are_kept_with_candidates_folds_and_fallback(warehouse: Warehouse) -> None:
    new = {
        "candidates": ['[{"name": "ridge", "score": 0.9}]', None, None],
        **{"n_folds": [4, None, None], "mase": [0.9, math.nan, None], "pinball": [2.0, None, None]},
        **{
            "coverage": [0.8, None, None],
            "fallback_status": ["item", "none", "none"],
            "fallback_mase": [1.1, None, None],
        },
        **{"baseline_pinball": [3.0, None, None], "champion_coverage": [0.7, None, None]},
        "fallback_within_5": [0.75, None, None],
    }
    table = pa.table({**dict(zip(trained().column_names, trained().columns, strict=True)), **new})
    warehouse.load_models("delays", "2013-09-30", "a1", table, own_metrics=("within_5",))
    found = warehouse.models("delays", "2013-09-30", attempt="a1").to_pylist()
    own = json.loads(found[0]["own_metrics"])
    assert own == {"within_5": 0.5, "fallback_within_5": 0.75, "champion_within_5": 0.25}
    stored = {name: values[0] for name, values in new.items() if name != "fallback_within_5"}
    assert {name: found[0][name] for name in stored} == stored
    assert (found[1]["mase"], found[1]["candidates"], found[1]["fallback_status"]) == (None, None, "none")


@pytest.mark.parametrize("kind", ["regression", "classification", "forecast"])
def test_all_of_a_packs_index_is_kept_but_what_only_scoring_needs(kind: str) -> None:
    index = set(pack.row_schema([], metric_names.names(kind)).names)
    own = {"_hash", "model", "serves", "level", "features", "shared", "fingerprint"}
    assert index - {str(column.name) for column in MODELS.columns} == own | {"trained_interval", "trained_attempt"}


def test_partition_that_comes_twice_is_a_data_error_and_leaves_nothing(warehouse: Warehouse) -> None:
    with pytest.raises(DataError, match="refuses the rows"):
        warehouse.load_models("delays", "2013-09-30", "a1", pa.concat_tables([trained(), trained()]))
    assert warehouse.models("delays", "2013-09-30", attempt="a1").num_rows == 0


def test_run_that_took_over_a_killed_attempts_steps_has_its_rows(warehouse: Warehouse) -> None:
    for hour, (attempt, status) in enumerate([("z", "committed"), ("b", "running"), ("a", "reused"), ("c", "failed")]):
        started = T0 + timedelta(hours=hour)
        warehouse.record_run("delays", "train", "2013-09-30", attempt, status=status, started_at=started)
        if attempt != "a":
            warehouse.load_models("delays", "2013-09-30", attempt, trained())
    assert set(warehouse.models("delays")["attempt"].to_pylist()) == {"b"}


def test_models_without_a_committed_run_are_not_found(warehouse: Warehouse) -> None:
    warehouse.load_models("delays", "2013-09-30", "a1", trained())
    with pytest.raises(NotFoundError, match=r"'delays' has no committed train run of interval 2013-09-30"):
        warehouse.models("delays", "2013-09-30")


def test_decisions_loaded_twice_are_there_once(warehouse: Warehouse) -> None:
    table = pa.table(
        {
            "fleet": ["delays"] * 2,
            "interval": ["2013-09-30"] * 2,
            "partition": ["carrier=AA", "carrier=DL"],
            "level": pa.nulls(2, pa.string()),
            "decision": ["promoted", "rejected"],
            "rule": [None, "mae < baseline.mae"],
            "reason": ["all rules pass", "rule is not TRUE"],
            "mode": ["enforce"] * 2,
            "serves_version": pa.array([1, None], pa.int64()),
            "champion_interval": pa.nulls(2),
        }
    )
    for _ in range(2):
        assert warehouse.load_decisions("delays", "2013-09-30", "p1", table) == 2
    warehouse.record_run("delays", "promote", "2013-09-30", "p1", status="committed")
    assert warehouse.decisions("delays").drop_columns(["attempt"]).to_pylist() == table.to_pylist()
    assert [row["n"] for row in warehouse.decision_counts("delays")] == [1, 1]


def test_incident_recorded_twice_is_there_once(warehouse: Warehouse) -> None:
    event = {"id": "i1", "fleet": "delays", "kind": "step_failed", "severity": "error", "title": "t", "occurred_at": T0}
    assert [warehouse.record_incident(**event), warehouse.record_incident(**event)] == [True, False]
    assert [(row["id"], row["occurred_at"]) for row in warehouse.incidents("delays", unresolved=True)] == [("i1", T0)]
    assert warehouse.incidents("lateness") == []
