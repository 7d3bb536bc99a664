"""The plots of a backtest's report, by plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelfleet.backtesting.sums import ratio
from modelfleet.exploring.plots import BLUE, GREY, ORANGE
from modelfleet.forecasting import quantile_name

if TYPE_CHECKING:
    import pandas as pd

    from modelfleet.backtesting.results import Results

POINTS = 5_000
_STEPS = 400
_FEW = 8
FLEET, BASELINE = "the fleet", "the baseline"
_BAND = "rgba(37, 99, 168, 0.2)"


def by_step(found: Results) -> Any:
    """The error of all rows of a step together."""
    names, sums = _steps(found)
    below = "size" if found.metric == "wape" else "n"
    lines = {FLEET: [ratio(s, "loss", below) for s in sums], BASELINE: [ratio(s, "base_loss", below) for s in sums]}
    return _lines(names, lines).update_layout(
        xaxis={"title": step_word(found), "dtick": 1 if len(names) <= 31 else None},
        yaxis={"title": step_metric(found), "rangemode": "tozero"},
    )


def step_metric(found: Results) -> str:
    """What `by_step` shows: the sums give wape, else the mean absolute error, or of classes the Brier score."""
    if found.spec.problem.kind == "classification":
        return "brier"
    return "wape" if found.metric == "wape" else "mae"


def step_word(found: Results) -> str:
    """What a step is."""
    return "step of the forecast" if found.spec.problem.kind == "forecast" else "day after the cutoff"


def by_fold(found: Results) -> Any:
    """The median error of each fold's partitions."""
    folds = found.summary.folds
    lines = {FLEET: [fold.error for fold in folds], BASELINE: [fold.baseline for fold in folds]}
    return _lines([fold.fold for fold in folds], lines).update_layout(
        xaxis={"title": "cutoff", "type": "category"}, yaxis={"title": f"median {found.metric}", "rangemode": "tozero"}
    )


def against_baseline(found: Results) -> Any:
    """Each partition's mean error over the folds beside its baseline's."""
    import plotly.graph_objects as go  # type: ignore[import-untyped]

    rows = found.by_partition
    rows = rows if len(rows) <= POINTS else rows.sample(POINTS, random_state=0)
    top = float(rows[["error", "base"]].quantile(0.99).max()) * 1.05
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=rows["base"],
            y=rows["error"],
            mode="markers",
            text=[escaped(name) for name in rows.index],
            marker={"color": BLUE, "size": 5, "opacity": 0.5},
            name="a partition",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[0, top], y=[0, top], mode="lines", line={"color": GREY, "dash": "dash"}, name="as good as the baseline"
        )
    )
    return figure.update_layout(
        xaxis={"title": f"{found.metric} of {BASELINE}", "range": [0, top]},
        yaxis={"title": f"{found.metric} of {FLEET}", "range": [0, top]},
    )


def skills(found: Results) -> Any:
    """How partitions and folds spread between much better than the baseline (1) and twice as bad or worse (-1)."""
    import plotly.graph_objects as go

    values = found.paired["skill"].dropna().clip(-1, 1)
    return go.Figure(
        go.Histogram(x=values, xbins={"start": -1.025, "end": 1.025, "size": 0.05}, marker_color=BLUE)
    ).update_layout(xaxis_title="skill; -1 stands for all below it, too", yaxis_title="partitions and folds")


def coverage(found: Results) -> Any:
    """The share of targets between the outermost quantiles, by step."""
    import plotly.graph_objects as go

    names, sums = _steps(found)
    figure = _lines(
        names,
        {
            FLEET: [ratio(s, "inside", "banded") for s in sums],
            BASELINE: [ratio(s, "base_inside", "base_banded") for s in sums],
        },
    )
    claimed = found.summary.claimed
    ends = {"x": [names[0], names[-1]], "y": [claimed, claimed]}
    figure.add_trace(go.Scatter(**ends, mode="lines", line={"color": GREY, "dash": "dash"}, name="claimed"))
    return figure.update_layout(
        xaxis={"title": step_word(found)}, yaxis={"title": "coverage", "tickformat": ".0%", "range": [0, 1.02]}
    )


