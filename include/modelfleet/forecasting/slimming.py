"""What a fitted model of statsforecast's does not need to forecast: left out of packs, where it would be most of them.

Residuals, fitted values and past states are as long as the series. Neither ``predict`` nor ``forward`` reads them, in 2.1.1,
but where `slim` says so; the tests compare every model's forecasts before and after.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_UNREAD = ("fitted", "actual_residuals", "fit", "errors")
_UNREAD_MFLES = (
    "og_y",
    "predicted",
    "linear_component",
    "seasonal_component",
    "ses_component",
    "median_component",
    "exogenous_component",
)
_RESIDUALS = 10
"""Simulated intervals see whether there are at least ten residuals; with the normal distribution, not which."""


def slim(model: Any) -> None:
    """Leave out of a fitted model, in place, what its forecasts do not need. ``predict_in_sample`` no longer works."""
    kept = getattr(model, "model_", None)
    if hasattr(model, "_y"):
        model._y = None
    if hasattr(model, "trend_forecaster"):  # MSTL repeats the last season of each decomposed series
        assert kept is not None
        seasons = kept.filter(regex="seasonal*")
        model.model_ = seasons.iloc[-max(model.season_length) :].reset_index(drop=True)
        slim(model.trend_forecaster)
    elif isinstance(kept, dict) and "results" not in kept:  # statsmodels' results, of UCM, are one piece
        _slim(kept, str(getattr(model, "distribution", "normal")))


def _slim(kept: dict[str, Any], distribution: str) -> None:
    for name in _UNREAD:
        if name in kept:
            kept[name] = None
    _slim_states(kept)
    theta = "mean_y" in kept  # its intervals are as wide as its residuals
    if "residuals" in kept and not theta and distribution == "normal":
        kept["residuals"] = kept["residuals"][-_RESIDUALS:].copy()
    if isinstance(kept.get("model"), dict):  # ARIMA's state space
        kept["model"]["Pn"] = None
    elif "model" in kept:
        for name in _UNREAD_MFLES:
            if hasattr(kept["model"], name):
                setattr(kept["model"], name, None)


def _slim_states(kept: dict[str, Any]) -> None:
    """Only the last state is read; of CES's the number of states matters too, and of Theta's their place."""
    if "mean_y" in kept:
        states = np.zeros_like(kept["states"])  # zeros, which compress to nothing
        states[-1] = kept["states"][-1]
        kept["states"] = states
    elif "components" in kept:
        kept["states"] = kept["states"][-1:].copy()
    elif "w_transpose" in kept:  # TBATS
        kept["x"] = kept["x"][-1:].copy()
