"""The report's plots, by plotly: each a piece of HTML that needs the page's one copy of plotly.js."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from modelfleet.exploring.profile import Profile
from modelfleet.exploring.seasons import Autocorrelation, Pattern

if TYPE_CHECKING:
    import pandas as pd

BLUE, ORANGE, GREY = "#2563a8", "#d97706", "#9aa5b1"
_POINTS = 400
"""About as many points a line of time has; more are drawn together into weeks, months or years."""
_PERIODS = {"day": 1, "week": 7, "month": 30}
_SERIES = 9
_SERIES_POINTS = 2_000
_FEW = 60


def div(figure: Any, name: str, height: int) -> str:
    """The figure as HTML without plotly.js, `height` pixels high."""
    import plotly.io as pio  # type: ignore[import-untyped]

    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 60, "r": 60, "t": 40, "b": 40},
        font={"family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "y": 1.12, "x": 0},
    )
    config = {"displayModeBar": False, "responsive": True}
    return str(pio.to_html(figure, full_html=False, include_plotlyjs=False, config=config, div_id=name))


def script() -> str:
    """plotly.js itself."""
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    return str(get_plotlyjs())


def over_time(profile: Profile) -> Any:
    """Rows, mean target and partitions between their first and last target, by day or a longer period."""
    import numpy as np
    import plotly.graph_objects as go  # type: ignore[import-untyped]
    from plotly.subplots import make_subplots  # type: ignore[import-untyped]

    word, table = _periods(profile.measured.days)
    firsts = np.sort(profile.partitions["first"].to_numpy().astype("M8[D]"))
    lasts = np.sort(profile.partitions["last"].to_numpy().astype("M8[D]"))
    begin = table.index.to_numpy().astype("M8[D]")
    ends = np.append(begin[1:], lasts[-1] + np.timedelta64(1, "D"))
    alive = np.searchsorted(firsts, ends, side="left") - np.searchsorted(lasts, begin, side="left")
    figure = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.07,
        subplot_titles=(
            f"Rows per {word}",
            f"Mean {profile.prepared.spec.problem.target} per {word}",
            "Partitions between their first and last target",
        ),
    )
    figure.add_trace(go.Bar(x=table.index, y=table["rows"], marker_color=BLUE, name="rows"), row=1, col=1)
    mean = table["total"] / table["targets"].where(table["targets"] > 0)
    figure.add_trace(go.Scatter(x=table.index, y=mean, line_color=ORANGE, name="mean target"), row=2, col=1)
    figure.add_trace(
        go.Scatter(x=table.index, y=alive, line_color=BLUE, name="partitions", fill="tozeroy"), row=3, col=1
    )
    return figure.update_layout(showlegend=False)


def _periods(days: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The days' sums by the shortest period that gives few enough points; periods without rows count 0."""
    import pandas as pd

    table = days.copy()
    table.index = pd.to_datetime(table.index.to_numpy().astype("M8[D]").astype("M8[s]"))
    span = (table.index[-1] - table.index[0]).days + 1
    word = next((word for word, length in _PERIODS.items() if span / length <= _POINTS), "year")
    if word == "week":
        return word, table.resample("W-MON", label="left", closed="left").sum()
    return word, table.resample({"day": "D", "month": "MS", "year": "YS"}[word]).sum()


def rows_per_partition(profile: Profile) -> Any:
    """A histogram; its bins grow by a constant factor where counts differ much."""
    import numpy as np
    import plotly.graph_objects as go

    rows = profile.partitions["rows"].to_numpy()
    low, high = int(rows.min()), int(rows.max())
    wide = high > 50 * low
    edges = np.geomspace(low, high + 1, 25) if wide else np.linspace(low, high + 1, min(25, high - low + 2))
    edges = np.unique(np.round(edges)).astype(int)
    counts, _ = np.histogram(rows, edges)
    labels = [f"{a:,}" if b == a + 1 else f"{a:,} to {b - 1:,}" for a, b in pairwise(edges)]
    figure = go.Figure(go.Bar(x=labels, y=counts, marker_color=BLUE))
    return figure.update_layout(xaxis={"title": "rows", "type": "category"}, yaxis_title="partitions")


def calendar(pattern: Pattern, target: str) -> Any:
    """The mean target by a part of the date."""
    import plotly.graph_objects as go

    figure = go.Figure(go.Bar(x=list(pattern.labels), y=pattern.means, marker_color=BLUE))
    title = f"Mean {target} by {pattern.part}"
    return figure.update_layout(title=title, xaxis={"type": "category"})


def autocorrelation(found: Autocorrelation, step: str) -> Any:
    """The median over partitions, with the half of them that lies in the middle."""
    import numpy as np
    import plotly.graph_objects as go

    lags = np.arange(1, len(found.median) + 1)
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=np.concatenate([lags, lags[::-1]]),
            y=np.concatenate([found.upper, found.lower[::-1]]),
            fill="toself",
            line_width=0,
            fillcolor="rgba(37, 99, 168, 0.2)",
            hoverinfo="skip",
            name="half of the partitions",
        )
    )
    figure.add_trace(go.Scatter(x=lags, y=found.median, mode="lines+markers", line_color=BLUE, name="median"))
    return figure.update_layout(xaxis_title=f"lag in steps ({step})", yaxis={"title": "autocorrelation"})


def examples(profile: Profile) -> Any:
    """A few sampled series: those with the most rows, some in between, and those with the fewest."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    lengths = profile.series.index["partition"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
    chosen = [lengths.index[place] for place in _places(len(lengths))]
    across = min(3, len(chosen))
    down = -(-len(chosen) // across)
    titles = [_short(f"{key} ({_rows(profile, key):,} rows)") for key in chosen]
    figure = make_subplots(rows=down, cols=across, subplot_titles=titles, vertical_spacing=0.3 / down)
    for place, key in enumerate(chosen):
        one = profile.series.index[profile.series.index["partition"] == key].tail(_SERIES_POINTS)
        mode = "markers" if not profile.is_forecast else "lines" if len(one) > _FEW else "lines+markers"
        line = go.Scatter(
            x=one["local"],
            y=one["target"],
            mode=mode,
            line={"color": BLUE, "width": 1},
            marker={"color": BLUE, "size": 3},
        )
        figure.add_trace(line, row=place // across + 1, col=place % across + 1)
    figure.update_annotations(font_size=11)
    return figure.update_layout(showlegend=False)


def examples_height(profile: Profile) -> int:
    """Of `examples`, in pixels."""
    return 60 + 190 * -(-min(profile.series.partitions, _SERIES) // 3)


def _places(count: int) -> Sequence[int]:
    """Evenly spread from the first to the last."""
    shown = min(count, _SERIES)
    return [round(number * (count - 1) / max(shown - 1, 1)) for number in range(shown)]


def _rows(profile: Profile, key: str) -> int:
    found = profile.partitions
    return int(found.loc[found["partition"] == key, "rows"].iloc[0])


def _short(text: str) -> str:
    """For a title, whose text plotly would read as HTML."""
    text = text if len(text) <= 48 else "…" + text[-47:]
    return text.replace("&", "&amp;").replace("<", "&lt;")
