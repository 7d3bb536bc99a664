"""The documents: their example runs, and the commands, fields, columns and variables they name are those there are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest
import sqlalchemy as sa
import typer
from bench.bars import seconds_of

from bench import results
from modelfleet.alerting.incidents import Incident, raise_incident
from modelfleet.cli import app
from modelfleet.metric_names import CLASSIFICATION, FORECAST
from modelfleet.prediction import Reason
from modelfleet.rules import COMPARED, FLEET_COUNTS, FLEET_SHARES, FUNCTIONS, MODEL_COUNTS
from modelfleet.spec import (
    Candidate,
    Classification,
    Clip,
    Dedupe,
    Difference,
    Drop,
    Expanding,
    Features,
    Fill,
    FleetSpec,
    Forecast,
    Gate,
    Holidays,
    Lag,
    LakeTable,
    Limits,
    Quality,
    Regression,
    Rolling,
    Schedule,
    SqlTable,
    Training,
    loader,
    unbuilt,
)
from modelfleet.spec.base import Part
from modelfleet.spec.data import Data
from modelfleet.warehouse import Warehouse
from modelfleet.warehouse.schema import FIXED, ISSUED, METRICS, SCHEMA
from modelfleet.warehouse.warehouse import RUN_STATUSES

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINES_OF_A_FLEET = 30


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands() -> Iterator[tuple[str, str]]:
    """What documents show as commands, with the document's name: lines of bash blocks and spans of code."""
    for document in DOCUMENTS:
        prose = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
        lines = [line for block in blocks(document, "bash") for line in block.splitlines()]
        for text in [*lines, *re.findall(r"`([^`\n]+)`", prose)]:
            yield document.name, text.partition("  #")[0].strip()


