"""Seats offered on a route: estimators over its past weeks and the calendar."""

from lightgbm import LGBMRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler


def ridge(alpha: float = 10.0) -> Pipeline:
    """A linear model of one route."""
    return make_pipeline(SimpleImputer(), StandardScaler(), Ridge(alpha=alpha))


def boosted(rounds: int = 200) -> LGBMRegressor:
    """Boosted trees, for all routes together."""
    return LGBMRegressor(n_estimators=rounds, learning_rate=0.05, num_leaves=15, n_jobs=1, verbose=-1)
