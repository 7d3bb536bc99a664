"""What the parse of a fleet file imports: in an interpreter of its own, for imports are for good."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEVER = ("pyspark", "mlflow", "great_expectations", "sklearn")
ALL = (*NEVER, "pandas", "pyarrow", "numpy", "duckdb", "sqlalchemy", "adbc_driver_manager", "matplotlib", "airflow")

LOAD = f"""
from modelfleet.spec import loader
assert [spec.name for spec in loader.load_file({str(ROOT / "dags" / "flight_delays.py")!r})] == ["flight_delays"]
"""
PARSE = """
import modelfleet.airflow.templates
import modelfleet.airflow.callbacks
import modelfleet.plan
"""


def imported(code: str, home: Path) -> set[str]:
    """The top-level modules that running `code` leaves imported."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "include"), os.environ.get("PYTHONPATH", "")]),
        "AIRFLOW_HOME": str(home),
    }
    script = f"{code}\nimport sys\nprint('IMPORTED', *sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    return set(done.stdout.rpartition("IMPORTED ")[2].split())


@pytest.mark.parametrize(
    "code, banned",
    [
        pytest.param("import modelfleet", ALL, id="the package"),
        pytest.param(
            "import modelfleet.spec, modelfleet.plan, modelfleet.interval, modelfleet.keys", ALL, id="the spec"
        ),
        pytest.param("import modelfleet.cli", NEVER, id="the command line"),
    ],
)
def test_import_of_the_core_loads_none_of_the_large_libraries(
    code: str, banned: tuple[str, ...], tmp_path: Path
) -> None:
    modules = imported(code, tmp_path)
    assert "modelfleet" in modules
    assert modules & set(banned) == set()


def test_reading_a_fleet_file_loads_only_what_checks_its_rules(tmp_path: Path) -> None:
    assert imported(LOAD, tmp_path) & set(ALL) <= {"duckdb"}  # rules are checked when the file is read


def test_parse_under_airflow_loads_none_of_the_large_libraries(tmp_path: Path) -> None:
    modules = imported(PARSE, tmp_path)
    assert "airflow" in modules
    assert modules & set(NEVER) == set()
