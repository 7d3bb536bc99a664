"""Models that misbehave, each in its own way, as the value of the column ``kind`` asks."""

from __future__ import annotations

import collections
import ctypes
import itertools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

EXPECTED = {
    "healthy": None,
    "raises": "fit_raised",
    "python_loop": "timeout",
    "native_loop": "timeout",
    "memory": "memory_exceeded",
    "exits": "crashed",
    "segfault": "crashed",
    "no_estimator": "prediction_invalid",
    "nan": "prediction_invalid",
    "wrong_length": "prediction_invalid",
    "prints": "output_exceeded",
}
"""By kind, in the order of the numbers that the column holds: the reason that must be recorded."""
KINDS = tuple(EXPECTED)


class Nothing:
    """No estimator: it can't predict."""


class Moody(Ridge):  # type: ignore[misc]
    """Ridge on all columns but the last, which says how it misbehaves; it is constant in a partition."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Any:
        self.kind_ = KINDS[int(x[0, -1])]
        _AT_FIT.get(self.kind_, _nothing)()
        super().fit(x[:, :-1], y)
        if self.kind_ == "no_estimator":
            self.__class__ = Nothing  # type: ignore[assignment]
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        found = super().predict(x[:, :-1])
        if self.kind_ == "nan":
            return np.full(len(x), np.nan)
        return found[1:] if self.kind_ == "wrong_length" else found


def moody() -> Moody:
    """What the spec of the poison bench names."""
    return Moody()


def _nothing() -> None:
    pass


def _raise() -> None:
    raise ValueError("no fit today")


def _python_loop() -> None:
    while True:
        pass


def _native_loop() -> None:
    collections.deque(itertools.repeat(None), maxlen=0)  # in C, without a look at signals


def _memory() -> None:
    held = []
    while True:
        held.append(np.ones(1 << 23))


def _exit() -> None:
    os._exit(3)


def _segfault() -> None:
    ctypes.string_at(0)


def _print() -> None:
    for _ in range(1024):
        print("x" * (1 << 20))


_AT_FIT: dict[str, Callable[[], None]] = {
    "raises": _raise,
    "python_loop": _python_loop,
    "native_loop": _native_loop,
    "memory": _memory,
    "exits": _exit,
    "segfault": _segfault,
    "prints": _print,
}
