"""Two pictures of a training: how the error is distributed over the models, and the error against their rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from matplotlib.axes import Axes

_DISTRIBUTION = ("mae", "log_loss")
_AGAINST_ROWS = ("mae", "accuracy")
_MAX_POINTS = 20_000
_MODEL, _BASELINE = "#1f77b4", "#9a9a9a"


def write_plots(models: pa.Table, metrics: Sequence[str], folder: Path) -> None:
    """Write ``error_distribution.png`` and ``error_against_rows.png`` of the trained models into `folder`.

    Regression shows mae; classification log_loss, and accuracy against rows; else the first of `metrics`.
    """
    import pyarrow.compute as pc

    folder.mkdir(parents=True, exist_ok=True)
    trained = models.filter(pc.equal(models.column("status"), "trained"))
    _save(folder / "error_distribution.png", _draw_distribution, trained, _pick(metrics, _DISTRIBUTION))
    _save(folder / "error_against_rows.png", _draw_against_rows, trained, _pick(metrics, _AGAINST_ROWS))


def columns_drawn(metrics: Sequence[str]) -> list[str]:
    """The columns of the model table that `write_plots` reads."""
    drawn = _pick(metrics, _DISTRIBUTION)
    return list(dict.fromkeys(["status", "n_rows", drawn, f"baseline_{drawn}", _pick(metrics, _AGAINST_ROWS)]))


def _pick(metrics: Sequence[str], preferred: Sequence[str]) -> str:
    return next((name for name in preferred if name in metrics), metrics[0] if metrics else "mae")


def _save(path: Path, draw: Any, trained: pa.Table, metric: str) -> None:
    # A Figure of its own, not pyplot: no global state, no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    if not draw(axes, trained, metric):
        axes.set_axis_off()
        axes.text(0.5, 0.5, f"no model has a finite {metric}", ha="center", va="center")
    canvas.print_png(str(path))


def _draw_distribution(axes: Axes, trained: pa.Table, metric: str) -> bool:
    import numpy as np

    values, baseline = _finite(trained, metric), _finite(trained, f"baseline_{metric}")
    if not values.size:
        return False
    both = np.concatenate([values, baseline])
    # The worst hundredth would flatten all others; its share is said below.
    low, high = float(both.min()), float(np.quantile(both, 0.99))
    edges = np.linspace(low, high if high > low else low + 1.0, 41)
    axes.hist(values, bins=list(edges), color=_MODEL, alpha=0.75, label=f"models, median {np.median(values):.4g}")
    if baseline.size:
        label = f"baseline, median {np.median(baseline):.4g}"
        axes.hist(baseline, bins=list(edges), histtype="step", color=_BASELINE, linewidth=1.8, label=label)
    beyond = int((values > edges[-1]).sum())
    axes.set_title(f"{metric} of {values.size:,} models" + (f" ({beyond:,} beyond the right edge)" if beyond else ""))
    axes.set_xlabel(metric)
    axes.set_ylabel("models")
    axes.legend(frameon=False)
    return True


def _draw_against_rows(axes: Axes, trained: pa.Table, metric: str) -> bool:
    import numpy as np

    if metric not in trained.column_names or "n_rows" not in trained.column_names:
        return False
    rows, values = _floats(trained, "n_rows"), _floats(trained, metric)
    good = np.isfinite(values) & (rows > 0)
    rows, values = rows[good], values[good]
    if not values.size:
        return False
    step = -(-values.size // _MAX_POINTS)
    axes.scatter(rows[::step], values[::step], s=12, alpha=0.5, color=_MODEL, linewidths=0)
    axes.set_xscale("log")
    axes.set_title(f"{metric} against rows" + (f" (every {step}th model)" if step > 1 else ""))
    axes.set_xlabel("rows of the model")
    axes.set_ylabel(metric)
    return True


def _finite(table: pa.Table, column: str) -> np.ndarray:
    import numpy as np

    values = _floats(table, column)
    kept: np.ndarray = values[np.isfinite(values)]
    return kept


def _floats(table: pa.Table, column: str) -> np.ndarray:
    import numpy as np
    import pyarrow as pa

    if column not in table.column_names:
        return np.empty(0)
    return np.asarray(table.column(column).cast(pa.float64()).to_numpy(), dtype=np.float64)
