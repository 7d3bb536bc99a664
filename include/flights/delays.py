"""Arrival delay of one route: a ridge regression on what is known at departure."""

from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler


def build(alpha: float = 1.0) -> Pipeline:
    """The estimator of one route."""
    return make_pipeline(SimpleImputer(), StandardScaler(), Ridge(alpha=alpha))
