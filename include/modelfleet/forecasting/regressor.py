"""Estimators as forecasters: fitted on a matrix of features, one row per step of the series.

Direct: one estimator per block of steps, on features that end as many steps before the row as the block is long, so that
nothing needs to be guessed. Recursive: one estimator on features that end one step before the row; its own predictions
take the place of what is not known yet. (Ben Taieb et al., "A review and comparison of strategies for multi-step ahead
time series forecasting", Expert Systems with Applications 2012.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from modelfleet import modelcode
from modelfleet.forecasting.weights import fit_estimator
from modelfleet.modelcode import Matrix
from modelfleet.prediction import NoModelError, Reason, failed, predict

Matrices = Callable[[int], Matrix]
"""The features of all rows of a series, by how many steps before the row the past ones end."""


class Recipe(Protocol):
    """What the recursion needs of `modelfleet.features.Recipe`."""

    @property
    def target(self) -> str | None:
        """The column that is forecast, if any feature looks back on it."""

    def known(self, ahead: int = 1) -> np.ndarray:
        """Which columns of the matrix do not look back on what is unknown when a forecast is issued; bools."""

    def recursed(self) -> np.ndarray:
        """The places in a row, one step ahead, of the features that look back on the target."""

    def past_row(self, history: Mapping[str, np.ndarray]) -> np.ndarray:
        """Those features, in that order, of the row after `history`."""


@dataclass
class DirectRegressor:
    """One estimator per block of steps; `blocks` holds the first and last step of each, from 1."""

    blocks: tuple[tuple[int, int], ...]
    estimators: list[Any]

    @classmethod
    def fit(
        cls,
        build: Callable[[], Any],
        matrices: Matrices,
        y: np.ndarray,
        blocks: Sequence[tuple[int, int]],
        *,
        upto: int,
        begin: int = 0,
        past: Callable[[int], np.ndarray] | None = None,
        weights: np.ndarray | None = None,
    ) -> DirectRegressor:
        """Estimators fitted on rows ``[begin, upto)``: those with a target, from the first with a whole past on.

        :param build: makes a fresh estimator.
        :param y: the target, float64, NaN where it is not known; shape (rows,).
        :param past: which columns of the matrix look back, by the same number of steps; bools, shape (columns,). Leading
            rows in which one is NaN are left out, for there the series is too young. Default: no row is left out.
        :param weights: the rows' sample weights, shape (rows,).
        :raises NoModelError: when no row is left, or building or fitting raises.
        """
        estimators = []
        for _, ahead in blocks:
            mask = None if past is None else past(ahead)
            estimators.append(_fitted(build, matrices(ahead), y, begin, upto, mask, weights))
        return cls(tuple((first, last) for first, last in blocks), estimators)

    def forecast(self, matrices: Matrices, origin: int, horizon: int) -> np.ndarray:
        """The steps from row `origin` on; float64, shape (horizon,).

        :raises NoModelError: when an estimator raises, or gives what is not finite or of another length.
        :raises ValueError: when the horizon is longer than the blocks.
        """
        if horizon > self.blocks[-1][1]:
            raise ValueError(f"{horizon} steps are asked for; the estimators were fitted for {self.blocks[-1][1]}")
        made = np.empty(horizon)
        for (first, last), estimator in zip(self.blocks, self.estimators, strict=True):
            start, end = first - 1, min(last, horizon)
            if start >= end:
                break
            rows = modelcode.take(matrices(last), slice(origin + start, origin + end))
            made[start:end] = predict(estimator, _all_there(rows, end - start), "forecast")[0]
        return made


@dataclass
class RecursiveRegressor:
    """One estimator of the next step."""

    estimator: Any

    @classmethod
    def fit(
        cls,
        build: Callable[[], Any],
        x: Matrix,
        y: np.ndarray,
        *,
        upto: int,
        begin: int = 0,
        past: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> RecursiveRegressor:
        """An estimator fitted on rows ``[begin, upto)`` of the matrix of one step ahead; see `DirectRegressor.fit`.

        :param past: which columns look back; bools, shape (columns,).
        :raises NoModelError: when no row is left, or building or fitting raises.
        """
        return cls(_fitted(build, x, y, begin, upto, past, weights))

    def forecast(self, recipe: Recipe, x: Matrix, y: np.ndarray, origin: int, horizon: int) -> np.ndarray:
        """The steps from row `origin` on; float64, shape (horizon,).

        What looks back on other columns stays as it is at the first step: their values after it are as unknown as the
        target's, and nothing predicts them.

        :param x: the matrix of one step ahead, an ndarray; rows after `origin` give what is known ahead.
        :param y: the target; only values before row `origin` are read.
        :raises NoModelError: when the estimator raises, or gives what is not finite; when the matrix is the author's own.
        """
        if not isinstance(x, np.ndarray):
            told = "a recursive forecast needs declared features alone: leave out features(frame), or forecast directly"
            raise NoModelError("failed", Reason.PREDICTION_INVALID, told)
        rows = np.array(_all_there(x[origin : origin + horizon], horizon))
        unknown, places = ~recipe.known(1), recipe.recursed()
        rows[1:, unknown] = rows[0, unknown]
        if recipe.target is None or not len(places):
            return predict(self.estimator, rows, "forecast")[0]
        known = np.concatenate([y[:origin], np.empty(horizon)])
        for step in range(horizon):
            rows[step, places] = recipe.past_row({recipe.target: known[: origin + step]})
            known[origin + step] = predict(self.estimator, rows[step : step + 1], "forecast")[0][0]
        return known[origin:]


def _fitted(
    build: Callable[[], Any],
    x: Matrix,
    y: np.ndarray,
    begin: int,
    upto: int,
    past: np.ndarray | None,
    weights: np.ndarray | None,
) -> Any:
    known = np.flatnonzero(np.isfinite(y[begin:upto])) + begin
    rows = known[known >= _warm_up(x, upto, past)]
    if len(rows) == 0:
        told = f"none of {len(known)} rows with a target has all features that look back; they need a longer series"
        raise NoModelError("skipped", Reason.TOO_FEW_ROWS, told)
    whole = rows[-1] - rows[0] + 1 == len(rows)
    chosen = slice(int(rows[0]), int(rows[-1]) + 1) if whole else rows
    try:
        return fit_estimator(
            build(), modelcode.take(x, chosen), y[chosen], None if weights is None else weights[chosen]
        )
    except (Exception, SystemExit) as exc:
        raise failed(Reason.FIT_RAISED, exc) from exc


def _warm_up(x: Matrix, upto: int, past: np.ndarray | None) -> int:
    """The first row before `upto` in which no feature that looks back is NaN, or `upto`.

    The columns of an author's ``features(frame)`` are the author's: which of them look back is not known.
    """
    if past is None or not isinstance(x, np.ndarray) or x.shape[1] != len(past) or not past.any():
        return 0
    whole = ~np.isnan(x[:upto][:, past]).any(axis=1)
    return int(whole.argmax()) if whole.any() else upto


def _all_there(rows: Matrix, wanted: int) -> Matrix:
    if len(rows) != wanted:
        told = f"{wanted - len(rows)} of {wanted} rows to forecast are missing"
        raise NoModelError("failed", Reason.PREDICTION_INVALID, told)
    return rows