def cells(text: str) -> list[list[str]]:
    """The cells of every table row of a text."""
    rows = re.findall(r"^\|(.+)\|$", text, flags=re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def test_readmes_fleet_is_a_valid_spec_in_sync_with_the_real_one(tmp_path: Path) -> None:
    (example,) = [block for block in blocks(ROOT / "README.md", "python") if "many_models(" in block]
    (tmp_path / "example.py").write_text(example)

    (shown,) = loader.load_file(tmp_path / "example.py")

    real = loader.load_fleet("flight_delays", ROOT / "dags").content()
    left_out = {name: FleetSpec.model_fields[name].get_default(call_default_factory=True) for name in real}
    differing = {
        name
        for name, value in shown.content().items()
        if value != real[name] and getattr(shown, name) != left_out[name]
    }
    assert differing == set(), "a field of the example is the real one's, or left out"
    assert len(example.splitlines()) <= LINES_OF_A_FLEET


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {(name, target) for name, text in commands() for target in re.findall(r"(?:^| )make ([a-z][\w-]*)", text)}
    assert {"demo", "test"} <= {target for _, target in named}
    assert {found for found in named if found[1] not in targets} == set()


def test_every_modelfleet_command_in_the_documents_exists_with_its_options() -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    wrong, seen = [], set()
    for name, text in commands():
        found = re.match(r"modelfleet ([a-z]\S*)(.*)", text)
        if found is None:
            continue
        command = known.get(found[1])
        options = set(re.findall(r"(?<=\s)--[a-z-]+", found[2]))
        if command is None or options - {opt for param in command.params for opt in param.opts}:
            wrong.append(f"{name}: {text}")
        seen.add(found[1])
    assert wrong == []
    assert seen == set(known), "a command no document shows"


PARTS: dict[str, type[Part]] = {
    "": FleetSpec,
    "data.": Data,
    **{f"{part.__name__}.": part for part in (SqlTable, LakeTable, Regression, Classification, Forecast)},
    **{f"{part.__name__}.": part for part in (Features, Lag, Difference, Rolling, Expanding, Holidays)},
    **{f"{part.__name__}.": part for part in (Candidate, Drop, Clip, Fill, Dedupe)},
    **{f"{part.__name__}.": part for part in (Training, Limits, Quality, Gate, Schedule)},
}


def documented_fields() -> dict[str, list[str]]:
    rows = cells((ROOT / "docs" / "author-a-fleet.md").read_text())
    return {row[0].strip("`"): row for row in rows if len(row) == 3 and row[0].startswith("`")}


def test_every_field_of_a_spec_is_documented_with_its_default() -> None:
    wrong, documented = [], documented_fields()
    for prefix, part in PARTS.items():
        for name, field in part.model_fields.items():
            path = prefix + (field.alias or name)
            if name == "kind":
                continue
            default = field.get_default(call_default_factory=True)
            text = (
                "required"
                if field.is_required()
                else f"{part.__name__}()"
                if isinstance(default, Part)
                else repr(default)
            )
            expected = f"{type(default).__name__}()" if isinstance(default, Part) else text
            if path not in documented or documented[path][1].replace('"', "'") != expected:
                wrong.append(f"{path}: {expected}, documented {documented.get(path)}")
    assert wrong == []


def test_fields_marked_not_built_are_those_that_are_refused() -> None:
    marked = {path for path, row in documented_fields().items() if "*not built*" in row[2]}
    refused = {
        f"{section.title()}.{field}".lstrip(".") for section, fields in unbuilt._FIELDS.items() for field in fields
    }
    assert marked == refused


def test_fields_of_the_reference_are_those_there_are() -> None:
    fields = {
        prefix + (field.alias or name) for prefix, part in PARTS.items() for name, field in part.model_fields.items()
    }
    parts = {path for path in documented_fields() if path.partition(".")[0] + "." in PARTS}
    assert parts - fields == set()


def test_names_of_rules_and_reasons_are_all_documented() -> None:
    text = (ROOT / "docs" / "author-a-fleet.md").read_text()
    names = (*FORECAST, *CLASSIFICATION, *MODEL_COUNTS, *FLEET_COUNTS, *FLEET_SHARES, *FUNCTIONS, *Reason)
    wanted = [*map(str, names), *(f"{struct}.<metric>" for struct in COMPARED), "champion.status", "baseline.status"]
    assert [name for name in wanted if f"`{name}`" not in text] == []


def test_modes_of_the_gate_are_all_documented() -> None:
    text = (ROOT / "docs" / "author-a-fleet.md").read_text()
    assert [mode for mode in get_args(Gate.model_fields["mode"].annotation) if f"| `{mode}` |" not in text] == []


def test_variables_in_operate_are_those_the_code_reads() -> None:
    variable = re.compile(r"\bMODELFLEET_[A-Z]+(?:_[A-Z]+)*\b")
    sources = [path for folder in ("include", "demo") for path in (ROOT / folder).rglob("*.py")]
    sources += [ROOT / "tests" / "conftest.py", ROOT / "tests" / "fixtures_azurite.py"]
    read = {name for path in sources for name in variable.findall(path.read_text())}
    rows = cells((ROOT / "docs" / "operate.md").read_text())
    documented = {name for row in rows for name in variable.findall(row[0])}
    assert documented == read


# --- warehouse -----------------------------------------------------------------------------------------------------


def documented_tables() -> dict[str, set[str]]:
    """The columns of each table that docs/warehouse.md describes, metrics written out."""
    text = (ROOT / "docs" / "warehouse.md").read_text()
    sections = re.findall(r"^### `(\S+)`\n(.*?)(?=^##)", text, flags=re.MULTILINE | re.DOTALL)
    tables = {}
    for name, section in sections:
        named = [row[0].strip("`") for row in cells(section) if row[0].startswith("`")]
        expanded = (column.replace("<metric>", metric) for column in named for metric in METRICS)
        tables[name] = set(expanded)
    return tables


def test_tables_of_the_warehouse_are_documented_with_all_their_columns() -> None:
    real = {table.name: {str(column.name) for column in table.columns} for table in FIXED}
    documented = documented_tables()
    assert documented.pop("<fleet>_predictions") == set(ISSUED)
    assert documented.pop(SCHEMA.name) == set()
    assert documented == real


def test_statuses_of_runs_are_documented() -> None:
    (row,) = [
        row
        for row in cells((ROOT / "docs" / "warehouse.md").read_text())
        if row[0] == "`status`" and "running" in row[2]
    ]
    assert set(re.findall(r"[a-z]+", row[2])) - {"or"} == set(RUN_STATUSES)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def warehouse(request: pytest.FixtureRequest, connect: Callable[[str, str], None]) -> Warehouse:
    """A warehouse with one run of everything."""
    if request.param == "postgresql":
        connect("modelfleet_warehouse", request.getfixturevalue("postgres_database"))
    filled, fleet, partition = Warehouse.open(), "flight_delays", ["carrier=AA/origin=JFK/dest=LAX"]
    for pipeline, interval in (("train", "2013-09-30"), ("promote", "2013-09-30"), ("score", "2013-10-01")):
        filled.record_run(fleet, pipeline, interval, "a1", status="committed", rows=1)
    numbers: dict[str, Any] = {"mae": [9.5], "baseline_mae": [20.0]}
    filled.load_models(fleet, "2013-09-30", "a1", pa.table({"partition": partition, "status": ["trained"], **numbers}))
    decisions = {"partition": partition, "decision": ["rejected"], "rule": ["mae < 9"], "reason": ["mae < 9 is false"]}
    filled.load_decisions(fleet, "2013-09-30", "a1", pa.table(decisions))
    at = datetime(2013, 10, 1, 12, tzinfo=UTC)
    row = {"carrier": "AA", "origin": "JFK", "dest": "LAX", "time_hour": at, "flight": 1, "prediction": 3.5}
    served = {"source": "baseline", "partition": partition[0], "model_version": 1}
    predictions = pa.Table.from_pylist([row | served])
    keys = {"key_columns": ("carrier", "origin", "dest"), "time_column": "time_hour", "id_columns": ("flight",)}
    filled.load_predictions(fleet, "2013-10-01", "a1", at, predictions.to_reader(), **keys)
    where = ("score", "2013-10-01", None, "score", "step_failed", "error", "a title", "a message")
    raise_incident(Incident(fleet, *where, at))
    return filled


def test_queries_of_the_warehouse_document_run_and_find_rows(warehouse: Warehouse) -> None:
    queries = blocks(ROOT / "docs" / "warehouse.md", "sql")
    assert queries
    with warehouse.database.reading() as connection:
        empty = [query for query in queries if not connection.execute(sa.text(query)).all()]
    assert empty == []


def test_figures_of_the_readme_are_those_that_were_measured() -> None:
    full = {run["workload"]: run for run in results.latest() if run["form"] == "full"}
    seconds = {name: seconds_of(full[name], "ours") or 0.0 for name in ("W1", "W2")}
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"takes {seconds['W1']:.0f} s, and a million models on as many rows {seconds['W2'] / 60:.0f} minutes" in text