def calibration(found: Results) -> Any:
    """The share of targets that do not lie above each quantile, beside what it claims."""
    import plotly.graph_objects as go

    shares = [ratio(found.total, quantile_name(quantile), "banded") for quantile in found.quantiles]
    figure = _lines(list(found.quantiles), {FLEET: shares})
    figure.add_trace(go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": GREY, "dash": "dash"}, name="claimed"))
    return figure.update_layout(
        xaxis={"title": "quantile", "range": [0, 1]}, yaxis={"title": "targets at or below it", "tickformat": ".0%"}
    )


def segments(table: pd.DataFrame, metric: str) -> Any:
    """Median errors of the values of one key column; the worst on top."""
    import plotly.graph_objects as go

    shown = table.iloc[::-1]
    names = [escaped(str(name)) for name in shown.index]
    bars = [
        go.Bar(y=names, x=shown[column], name=name, orientation="h", marker_color=colour)
        for column, name, colour in (("base", BASELINE, ORANGE), ("error", FLEET, BLUE))
    ]
    return go.Figure(bars).update_layout(
        xaxis={"title": f"median {metric}", "rangemode": "tozero"},
        yaxis={"type": "category", "automargin": True},
        legend={"traceorder": "reversed", **({"yanchor": "bottom"} if len(table) < _FEW else {})},
    )


def chosen(found: Results) -> Any:
    """How often each candidate was chosen, by fold."""
    import plotly.graph_objects as go

    names = [fold.facts["cutoff"]["key"] for fold in found.folds]
    bars = [
        go.Bar(x=names, y=[fold.facts["candidates"].get(name, 0) for fold in found.folds], name=escaped(name))
        for name in list(found.summary.candidates)[:12]
    ]
    return go.Figure(bars).update_layout(
        barmode="stack", xaxis={"title": "cutoff", "type": "category"}, yaxis_title="partitions"
    )


def worst(found: Results, rows: Mapping[str, pd.DataFrame], partitions: Sequence[str]) -> Any:
    """What was forecast and what came, of a few partitions; every fold its own stretch."""
    from plotly.subplots import make_subplots  # type: ignore[import-untyped]

    across = min(4, len(partitions))
    down = -(-len(partitions) // across)
    titles = [escaped(name if len(name) <= 34 else "…" + name[-33:]) for name in partitions]
    figure = make_subplots(rows=down, cols=across, subplot_titles=titles, vertical_spacing=0.28 / down)
    for place, name in enumerate(partitions):
        at = {"row": place // across + 1, "col": place % across + 1}
        for trace in _stretches(found, rows[name], legend=place == 0):
            figure.add_trace(trace, **at)
    figure.update_annotations(font_size=11)
    figure.update_xaxes(nticks=4)
    return figure


def worst_height(partitions: Sequence[str]) -> int:
    """Of `worst`, in pixels."""
    return 90 + 170 * -(-len(partitions) // 4)


def _stretches(found: Results, rows: pd.DataFrame, *, legend: bool) -> list[Any]:
    import plotly.graph_objects as go

    time = found.spec.time_column
    folds = [part for _, part in rows.tail(_STEPS).groupby("fold", sort=True)]
    traces = []
    if len(found.quantiles) > 1:
        low, high = (quantile_name(found.quantiles[end]) for end in (0, -1))
        traces.append(
            go.Scatter(
                x=_joined([[*part[time], *part[time][::-1]] for part in folds]),
                y=_joined([[*part[low], *part[high][::-1]] for part in folds]),
                mode="lines",
                line_width=0,
                fill="toself",
                fillcolor=_BAND,
                hoverinfo="skip",
                name=f"{low} to {high}",
                showlegend=legend,
            )
        )
    series = (
        ("actual", "what came", "#1c2733", None),
        ("baseline", BASELINE, ORANGE, "dot"),
        ("prediction", FLEET, BLUE, None),
    )
    for column, name, colour, dash in series:
        line = {"color": colour, "width": 1.3, "dash": dash}
        mode = "lines" if found.spec.problem.kind == "forecast" else "markers"
        traces.append(
            go.Scatter(
                x=_joined([list(part[time]) for part in folds]),
                y=_joined([list(part[column]) for part in folds]),
                mode=mode,
                line=line,
                marker={"size": 3, "color": colour},
                name=name,
                showlegend=legend,
            )
        )
    return traces


def _joined(parts: Sequence[Sequence[Any]]) -> list[Any]:
    """Lists one after the other, with a gap between, at which lines break."""
    return [value for part in parts for value in (*part, None)]


def _steps(found: Results) -> tuple[list[int], list[Mapping[str, float]]]:
    sums = found.sums["step"]
    names = sorted(int(name) for name in sums)
    shown = names if len(names) <= _STEPS else names[:: -(-len(names) // _STEPS)]
    return shown, [sums[str(name)] for name in shown]


def _lines(x: Sequence[Any], lines: Mapping[str, Sequence[float]]) -> Any:
    import plotly.graph_objects as go

    colours = {FLEET: BLUE, BASELINE: ORANGE}
    return go.Figure(
        [
            go.Scatter(x=list(x), y=list(y), mode="lines+markers", line={"color": colours[name]}, name=name)
            for name, y in lines.items()
        ]
    )


def escaped(text: str) -> str:
    """For a title or label, whose text plotly would read as HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
