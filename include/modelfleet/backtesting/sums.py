"""Errors and coverage summed up by step and by source, so that a fold's millions of rows need not be read for the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelfleet.forecasting import quantile_name

Sums = dict[str, dict[str, dict[str, float]]]
"""``{"step": {"1": {"n": 12, "loss": ...}}, "source": {"model": {...}}}``."""


@dataclass(frozen=True)
class Scored:
    """Arrays over predicted rows; `value` and `base` are probabilities where classes are predicted."""

    steps: np.ndarray
    sources: np.ndarray
    valid: np.ndarray
    actual: np.ndarray
    value: np.ndarray
    base: np.ndarray
    bands: np.ndarray
    base_bands: np.ndarray
    quantiles: tuple[float, ...]
    classifies: bool


def sums_of(rows: Scored) -> Sums:
    """The sums of a bucket's rows.

    - ``n``: rows that can be compared; ``loss``, ``base_loss``: absolute errors, of probabilities squared ones.
    - ``size``: absolute targets, by which ``loss`` becomes wape; ``base_exact``: rows in which the baseline was right.
    - ``banded``, ``inside``: rows with quantiles, and those whose target lies between the outermost; ``base_`` likewise.
    - ``q10`` ...: those whose target does not lie above the quantile.
    """
    weights = _weights(rows)
    found: Sums = {"step": {}, "source": {}}
    for by, values in (("step", rows.steps[rows.valid]), ("source", rows.sources[rows.valid])):
        names, codes = np.unique(values.astype(str) if by == "source" else values, return_inverse=True)
        columns = {name: np.bincount(codes, weight, len(names)) for name, weight in weights.items()}
        for place, name in enumerate(names.tolist()):
            found[by][str(name)] = {column: float(sums[place]) for column, sums in columns.items()}
    return found


def _weights(rows: Scored) -> dict[str, np.ndarray]:
    valid = rows.valid
    actual, value, base = rows.actual[valid], rows.value[valid], rows.base[valid]
    power = 2 if rows.classifies else 1
    made = {
        "n": np.ones(len(actual)),
        "loss": np.abs(value - actual) ** power,
        "base_loss": np.abs(base - actual) ** power,
        "size": np.abs(actual),
        "base_exact": (base == actual).astype(float),
    }
    if len(rows.quantiles) > 1:
        for prefix, given in (("", rows.bands[valid]), ("base_", rows.base_bands[valid])):
            there = np.isfinite(given).all(axis=1)
            made[f"{prefix}banded"] = there.astype(float)
            with np.errstate(invalid="ignore"):
                made[f"{prefix}inside"] = (there & (given[:, 0] <= actual) & (actual <= given[:, -1])).astype(float)
        for place, quantile in enumerate(rows.quantiles):
            with np.errstate(invalid="ignore"):
                made[quantile_name(quantile)] = (actual <= rows.bands[valid][:, place]).astype(float)
    return made


def added(all_sums: Iterable[Sums]) -> Sums:
    """The sums of several buckets or folds together."""
    total: Sums = {"step": {}, "source": {}}
    for sums in all_sums:
        for by, groups in sums.items():
            for name, columns in groups.items():
                into = total[by].setdefault(name, {})
                for column, number in columns.items():
                    into[column] = into.get(column, 0.0) + number
    return total


def whole(groups: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The sums over all groups of one kind."""
    return added([{"step": {"all": dict(columns)}} for columns in groups.values()])["step"].get("all", {})


def ratio(columns: Mapping[str, float], top: str, bottom: str) -> float:
    """One sum over another; NaN where that is 0 or missing."""
    below: Any = columns.get(bottom, 0.0)
    return columns.get(top, 0.0) / below if below else float("nan")
