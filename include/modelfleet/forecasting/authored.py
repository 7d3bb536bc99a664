"""Forecasters that authors write themselves, as they are fitted and asked."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelfleet.forecasting.quantiles import quantile_name
from modelfleet.modelcode import is_forecaster


@dataclass
class Authored:
    """A fitted forecaster of an author's."""

    model: Any

    @staticmethod
    def copy(model: Any) -> Any:
        """The model as it is now, whatever becomes of it."""
        return copy.deepcopy(model)

    @classmethod
    def fit(cls, model: Any, y: np.ndarray, X: np.ndarray | None) -> Authored:
        """A copy of the model, fitted on a copy of the series."""
        made = cls.copy(model)
        returned = made.fit(y.copy(), **({"X": X} if "X" in _parameters(made.fit) else {}))
        return cls(returned if is_forecaster(returned) else made)

    def predict(
        self, horizon: int, X: np.ndarray | None, quantiles: Sequence[float]
    ) -> tuple[Any, Mapping[float, Any] | None]:
        """What it says of the next steps; no quantiles where it gives none of them.

        :raises ValueError: for a mapping without ``mean``, or with some of the quantiles.
        """
        asked = {"X": X, "quantiles": tuple(quantiles)}
        takes = _parameters(self.model.predict)
        given = self.model.predict(horizon, **{name: value for name, value in asked.items() if name in takes})
        if not isinstance(given, Mapping):
            return given, None
        names = {quantile: quantile_name(quantile) for quantile in quantiles}
        lacking = [name for name in names.values() if name not in given]
        if "mean" not in given or 0 < len(lacking) < len(names):
            lacking = ["mean"] if "mean" not in given else lacking
            raise ValueError(f"it returned {', '.join(map(repr, given))} without {', '.join(map(repr, lacking))}")
        return given["mean"], None if lacking or not names else {q: given[name] for q, name in names.items()}


def _parameters(function: Any) -> Mapping[str, Any]:
    return inspect.signature(function).parameters
