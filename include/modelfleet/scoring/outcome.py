"""What scoring makes of one partition."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

OUTCOMES = ("scored", "fallback", "failed", "no_model")


@dataclass(frozen=True)
class Prediction:
    """What one partition's rows got; arrays of shape (rows,), NaN where there is nothing to serve."""

    values: np.ndarray
    probability: np.ndarray | None
    quantiles: np.ndarray | None
    source: str
    outcome: str
    message: str | None = None
    young: int = 0
    """So many rows at the beginning, for which the past is too short, are served by `young_source`."""
    young_source: str = ""

    @property
    def segments(self) -> tuple[tuple[str, int], ...]:
        """What served the rows: each source with how many rows in a row it served."""
        rest = self.source, len(self.values) - self.young
        return ((self.young_source, self.young), rest) if self.young else (rest,)


def led(made: Prediction, baseline: Prediction) -> Prediction:
    """The prediction with those of the baseline where the past is too short for the model."""
    young = made.young
    values = np.concatenate([baseline.values[:young], made.values[young:]])
    chance = made.probability
    if chance is not None and baseline.probability is not None:
        chance = np.concatenate([baseline.probability[:young], chance[young:]])
    return replace(made, values=values, probability=chance, young_source=baseline.source)
