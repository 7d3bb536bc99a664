"""A model with features of the author's own beside the declared ones."""

from __future__ import annotations

import pandas as pd
from sklearn.pipeline import Pipeline

from author_forecasters import imputed_ridge

seen: list[list[str]] = []
"""The columns of each frame that ``features`` was called with."""


def build() -> Pipeline:
    return imputed_ridge()


def features(frame: pd.DataFrame) -> pd.DataFrame:
    seen.append(list(frame.columns))
    numbers = frame.drop(columns=["store", "item", "day", "kind"], errors="ignore")
    return numbers.assign(cheaper=frame["price"] < frame["price"].shift(1), first=frame["day"] == frame["day"].min())
