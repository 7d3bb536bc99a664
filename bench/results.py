"""Results as JSON: ``bench/results/<date>-<workload>.json``, and the newest of every workload in ``latest.json``."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from bench.workloads import Workload

Json = dict[str, Any]
FOLDER = Path(__file__).parent / "results"
LATEST = "latest.json"
_LOAD = os.getloadavg()[0]
"""How busy the machine was when the bench began; above 0.5 the wall seconds say little."""
_VERSIONS = ("modelfleet", "pyspark", "pyarrow", "duckdb", "scikit-learn", "numpy", "pandas", "mlflow")


def described(workload: Workload, records: Sequence[Json], agreed: Json) -> Json:
    """A run of a workload as it is kept."""
    return {"workload": workload.name, "purpose": workload.purpose, **_circumstances(), "agreement": agreed} | {
        "records": list(records)
    }


def measured(name: str, purpose: str, records: Sequence[Json], **figures: Any) -> Json:
    """A run of another bench as it is kept; `figures` are what it is about."""
    return {"workload": name, "purpose": purpose, **_circumstances(), "figures": figures, "records": list(records)}


def save(run: Json, folder: Path = FOLDER) -> Path:
    """Write a run, and put it into the latest; its path. Of each workload and form (quick, full, custom) the newest counts.

    :param run: with the field `form`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    form = "" if run["form"] == "full" else f"-{run['form']}"
    path = folder / f"{run['date'][:10]}-{run['workload']}{form}.json"
    path.write_text(json.dumps(run, indent=1) + "\n")
    runs = {(each["workload"], each["form"], _sizes(each)): each for each in latest(folder)}
    runs[run["workload"], run["form"], _sizes(run)] = run
    ordered = [runs[key] for key in sorted(runs)]
    whole = folder / f"{LATEST}.new"
    whole.write_text(json.dumps({"runs": ordered}, indent=1) + "\n")
    whole.replace(folder / LATEST)
    return path


def latest(folder: Path = FOLDER) -> list[Json]:
    """The newest run of every workload and form."""
    path = folder / LATEST
    return list(json.loads(path.read_text())["runs"]) if path.exists() else []


def _sizes(run: Json) -> tuple[int, int]:
    """Runs of sizes of their own stand beside one another."""
    first = run["records"][0] if run["form"] == "custom" and run["records"] else {"rows": 0, "partitions": 0}
    return first["rows"], first["partitions"]


def _circumstances() -> Json:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", _module(), *_arguments()]),
        "commit": _commit(),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "processor": _processor(),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
            "load_before": round(_LOAD, 2),
            "versions": {name: version(name) for name in _VERSIONS},
        },
    }


def _arguments() -> list[str]:
    """What the bench was called with, but for where it worked and wrote, which are places of one machine."""
    given, kept = iter(sys.argv[1:]), []
    for each in given:
        if each in ("--home", "--results"):
            next(given, None)
        else:
            kept.append(each)
    return kept


def _module() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec is not None else Path(sys.argv[0]).stem


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str | None:
    """The commit that was measured, marked where files differ from it."""
    folder = FOLDER.parent
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None
