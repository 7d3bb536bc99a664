"""Plots of one partition's fit, by plotly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from modelfleet.training.sample import Sample
    from modelfleet.workbench.fitting import Fit

BLUE, ORANGE, GREY, BAND = "#2563a8", "#d97706", "#9aa5b1", "rgba(217, 119, 6, 0.2)"
_HORIZONS = 8
"""So many horizons of a series are shown, and at least `_LEAST` steps."""
_LEAST = 90


def figure(fit: Fit) -> Any:
    """Of a Forecast the series, else truth against prediction on the holdout; a failed one shows its target alone."""
    import plotly.graph_objects as go  # type: ignore[import-untyped]

    made = go.Figure()
    sample = fit.seen.sample
    assert sample is not None
    holdout = fit.holdout()
    if fit.plan.forecast is not None or holdout.empty:
        _series(made, sample, fit, holdout)
    else:
        _truth_against_prediction(made, holdout)
    said = f"{fit.candidate}" if fit.status == "trained" else f"{fit.status}: {fit.reason}"
    title = f"{fit.key}: {said}".replace("&", "&amp;").replace("<", "&lt;")
    return made.update_layout(template="plotly_white", title=title, legend={"orientation": "h"})


def _series(made: Any, sample: Sample, fit: Fit, holdout: pd.DataFrame) -> None:
    import plotly.graph_objects as go

    target, time = str(fit.plan.columns.target), fit.plan.columns.time
    horizon = fit.plan.forecast.horizon if fit.plan.forecast is not None else 0
    shown = max(_HORIZONS * horizon, _LEAST) if horizon else len(sample.y)
    mode = "lines" if horizon else "markers"
    made.add_trace(go.Scatter(x=sample.times[-shown:], y=sample.y[-shown:], mode=mode, line_color=BLUE, name=target))
    made.update_layout(xaxis_title=time, yaxis_title=target)
    if holdout.empty:
        return
    x = holdout[time].to_numpy()
    bands = [name for name in holdout.columns if name.startswith("q") and name[1:2].isdigit()]
    if len(bands) > 1:
        low, high = holdout[bands[0]].to_numpy(), holdout[bands[-1]].to_numpy()
        made.add_trace(
            go.Scatter(
                x=np.concatenate([x, x[::-1]]),
                y=np.concatenate([high, low[::-1]]),
                fill="toself",
                fillcolor=BAND,
                line_width=0,
                hoverinfo="skip",
                name=f"{bands[0]} to {bands[-1]}",
            )
        )
    made.add_trace(go.Scatter(x=x, y=holdout["baseline"], line={"color": GREY, "dash": "dash"}, name="baseline"))
    made.add_trace(go.Scatter(x=x, y=holdout["prediction"], line_color=ORANGE, name="prediction"))


def _truth_against_prediction(made: Any, holdout: pd.DataFrame) -> None:
    import plotly.graph_objects as go

    said = "probability" if "probability" in holdout.columns else "prediction"
    both = holdout[["actual", said]].to_numpy()
    low, high = float(both.min()), float(both.max())
    made.add_trace(go.Scatter(x=[low, high], y=[low, high], mode="lines", line_color=GREY, name="exact"))
    times = holdout.iloc[:, 0].astype(str)
    made.add_trace(
        go.Scatter(x=holdout["actual"], y=holdout[said], mode="markers", marker_color=ORANGE, text=times, name=said)
    )
    made.update_layout(xaxis_title="actual", yaxis_title=said)
