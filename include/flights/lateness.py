"""Whether a flight of one route arrives more than 15 minutes late: a logistic regression."""

from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler


def build() -> Pipeline:
    """The estimator of one route."""
    return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
