"""The model code of the benches, as an author writes it; imported in Spark's Python workers."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge


def ridge(alpha: float = 1.0) -> Ridge:
    """A linear model: microseconds to fit, so that everything else shows."""
    return Ridge(alpha=alpha)


def logistic() -> LogisticRegression:
    """A linear classifier."""
    return LogisticRegression()


def boosted(max_iter: int = 50) -> HistGradientBoostingRegressor:
    """Boosted trees: tenths of a second to fit, so that nothing else should show. The same rows give the same trees."""
    return HistGradientBoostingRegressor(max_iter=max_iter, early_stopping=False, random_state=0)


def build_of(path: str) -> Any:
    """The callable of this module that a spec names ``bench.models:<name>``."""
    return globals()[path.partition(":")[2]]
