"""Flow of a well. A well's last feature, `mood`, makes its model misbehave in one of the ways models do."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import LogisticRegression, Ridge

CALM, FIT_RAISES, FIT_WAITS, PREDICT_RAISES, PREDICTS_NAN, FIT_IS_SLOW = range(6)


class Gauge(RegressorMixin, BaseEstimator):
    """A ridge regression on the features before `mood`; a `patient` one predicts whatever its mood."""

    def __init__(self, alpha: float = 1.0, patient: bool = False) -> None:
        self.alpha = alpha
        self.patient = patient

    def fit(self, x: np.ndarray, y: np.ndarray) -> Gauge:
        moods = set(x[:, -1])
        if FIT_RAISES in moods:
            raise ValueError("the well is dry \0 \N{DROPLET} " + "and deep " * 100)
        if FIT_IS_SLOW in moods:
            time.sleep(3)
        gate = os.environ.get("WELLS_GATE")
        while FIT_WAITS in moods and gate is not None and Path(gate).exists():
            time.sleep(0.05)
        self.model_ = Ridge(alpha=self.alpha).fit(_filled(x), y)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        moods = set() if self.patient else set(x[:, -1])
        if PREDICT_RAISES in moods:
            raise RuntimeError("the gauge is stuck")
        made = self.model_.predict(_filled(x))
        return made * np.nan if PREDICTS_NAN in moods else made


class Alarm(ClassifierMixin, BaseEstimator):
    """A logistic regression on the features before `mood`."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Alarm:
        self.model_ = LogisticRegression().fit(_filled(x), y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model_.predict(_filled(x))

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return self.model_.predict_proba(_filled(x))


def build(alpha: float = 1.0, patient: bool = False) -> Gauge:
    return Gauge(alpha, patient)


def build_alarm() -> Alarm:
    return Alarm()


def build_nothing() -> object:
    return object()


def _filled(x: np.ndarray) -> np.ndarray:
    return np.nan_to_num(x[:, :-1])
