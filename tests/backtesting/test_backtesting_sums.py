"""Sums by step and source add up to what the metrics of all rows say, however the rows are split."""

from __future__ import annotations

import numpy as np
import pytest

from modelfleet import metrics
from modelfleet.backtesting.sums import Scored, added, ratio, sums_of, whole

QUANTILES = (0.1, 0.5, 0.9)


def scored(rows: int, *, classifies: bool = False) -> Scored:
    chance = np.random.default_rng(rows)
    actual = chance.integers(0, 2, rows).astype(float) if classifies else chance.normal(10, 3, rows)
    value = chance.random(rows) if classifies else actual + chance.normal(0, 1, rows)
    bands = value[:, None] + np.array([-1.0, 0.0, 1.0])
    bands[::7] = np.nan
    return Scored(
        steps=np.arange(rows) % 7 + 1,
        sources=np.array(["model", "item", "baseline"], dtype=object)[np.arange(rows) % 3],
        valid=np.arange(rows) % 5 != 0,
        actual=actual,
        value=value,
        base=chance.random(rows) if classifies else np.full(rows, 10.0),
        bands=np.empty((rows, 0)) if classifies else bands,
        base_bands=np.empty((rows, 0)) if classifies else bands * 0 + np.array([0.0, 10.0, 20.0]),
        quantiles=() if classifies else QUANTILES,
        classifies=classifies,
    )


def test_sums_give_the_metrics_of_the_rows() -> None:
    rows = scored(210)
    total = whole(sums_of(rows)["step"])
    truth, said = rows.actual[rows.valid], rows.value[rows.valid]
    told = metrics.regression(truth, said)
    assert total["n"] == rows.valid.sum()
    assert ratio(total, "loss", "n") == pytest.approx(told["mae"])
    assert ratio(total, "loss", "size") == pytest.approx(told["wape"])
    there = rows.valid & np.isfinite(rows.bands).all(axis=1)
    known = metrics.forecast(
        rows.actual[there], rows.value[there], quantiles=QUANTILES, predicted=rows.bands[there], scale=1.0
    )
    assert total["banded"] == there.sum()
    assert ratio(total, "inside", "banded") == pytest.approx(known["coverage"])
    assert ratio(total, "q50", "banded") == pytest.approx((rows.actual[there] <= rows.bands[there][:, 1]).mean())


def test_sums_of_classes_are_brier_scores() -> None:
    rows = scored(100, classifies=True)
    total = whole(sums_of(rows)["source"])
    truth, chance = rows.actual[rows.valid], rows.value[rows.valid]
    told = metrics.classification(truth, chance, (chance >= 0.5).astype(float))
    assert ratio(total, "loss", "n") == pytest.approx(told["brier"])


def test_sums_are_the_same_by_step_and_source_and_of_parts() -> None:
    rows = sums_of(scored(210))
    assert set(rows["step"]) == {str(step) for step in range(1, 8)}
    assert set(rows["source"]) == {"model", "item", "baseline"}
    by_step, by_source = whole(rows["step"]), whole(rows["source"])
    assert by_step == pytest.approx(by_source)
    twice = added([rows, rows])
    assert whole(twice["step"])["loss"] == pytest.approx(2 * by_step["loss"])


def test_a_ratio_over_nothing_is_nan() -> None:
    assert np.isnan(ratio({"loss": 1.0, "size": 0.0}, "loss", "size"))
    assert np.isnan(ratio({}, "inside", "banded"))
