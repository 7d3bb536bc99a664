"""What each column holds: missing values, spread, outliers, and how it goes with the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelfleet.exploring.prepared import Prepared
from modelfleet.exploring.sampling import SeriesSample, as_float

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from modelfleet.spec import FleetSpec

FENCE = 3.0
"""Outliers lie so many interquartile ranges below the lower or above the upper quartile (Tukey's "far out")."""
_CATEGORIES = 50
"""Texts of more different values are left out of the correlations: they would fit any target."""
_LEAST = 20
"""Correlations of fewer pairs say nothing."""


def roles(spec: FleetSpec) -> dict[str, str]:
    """What the fleet uses each column for; a column of several uses has the first of them."""
    found: dict[str, str] = {}
    for name, columns in (
        ("target", (spec.problem.target,)),
        ("key", spec.partition_by),
        ("time", (spec.time_column,)),
        ("id", spec.id_columns),
        ("weight", (spec.training.weight,) if spec.training.weight else ()),
        ("feature", spec.columns),
    ):
        for column in columns:
            found.setdefault(column, name)
    return found


def describe(
    prepared: Prepared, sample: pd.DataFrame, series: SeriesSample, nulls: Mapping[str, int], rows: int
) -> pd.DataFrame:
    """A line for each column, in the order of the schema.

    :param nulls: exact, of all `rows`; NaN is counted in the sample, since no null is told of it.
    :returns: `column`, `role`, `type`, `missing` (rows of all), `share` (missing), `distinct` (in the sample), `common`
        (share of the commonest value), `low`, `median`, `high`, `outliers` (share of the sample), `infinite` (values in
        the sample), `below`, `above` (the fences), `pearson`, `spearman`, `within` (inside partitions), `explained` (share
        of the target's variation that lies between a text's values), `blank` (sampled partitions in which it is always
        missing).
    """
    import pandas as pd

    spec = prepared.spec
    target = as_float(sample[spec.problem.target])
    within = _residuals(series.index["target"].to_numpy(), series)
    role_of = roles(spec)
    lines = []
    for column in prepared.columns:
        line = {"column": column, "role": role_of.get(column, "other"), "type": prepared.facts["schema"][column]}
        values = sample[column]
        numbers = as_float(values)
        line |= _missing(values, nulls.get(column, 0), rows)
        line |= {} if numbers is None else _spread(numbers)
        if line["role"] in ("feature", "weight"):
            line |= _with_target(values, numbers, target)
            line["within"] = _within(series, column, within)
        line["blank"] = int(series.rows[column].isna().groupby(series.index["partition"]).all().sum())
        lines.append(line)
    return pd.DataFrame(lines, columns=list(_NAMES))


_NAMES = (
    *("column", "role", "type", "missing", "share", "distinct", "common", "low", "median", "high"),
    *("outliers", "infinite", "below", "above", "pearson", "spearman", "within", "explained", "blank"),
)


def _missing(values: pd.Series, nulls: int, rows: int) -> dict[str, object]:
    """Nulls of all rows, or what the sample says where it holds NaN as well."""
    seen = float(values.isna().mean())
    share = max(nulls / rows, seen) if nulls == 0 else nulls / rows
    counts = values.value_counts(dropna=True)
    return {
        "missing": nulls if nulls or not seen else round(seen * rows),
        "share": share,
        "distinct": len(counts),
        "common": float(counts.iloc[0] / counts.sum()) if len(counts) else 0.0,
    }


def _spread(numbers: np.ndarray) -> dict[str, object]:
    import numpy as np

    known = numbers[np.isfinite(numbers)]
    if len(known) == 0:
        return {"infinite": int(np.isinf(numbers).sum())}
    lower, median, upper = np.quantile(known, [0.25, 0.5, 0.75])
    below, above = lower - FENCE * (upper - lower), upper + FENCE * (upper - lower)
    # With half of the values equal there are no fences: everything else would lie outside.
    outside = (known < below) | (known > above) if upper > lower else np.zeros(len(known), bool)
    return {
        "low": known.min(),
        "median": median,
        "high": known.max(),
        "infinite": int(np.isinf(numbers).sum()),
        "outliers": float(outside.mean()),
        "below": below,
        "above": above,
    }


def _with_target(values: pd.Series, numbers: np.ndarray | None, target: np.ndarray | None) -> dict[str, object]:
    if target is None:
        return {}
    if numbers is not None:
        return {"pearson": _correlation(numbers, target), "spearman": _correlation(numbers, target, ranked=True)}
    if values.nunique() > _CATEGORIES:
        return {}
    return {"explained": between_share(values.astype(str).where(values.notna()), target)}


def between_share(groups: pd.Series, values: np.ndarray) -> float:
    """The share of the variation of `values` that lies between groups (eta squared), less what chance would give.

    Epsilon squared (Kelley 1935): 1 - mean square within groups / mean square of all; NaN without variation.
    """
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame({"g": groups.to_numpy(), "v": values}).dropna()
    frame = frame[np.isfinite(frame["v"])]
    total, count = float(((frame["v"] - frame["v"].mean()) ** 2).sum()), frame["g"].nunique()
    if total <= 0 or len(frame) <= count + 1:
        return float("nan")
    inside = float(((frame["v"] - frame.groupby("g")["v"].transform("mean")) ** 2).sum())
    return max(0.0, 1 - (inside / (len(frame) - count)) / (total / (len(frame) - 1)))


def _correlation(x: np.ndarray, y: np.ndarray, *, ranked: bool = False) -> float:
    """Pearson's, or Spearman's of what is `ranked`; NaN where the pairs are few, or one side does not vary."""
    import numpy as np
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < _LEAST or _is_constant(x) or _is_constant(y):
        return float("nan")
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1] if ranked else np.corrcoef(x, y)[0, 1])


def _is_constant(values: np.ndarray) -> bool:
    """Also where only rounding tells its values apart, as it does after a mean is taken off."""
    import numpy as np

    return bool(np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())))


def _residuals(values: np.ndarray, series: SeriesSample) -> np.ndarray:
    """Values less their partition's mean."""
    import numpy as np
    import pandas as pd

    known = pd.Series(np.where(np.isfinite(values), values, np.nan))
    return (known - known.groupby(series.index["partition"].to_numpy()).transform("mean")).to_numpy()


def _within(series: SeriesSample, column: str, residuals: np.ndarray) -> float:
    numbers = as_float(series.rows[column])
    if numbers is None:
        return float("nan")
    return _correlation(_residuals(numbers, series), residuals)


def outlying_targets(series: SeriesSample) -> tuple[pd.DataFrame, float]:
    """The targets far outside their own partition's quartiles, the farthest first, and their share of the sampled rows.

    :returns: `partition`, `local`, `target`, `median`, `distance` (interquartile ranges beyond the quartile).
    """
    import numpy as np

    rows = series.index[np.isfinite(series.index["target"])]
    by = rows.groupby("partition")["target"]
    lower, median, upper = (by.transform("quantile", q) for q in (0.25, 0.5, 0.75))
    width = (upper - lower).where(upper > lower)
    beyond = np.maximum(lower - rows["target"], rows["target"] - upper) / width
    found = rows.assign(median=median, distance=beyond)[beyond > FENCE]
    share = len(found) / max(len(rows), 1)
    return found.sort_values("distance", ascending=False, kind="stable").drop(columns="step"), share
