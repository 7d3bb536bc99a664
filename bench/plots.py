"""The plots of the performance page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.results import Json

COLOURS = {"driver": "#4269d0", "jvm": "#efb118", "worker": "#3ca951"}


def steps(runs: Sequence[Json], path: Path) -> None:
    """Seconds of each step of ours, a row of bars per workload."""
    figure, axes = _figure(len(runs))
    for run, axis in zip(runs, axes, strict=True):
        records = [
            record for record in run["records"] if record["implementation"] == "ours" and record["seconds"] >= 0.1
        ]
        names = [record["step"] for record in records][::-1]
        axis.barh(names, [record["seconds"] for record in records][::-1], color="#4269d0")
        first = run["records"][0]
        axis.set_title(f"{run['workload']}: {first['rows']:,} rows, {first['partitions']:,} partitions", fontsize=9)
        axis.set_xlabel("seconds", fontsize=8)
        axis.tick_params(labelsize=7)
    _save(figure, path)


def growth(runs: Sequence[Json], path: Path) -> None:
    """Seconds of all steps of ours but the session's start, and their CPU seconds, against the number of partitions."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.5))
    lines: dict[str, list[tuple[int, float, float]]] = {}
    for run in runs:
        own = [
            record for record in run["records"] if record["implementation"] == "ours" and record["step"] != "session"
        ]
        if own:
            point = own[0]["partitions"], sum(r["seconds"] for r in own), sum(r["cpu_seconds"] for r in own)
            each = own[0]["rows"] / own[0]["partitions"]
            lines.setdefault(f"{run['workload']}, {each:,.0f} rows each", []).append(point)
    for name, points in sorted(lines.items()):
        x, seconds, cpu = zip(*sorted(points), strict=True)
        drawn = axis.plot(x, seconds, marker="o", label=name)
        axis.plot(x, cpu, marker=".", linestyle=":", color=drawn[0].get_color())
    axis.set(xscale="log", yscale="log", xlabel="partitions", ylabel="seconds of the chain (dotted: CPU seconds)")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    _save(figure, path)


def _figure(rows: int) -> tuple[Any, Sequence[Any]]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(rows, 1, figsize=(7, 2.6 * rows), squeeze=False)
    return figure, axes[:, 0]


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot as plt

    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
