"""What one model predicts for one partition, checked; and how a partition comes to have no model or prediction."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from modelfleet import modelcode, pack
from modelfleet.spared import spared

MESSAGE_LIMIT = 500
LARGEST = (1 << 31) - (1 << 20)
"""So many bytes a pickled model may take: Arrow and Parquet hold no value of 2 GB."""


class Reason(StrEnum):
    """Why a partition has no model."""

    NO_TARGET = "no_target"
    TOO_FEW_ROWS = "too_few_rows"
    NO_ROWS_BEFORE_CUTOFF = "no_rows_before_cutoff"
    CONSTANT_TARGET = "constant_target"
    ALL_NULL_FEATURE = "all_null_feature"
    BAD_TARGET = "bad_target"
    FIT_RAISED = "fit_raised"
    PREDICTION_INVALID = "prediction_invalid"
    FEATURES_RAISED = "features_raised"
    METRICS_RAISED = "metrics_raised"
    BAD_SERIES = "bad_series"
    BAD_WEIGHT = "bad_weight"
    TIMEOUT = "timeout"
    MEMORY_EXCEEDED = "memory_exceeded"
    CRASHED = "crashed"
    OUTPUT_EXCEEDED = "output_exceeded"


TRANSIENT: frozenset[str] = frozenset({Reason.TIMEOUT, Reason.MEMORY_EXCEEDED, Reason.CRASHED})
"""Failures that could turn out otherwise on the same rows with the same code: on an idle machine, with higher limits."""
OF_CODE: frozenset[str] = frozenset(
    {
        Reason.FIT_RAISED,
        Reason.PREDICTION_INVALID,
        Reason.FEATURES_RAISED,
        Reason.METRICS_RAISED,
        Reason.OUTPUT_EXCEEDED,
    }
)
"""Failures that the author's code makes, the same each time: only other code could turn them otherwise."""


def may_differ(*, same_code: bool) -> frozenset[str]:
    """The reasons of failures that are worth another try on the same rows; all others are of the rows."""
    return TRANSIENT if same_code else TRANSIENT | OF_CODE


@dataclass(frozen=True)
class Predicted:
    """What a model says of some rows; arrays of shape (rows,), quantiles (rows, how many are asked for)."""

    values: np.ndarray
    probability: np.ndarray | None = None
    quantiles: np.ndarray | None = None


class NoModelError(Exception):
    """The partition gets no model."""

    def __init__(self, status: str, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, short(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self.reason, self.message)


def short(message: str) -> str:
    """A message as a row can hold it: bounded, and without what UTF-8 has no bytes for."""
    return message[:MESSAGE_LIMIT].encode("utf-8", "backslashreplace").decode()[:MESSAGE_LIMIT]


def lacks_memory(exc: BaseException) -> bool:
    """Whether an exception says that there is no memory left."""
    return isinstance(exc, MemoryError) or (isinstance(exc, OSError) and exc.errno == errno.ENOMEM)


def raised(exc: BaseException) -> str:
    """An exception of the author's code as a message; its own text may raise too."""
    try:
        return f"{type(exc).__name__}: {exc}"
    except Exception:
        return type(exc).__name__


def failed(reason: Reason, exc: BaseException, told: str | None = None) -> NoModelError:
    """The failure that an exception of the author's code makes; a lack of memory is one of its own."""
    return NoModelError("failed", Reason.MEMORY_EXCEEDED if lacks_memory(exc) else reason, told or raised(exc))


def fit(build: Callable[[], Any], x: modelcode.Matrix, y: np.ndarray, weights: np.ndarray | None = None) -> Any:
    """A fresh estimator, fitted.

    :param weights: the rows' sample weights, shape (rows,).
    :raises NoModelError: when building or fitting it raises, or it takes no weights.
    """
    from modelfleet.forecasting.weights import fit_estimator  # whose package imports this module

    try:
        estimator = build()
        with spared(estimator, x, y):
            return fit_estimator(estimator, x, y, weights)
    except (Exception, SystemExit) as exc:
        raise failed(Reason.FIT_RAISED, exc) from exc


def dump(model: object) -> tuple[bytes, str]:
    """A fitted estimator's bytes and their digest.

    :raises NoModelError: when it can't be pickled, or takes more than `LARGEST`.
    """
    try:
        data, digest = pack.dump_model(model)
    except Exception as exc:
        raise failed(Reason.FIT_RAISED, exc, f"the fitted estimator can't be pickled: {raised(exc)}") from exc
    if len(data) > LARGEST:
        told = f"the fitted estimator takes {len(data):,} bytes pickled; at most {LARGEST:,} can be kept"
        raise NoModelError("failed", Reason.FIT_RAISED, told)
    return data, digest


def predict(model: Any, x: modelcode.Matrix, problem: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Predictions, and for classification the probability of class 1; float64, shape (rows,).

    :raises NoModelError: when the model raises, or gives another length, anything that is not finite, a class other
        than 0 and 1 or a probability outside [0, 1].
    """
    try:
        prediction = np.asarray(model.predict(x), dtype=np.float64)
        probability = _probability(model, x) if problem == "classification" else None
    except (Exception, SystemExit) as exc:
        raise failed(Reason.PREDICTION_INVALID, exc, f"predict raised {raised(exc)}") from exc
    for values in (prediction, probability):
        if values is None:
            continue
        if values.shape != (len(x),):
            raise _invalid(f"gave shape {values.shape} for {len(x)} rows")
        _check(np.isfinite(values), "NaN or infinity")
    if probability is not None:
        _check((prediction == 0.0) | (prediction == 1.0), "a class other than 0 and 1")
        _check((probability >= 0.0) & (probability <= 1.0), "a probability outside [0, 1]")
    return prediction, probability


def _check(right: np.ndarray, wrong: str) -> None:
    if not right.all():
        raise _invalid(f"gave {wrong} for {len(right) - int(right.sum())} of {len(right)} rows")


def _invalid(what: str) -> NoModelError:
    return NoModelError("failed", Reason.PREDICTION_INVALID, f"predict {what}")


def _probability(model: Any, x: modelcode.Matrix) -> np.ndarray:
    both = np.asarray(model.predict_proba(x), dtype=np.float64)
    position = list(model.classes_).index(1)
    return both[:, position]
