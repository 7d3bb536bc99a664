"""What the parse of a fleet file costs over ``import airflow.sdk``: medians of fresh interpreters, taken in turn.

``.venv/bin/python bench/parse_time.py [FILE] [--runs N]``. Airflow parses every file again for each task, so this is paid often.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SDK = "import airflow.sdk"
PARSE = f"{SDK}; import runpy, sys; runpy.run_path(sys.argv[1])"


def seconds(code: str, file: Path, home: str) -> float:
    """The wall seconds of a fresh interpreter that runs `code`."""
    began = time.perf_counter()
    environment = {**os.environ, "AIRFLOW_HOME": home, "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    subprocess.run([sys.executable, "-c", code, str(file)], env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Print both medians, their difference and ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=Path(__file__).parents[1] / "dags" / "flight_delays.py")
    parser.add_argument("--runs", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        for code in (SDK, PARSE):  # bytecode and Airflow's configuration are written at the first import
            seconds(code, given.file, home)
        pairs = [(seconds(SDK, given.file, home), seconds(PARSE, given.file, home)) for _ in range(given.runs)]
    sdk, parse = (statistics.median(values) for values in zip(*pairs, strict=True))
    print(f"import airflow.sdk {sdk:.2f} s; with {given.file.name} {parse:.2f} s")
    print(f"over it {statistics.median(b - a for a, b in pairs):.2f} s, ratio {parse / sdk:.2f} ({given.runs} runs)")


if __name__ == "__main__":
    main()
