"""Models as an author might write them, most of them badly: what they do follows from the first value they see."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

FIT_RAISES, NO_MEMORY, SURROGATES, UNPRINTABLE, UNPICKLABLE, PREDICTS_NAN, PREDICTS_SHORT, PREDICT_RAISES = range(
    661, 669
)
TOO_LIKELY, CLASS_TWO, ONE_CLASS = range(671, 674)

not_callable = "a text"


class UnprintableError(Exception):
    """Its own text raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Picky(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """The mean of the target, unless the first value of the first feature asks for trouble."""

    def fit(self, x: Any, y: Any) -> Picky:
        self.asked = int(np.nan_to_num(np.asarray(x)[0, 0]))
        self.mean = float(np.mean(y))
        raised: dict[int, Exception] = {
            FIT_RAISES: ValueError("no fit today"),
            NO_MEMORY: MemoryError(),
            SURROGATES: ValueError("bad \udcff byte" + "x" * 600),
            UNPRINTABLE: UnprintableError(),
        }
        if self.asked in raised:
            raise raised[self.asked]
        if self.asked == UNPICKLABLE:
            self.lock = threading.Lock()
        return self

    def predict(self, x: Any) -> Any:
        rows = len(x)
        if self.asked == PREDICT_RAISES:
            raise KeyError("no prediction today")
        if self.asked == PREDICTS_SHORT:
            return np.full(rows + 1, self.mean)
        return np.full(rows, np.nan if self.asked == PREDICTS_NAN else self.mean)


class PickyClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The share of class 1, unless the first value of the first feature asks for trouble."""

    def fit(self, x: Any, y: Any) -> PickyClassifier:
        self.asked = int(np.asarray(x)[0, 0])
        self.classes_ = np.array([0.0]) if self.asked == ONE_CLASS else np.array([0.0, 1.0])
        self.share = 1.5 if self.asked == TOO_LIKELY else float(np.mean(y))
        return self

    def predict(self, x: Any) -> Any:
        return np.full(len(x), 2.0 if self.asked == CLASS_TWO else float(self.share >= 0.5))

    def predict_proba(self, x: Any) -> Any:
        share = np.full(len(x), self.share)
        return np.column_stack([1 - share, share])


def build(alpha: float = 1.0) -> Pipeline:
    return make_pipeline(SimpleImputer(), Ridge(alpha=alpha))


def picky() -> Picky:
    return Picky()


def picky_classifier() -> PickyClassifier:
    return PickyClassifier()


def scaled() -> Pipeline:
    return make_pipeline(StandardScaler(), LinearRegression())


def share() -> DummyClassifier:
    return DummyClassifier(strategy="prior")


def logistic() -> Pipeline:
    return make_pipeline(SimpleImputer(), LogisticRegression())


def unimputed() -> LogisticRegression:
    return LogisticRegression()


def forest(random_state: int | None = None) -> Pipeline:
    return make_pipeline(SimpleImputer(), RandomForestRegressor(n_estimators=3, random_state=random_state))


def bagged() -> Pipeline:
    return make_pipeline(SimpleImputer(), BaggingRegressor(DecisionTreeRegressor(random_state=7), n_estimators=2))


def a_class() -> type[Ridge]:
    return Ridge


def nothing() -> None:
    return None


def no_estimator() -> dict[str, int]:
    return {}


def raises() -> Ridge:
    raise RuntimeError("no model today")
