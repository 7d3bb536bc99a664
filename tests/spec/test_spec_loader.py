"""Finding the fleets of a folder: broken files, duplicate names, and no Airflow on the way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from spec_cases import AS_YAML, fleet

import modelfleet
from modelfleet.errors import NotFoundError, SpecError
from modelfleet.spec import loader

HEAVY = ("pyspark", "mlflow", "great_expectations", "sklearn", "pandas", "numpy", "pyarrow", "airflow")

FLEET = '''"""An Airflow DAG file."""
from modelfleet import Data, FleetSpec, Gate, Regression, Schedule, SqlTable
from modelfleet.airflow import many_models

many_models(
    FleetSpec(
        name="{name}", owner="me", data=Data(SqlTable("db", "t", time="at")), partition_by=("store",),
        problem=Regression(target="units"), features=("price",), model="a.b:c",
        gate=Gate(each=("mae < baseline.mae",)), schedule=Schedule(ingest="@daily", train="@monthly"),
    )
)
'''

Write = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sales.py").write_text(FLEET.format(name="sales"))
    (tmp_path / "stock.py").write_text(FLEET.format(name="stock"))
    (tmp_path / "platform_wide.py").write_text("raise RuntimeError('no fleet file, never run')\n")
    return tmp_path


def test_fleets_of_a_folder_are_found(folder: Path) -> None:
    fleets = loader.load_fleets(folder)
    assert sorted(fleets) == ["sales", "stock"]
    assert fleets["sales"].source == str(folder / "sales.py")
    assert not fleets.errors
    assert not loader.collecting()


def test_file_may_load_yaml_and_a_module_beside_it(folder: Path) -> None:
    (folder / "delays.yaml").write_text(AS_YAML)
    (folder / "beside_it.py").write_text("FILE = 'delays.yaml'\n")
    (folder / "delays.py").write_text(
        "from beside_it import FILE\nfrom modelfleet import FleetSpec\nfrom modelfleet.airflow import many_models\n"
        "many_models(FleetSpec.load(FILE))\n"
    )
    assert loader.load_fleet("flight_delays", folder).source == str(folder / "delays.yaml")
    assert str(folder) not in sys.path


BROKEN = [
    ("# many_models\nimport no_such_module\n", "ModuleNotFoundError in line 2: No module named 'no_such_module'"),
    ("many_models(\n", "SyntaxError"),
    ("# many_models\nimport sys\nsys.exit(3)\n", "SystemExit in line 3: 3"),
    (FLEET.format(name="Broken"), "fleet 'Broken' in .*broken.py: name: got 'Broken'"),
    (FLEET.format(name="broken").replace("mae <", "maee <"), r"gate.each\[0\]: .*unknown name 'maee'"),
]


@pytest.mark.parametrize("text, message", BROKEN, ids=[message[:30] for _, message in BROKEN])
def test_broken_file_is_named_and_hides_no_other(text: str, message: str, folder: Path) -> None:
    (folder / "broken.py").write_text(text)
    with pytest.raises(SpecError, match=message):
        loader.load_fleets(folder)
    fleets = loader.load_fleets(folder, on_error="collect")
    assert sorted(fleets) == ["sales", "stock"]
    assert [error.source for error in fleets.errors] == [str(folder / "broken.py")]
    assert loader.load_fleet("sales", folder).name == "sales"


def test_broken_file_of_the_fleet_asked_for_is_the_error(folder: Path) -> None:
    (folder / "sales.py").write_text(FLEET.format(name="sales") + "many_models(\n")
    with pytest.raises(SpecError, match="SyntaxError"):
        loader.load_fleet("sales", folder)


def test_unknown_fleet_is_not_found_and_the_nearest_named(folder: Path) -> None:
    with pytest.raises(
        NotFoundError, match=r"fleet 'slaes' is not in .*; there are: sales, stock\nHint: did you mean 'sales'"
    ):
        loader.load_fleet("slaes", folder)


def test_folder_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="is not there"):
        loader.load_fleets(tmp_path / "none")


def test_name_in_two_files_is_an_error_that_names_both(folder: Path) -> None:
    (folder / "copy_of_sales.py").write_text(FLEET.format(name="sales"))
    with pytest.raises(SpecError, match=r"fleet 'sales' in .*copy_of_sales.py, .*sales.py: name: got 'sales'"):
        loader.load_fleets(folder)
    fleets = loader.load_fleets(folder, on_error="collect")
    assert sorted(fleets) == ["stock"]
    with pytest.raises(SpecError, match=r"copy_of_sales\.py"):
        loader.load_fleet("sales", folder)


@pytest.mark.parametrize(
    "file, text",
    [
        ("other.py", FLEET.format(name="flight_delays")),
        ("other.yaml", AS_YAML),
        ("quoted.yml", AS_YAML.replace("name: flight_delays", 'name: "flight_delays"  # the same')),
    ],
)
def test_sibling_with_the_same_name_is_refused_without_running_it(file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text + ("\nraise RuntimeError\n" if file.endswith(".py") else ""))
    with pytest.raises(SpecError, match=rf"spec_cases.py and .*{file}: name: got 'flight_delays'"):
        loader.check_unique_name(fleet(), tmp_path)


def test_siblings_with_other_names_pass(tmp_path: Path) -> None:
    (tmp_path / "mentions.py").write_text("# FleetSpec of flight_delays\nname = 'flight_delays'\n")
    (tmp_path / "longer.py").write_text(FLEET.format(name="flight_delays_2"))
    (tmp_path / "broken.py").write_text("FleetSpec(name='flight_delays'")
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe FleetSpec flight_delays")
    (tmp_path / "nested.yaml").write_text("x:\n  name: flight_delays\n")
    loader.check_unique_name(fleet(), tmp_path)


def test_loading_specs_imports_nothing_heavy(folder: Path) -> None:
    script = (
        "import sys, modelfleet\nfrom modelfleet.spec import loader\n"
        f"assert sorted(loader.load_fleets({str(folder)!r})) == ['sales', 'stock']\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(Path(modelfleet.__file__).parent.parent), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
