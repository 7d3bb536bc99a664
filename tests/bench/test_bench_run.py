"""The bench itself, in a tiny form: what it measures, keeps and shows, and that all implementations do the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bench.agreement import compare
from bench.bars import GROWN, SCORING, TRAINING, bars
from bench.measure import KINDS, Meter
from bench.run import run
from bench.workloads import IMPLEMENTATIONS, WORKLOADS, fleet

from bench import report, results

ROWS, PARTITIONS = 8_000, 40


@pytest.mark.slow
@pytest.mark.integration
def test_tiny_workload_by_all_implementations_agrees_and_is_reported(tmp_path: Path) -> None:
    workload = WORKLOADS["W1"].sized(ROWS, PARTITIONS)
    found = run(workload, tmp_path / "home", list(IMPLEMENTATIONS), seconds=1.0)

    steps: dict[str, set[str]] = {}
    for record in found["records"]:
        steps.setdefault(record["implementation"], set()).add(record["step"])
        assert (record["workload"], record["rows"], record["partitions"]) == ("W1", ROWS, PARTITIONS)
        assert record["seconds"] >= 0
        assert set(record["cpu"]) == set(record["peak_mb"]) == set(KINDS)
        assert record["cpu_seconds"] == pytest.approx(sum(record["cpu"].values()), abs=0.02)
        assert record["peak_mb"]["driver"] > 10
    assert set(steps) == set(IMPLEMENTATIONS)
    assert {"session", *TRAINING, *SCORING, "promote.publish", "train.quality"} <= steps["ours"]
    assert steps["reference"] == steps["tuned"] == {"session", "train", "score"}
    assert steps["plain"] == {"session", "train", "score"}
    measured = {(r["implementation"], r["step"]): r["measured"] for r in found["records"]}
    assert measured["ours", "train.train"] == measured["plain", "train"] == PARTITIONS
    assert 0 < measured["reference", "train"] < PARTITIONS
    agreed = found["agreement"]
    assert agreed["models"] | {"reference": 0} == dict.fromkeys(IMPLEMENTATIONS, PARTITIONS) | {"reference": 0}
    assert agreed["median"]["ours"]["mae"] == pytest.approx(agreed["median"]["tuned"]["mae"], rel=1e-6)

    results.save({**found, "form": "quick"}, tmp_path / "results")
    page = report.write(results.latest(tmp_path / "results"), tmp_path / "docs").read_text()
    assert f"{ROWS:,} rows, {PARTITIONS:,} partitions" in page
    assert "| ours | train.train |" in page
    assert (tmp_path / "docs" / "images" / "performance-steps.png").stat().st_size > 1000


def test_kept_command_names_no_place_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "run.py W1 --home /somewhere --full --results /elsewhere --seconds-per-reference 45"
    monkeypatch.setattr(sys, "argv", given.split())
    kept = results.measured("W1", "", [])["command"]
    assert kept.endswith(" W1 --full --seconds-per-reference 45")
    assert "where" not in kept


def test_metered_step_counts_own_cpu_and_extrapolates_what_was_cut() -> None:
    meter = Meter("W1", "ours", rows=1000, partitions=100)
    with meter.step("whole"):
        _burn(0.3)
    with meter.step("cut", measured=25, rows=250) as facts:
        facts["note"] = "kept"
        _burn(0.1)

    small = Meter("W1", "ours", rows=50, partitions=5)
    with small.step("cut"):
        _burn(0.2)
    with meter.step("beyond the small", measured=25, smaller=small.records[0]):
        _burn(0.2)
    whole, cut, beyond = meter.records
    assert beyond.cpu["driver"] < 0.8 < 100 / 25 * 0.2 + 0.1
    assert whole.cpu["driver"] == pytest.approx(0.3, abs=0.2)
    assert whole.seconds >= 0.29
    assert cut.seconds == pytest.approx(4 * cut.facts["measured_seconds"], abs=0.05)
    assert cut.facts["note"] == "kept"
    assert cut.cpu["driver"] >= 0.3


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_makes_a_fleet(name: str, tmp_path: Path) -> None:
    workload = WORKLOADS[name].sized(*WORKLOADS[name].quick)
    spec = fleet(workload, tmp_path)

    assert spec.problem.target == workload.sales.target
    assert len(spec.quality.checks) == 8
    assert spec.training.holdout == f"{workload.sales.holdout_days}D"


def test_metrics_that_differ_are_named(tmp_path: Path) -> None:
    ours, theirs = _metrics(tmp_path / "ours.parquet"), _metrics(tmp_path / "plain.parquet", mae=1.1)

    with pytest.raises(AssertionError, match=r"mae of 1 of 3 partitions differs: ours .*1\.0.*, plain .*1\.1"):
        compare({"ours": ours, "plain": theirs}, WORKLOADS["W1"])


def test_partitions_that_lack_are_named(tmp_path: Path) -> None:
    ours, theirs = _metrics(tmp_path / "ours.parquet"), _metrics(tmp_path / "plain.parquet", stores=(1, 2))

    with pytest.raises(AssertionError, match="ours has models of 3 partitions, plain of 2"):
        compare({"ours": ours, "plain": theirs}, WORKLOADS["W1"])


def test_sample_of_the_reference_is_compared_where_it_is(tmp_path: Path) -> None:
    ours, theirs = _metrics(tmp_path / "ours.parquet"), _metrics(tmp_path / "some.parquet", stores=(3,))

    assert compare({"ours": ours, "reference": theirs}, WORKLOADS["W1"])["models"] == {"ours": 3, "reference": 1}


def test_latest_keeps_the_newest_of_each_workload_and_form(tmp_path: Path) -> None:
    for workload, form, seconds in (("W1", "full", 1), ("W1", "quick", 2), ("W2", "full", 3), ("W1", "full", 4)):
        results.save(_run(workload, form, seconds), tmp_path)

    kept = [(run["workload"], run["form"], run["records"][0]["seconds"]) for run in results.latest(tmp_path)]
    assert kept == [("W1", "full", 4), ("W1", "quick", 2), ("W2", "full", 3)]
    assert json.loads((tmp_path / "2026-01-02-W1-quick.json").read_text())["form"] == "quick"


def test_bars_are_measured_from_full_runs_only() -> None:
    ours = [("ours", step, 1.0) for step in (*TRAINING, *SCORING, "session")]
    others = [("reference", "train", 100.0), ("reference", "score", 30.0), ("tuned", "train", 4.0)]
    quick, full = (_timed("W1", form, (40_000_000, 10_000), [*ours, *others]) for form in ("quick", "full"))
    grown = [
        _timed("W2", form, (40 * n, n), [("ours", "train.train", n / 1e4)])
        for form, n in zip(("custom", "full"), GROWN, strict=True)
    ]

    assert all(bar.measured is None and not bar.cleared for bar in bars([quick]))
    found = {bar.what: (bar.measured, bar.cleared) for bar in bars([quick, full, *grown])}
    assert found["W1 training, times as fast as reference"] == (25.0, True)
    assert found["W1 training, times as fast as tuned"] == (1.0, False)
    assert found["W1 training, times as fast as plain"] == (None, False)
    assert found["W1 scoring, times as fast as reference"] == (10.0, True)
    assert found["W1 whole chain, seconds"] == (7.0, True)
    assert found["growth of the chain from 100,000 to 1,000,000 partitions, times"] == (10.0, True)


def test_figures_are_numbers_texts_or_nothing(tmp_path: Path) -> None:
    figures = {"share": 0.5, "rows": 40_000_000, "digest": "ab12", "killed_at": None, "seconds": {"all": 1200.5}}
    sized = {**_timed("other", "full", (4, 2), [("ours", "train", 1.0)]), "figures": figures}
    page = report.write(
        [results.measured("other", "a bench", sized["records"], **figures) | {"form": "full"}], tmp_path
    )
    told = page.read_text()
    assert "| rows | 40,000,000 |" in told
    assert "| digest | ab12 |" in told
    assert "| killed at | None |" in told
    assert "| seconds | all 1,200.5 |" in told


def _timed(workload: str, form: str, size: tuple[int, int], steps: list[tuple[str, str, float]]) -> dict[str, Any]:
    peaks = dict.fromkeys(KINDS, 100)
    made = [
        {
            "implementation": who,
            "step": step,
            "seconds": seconds,
            "rows": size[0],
            "partitions": size[1],
            "peak_mb": peaks,
        }
        for who, step, seconds in steps
    ]
    return {"workload": workload, "form": form, "records": made, "inside_models": None}


def _burn(seconds: float) -> None:
    import time

    until = time.thread_time() + seconds
    while time.thread_time() < until:
        np.arange(1000).sum()


def _metrics(path: Path, stores: tuple[int, ...] = (1, 2, 3), mae: float = 1.0) -> Path:
    names = ("mae", "rmse", "mape", "wape", "r2", "bias")
    values: dict[str, Any] = {name: np.ones(len(stores)) for name in names}
    values["mae"][-1] = mae
    pq.write_table(pa.table({"store": np.array(stores), "item": np.ones(len(stores), int), **values}), path)
    return path


def _run(workload: str, form: str, seconds: float) -> dict[str, Any]:
    record = {"rows": 10, "partitions": 2, "seconds": seconds}
    return {"workload": workload, "form": form, "date": "2026-01-02T03:04:05+00:00", "records": [record]}
