"""Seasonality: the mean target by weekday, month and hour, how much they explain inside partitions, and autocorrelation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelfleet.exploring.columns import between_share
from modelfleet.exploring.partitions import CALENDAR, Measured, calendar_part
from modelfleet.exploring.sampling import SeriesSample

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LABELS = {
    "weekday": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    "month": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "hour": tuple(f"{hour:02}" for hour in range(24)),
}
_MOST_STEPS = 20_000
_MOST_LAGS = 400


@dataclass(frozen=True)
class Pattern:
    """The mean target by a part of the date, over all rows; NaN where there is none.

    :ivar explained: the median over sampled partitions of the share of the variation that the part explains; NaN where
        no partition is long enough.
    """

    part: str
    means: np.ndarray
    explained: float

    @property
    def labels(self) -> tuple[str, ...]:
        return LABELS[self.part]


@dataclass(frozen=True)
class Autocorrelation:
    """Autocorrelations over sampled partitions, lags from 1: their median and the quartiles; shape (lags,)."""

    median: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    partitions: int

    @property
    def season(self) -> int | None:
        """The first lag from 2 that stands out: its median lies above both neighbours, with three quarters of the partitions
        above 0.1, and is no less than four fifths of the highest such one; None where there is none.
        """
        import numpy as np

        inner = self.median[1:-1]
        peaks = np.flatnonzero((inner > self.median[:-2]) & (inner > self.median[2:]) & (self.lower[1:-1] > 0.1))
        return int(peaks[inner[peaks] >= 0.8 * inner[peaks].max()][0]) + 2 if len(peaks) else None


def patterns(measured: Measured, series: SeriesSample) -> list[Pattern]:
    """The parts of the date that take at least two values."""
    import numpy as np

    found = []
    for part in CALENDAR:
        known, total = measured.calendar[part]
        if np.count_nonzero(known) >= 2:
            means = np.full(len(known), np.nan)
            np.divide(total, known, out=means, where=known > 0)
            found.append(Pattern(part, means, _explained(series, part)))
    return found


def _explained(series: SeriesSample, part: str) -> float:
    import numpy as np
    import pandas as pd

    index = series.index.assign(part=calendar_part(series.index["local"].to_numpy().astype("M8[us]"), part))
    shares = [
        between_share(rows["part"], rows["target"].to_numpy())
        for _, rows in index.groupby("partition")
        if len(rows) >= 2 * CALENDAR[part] and rows["part"].nunique() > 1
    ]
    known = pd.Series(shares, dtype=float).dropna()
    return float(known.median()) if len(known) else float(np.nan)


def autocorrelation(series: SeriesSample, season: int) -> Autocorrelation | None:
    """Autocorrelations of the mean target by step, over the sampled partitions; None without any that varies.

    Up to four seasons, and half of a series' length. By statsmodels, with pairs of steps of which one has no target left
    out.
    """
    import warnings

    import numpy as np
    from statsmodels.tsa.stattools import acf  # type: ignore[import-untyped]

    lags = min(max(4 * season, 14), _MOST_LAGS)
    rows = series.index[np.isfinite(series.index["target"])]
    found = []
    for _, one in rows.groupby("partition"):
        values = _on_grid(one)
        count = min(lags, len(values) // 2)
        if count > 1 and np.nanstd(values) > 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # lags that no pair of steps has become NaN
                own = acf(values, nlags=count, missing="conservative", fft=True)[1:]
            found.append(np.pad(own, (0, lags - count), constant_values=np.nan))
    if not found:
        return None
    stacked = np.array(found)
    stacked = stacked[:, np.isfinite(stacked).any(axis=0)]
    lower, median, upper = np.nanquantile(stacked, [0.25, 0.5, 0.75], axis=0)
    return Autocorrelation(median, lower, upper, len(found))


def _on_grid(rows: pd.DataFrame) -> np.ndarray:
    """One value a step, NaN where there is none; the latest `_MOST_STEPS` steps."""
    import numpy as np

    means = rows.groupby("step")["target"].mean()
    steps = means.index.to_numpy()
    first = max(int(steps[0]), int(steps[-1]) - _MOST_STEPS + 1)
    values = np.full(int(steps[-1]) - first + 1, np.nan)
    inside = steps >= first
    values[steps[inside] - first] = means.to_numpy()[inside]
    return values
