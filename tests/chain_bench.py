"""A small fleet of wells and everything it needs: a source database, the pipelines run on it, and what they left."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from modelfleet import (
    Classification,
    Data,
    FleetSpec,
    Gate,
    Quality,
    Regression,
    Schedule,
    SqlTable,
    Training,
    dataset,
    keys,
)
from modelfleet.lake import Lake, RunManifest, StepManifest, runs
from modelfleet.plan import steps_of
from modelfleet.steps import RunRef, open_run, run_step
from modelfleet.steps.runner import open_context
from modelfleet.warehouse import Warehouse
from wells import gauges

TESTS = Path(__file__).parent
Json = dict[str, Any]

BULK, BULK_START, CUTOFF = "2024-03-31", "2024-01-01", date(2024, 3, 18)
DAYS = ("2024-04-01", "2024-04-02", "2024-04-03")
NEXT = "2024-04-03"
"""The second training's interval."""

Key = tuple[str | None, int | None]
HEALTHY: tuple[Key, ...] = (
    ("a/b=c", 1),
    ("..", 2),
    (" with space ", 3),
    ("", 4),
    (None, 5),
    ("\u00fcn\u00ef \u4e95 %41", 2**53 + 1),
    ('it\'s "q"; DROP TABLE x--', -7),
    ("plain", None),
    ("plain", 8),
    ("!null", 5),
)
WITHOUT_MODEL: dict[Key, tuple[str, str | None]] = {
    ("raises", 10): ("failed", "fit_raised"),
    ("blank", 11): ("skipped", "all_null_feature"),
    ("flat", 12): ("skipped", "constant_target"),
    ("single", 13): ("skipped", "too_few_rows"),
    ("untold", 14): ("skipped", "no_target"),
    ("young", 16): ("skipped", "no_rows_before_cutoff"),
    ("mute", 17): ("failed", "prediction_invalid"),
}
LONE: Key = ("lone", 15)
"""One row in the holdout, so its R2 is NaN."""
UNKNOWN: Key = ("new", 18)
"""First seen when scored."""
EXPECTED = {
    **dict.fromkeys((*HEALTHY, LONE), ("trained", None)),
    **WITHOUT_MODEL,
}
ROWS_A_DAY = 2


def partition(key: Key) -> str:
    return keys.encode(("well", "pad"), key)


def wells(**changes: Any) -> FleetSpec:
    """The regression fleet."""
    given: Json = {
        "name": "wells",
        "owner": "tests",
        "data": Data(SqlTable("wells_db", "readings", time="read_at")),
        "partition_by": ("well", "pad"),
        "id_columns": ("reading",),
        "problem": Regression(target="flow"),
        "features": ("depth", "pressure", "mood"),
        "model": "wells.gauges:build",
        "training": Training(holdout="14D", min_rows=20),
        "quality": Quality(between={"depth": (0, 10_000)}),
        "gate": Gate(
            each=("mae < baseline.mae", "r2 > -1000", "champion.mae IS NULL OR mae <= 1.5 * champion.mae"),
            fleet=("promoted_share >= 0.3",),
        ),
        "schedule": Schedule(ingest="@daily"),
        "tags": {"domain": "oil"},
    }
    return FleetSpec(**{**given, **changes})


def alarms(**changes: Any) -> FleetSpec:
    """The classification fleet on the same table."""
    given: Json = {
        "name": "alarms",
        "problem": Classification(target="high"),
        "model": "wells.gauges:build_alarm",
        "gate": Gate(each=("accuracy >= 0.5",)),
    }
    return wells(**{**given, **changes})


@dataclass
class World:
    """A home (lake, warehouse, registries) with a source database beside it, and the fleet run on it."""

    home: Path
    spec: FleetSpec

    @property
    def source(self) -> Path:
        return self.home / "source.db"

    @property
    def environment(self) -> dict[str, str]:
        """What another process needs to see this world."""
        return {
            "MODELFLEET_HOME": str(self.home),
            "AIRFLOW_CONN_WELLS_DB": f"sqlite:///{self.source}",
            "PYTHONPATH": str(TESTS),
        }

    def with_spec(self, **changes: Any) -> World:
        return replace(
            self, spec=FleetSpec(**{**{n: getattr(self.spec, n) for n in FleetSpec.model_fields}, **changes})
        )

    def open(self, pipeline: str, interval: str, **options: Any) -> RunRef:
        return open_run(self.spec, pipeline, interval, **options)

    def steps(self, pipeline: str) -> list[str]:
        return [step.name for step in steps_of(self.spec, pipeline) if step.name != "pin"]

    def finish(self, ref: RunRef, *, only: tuple[str, ...] | None = None) -> dict[str, Json]:
        """Run an open attempt's steps in one process; the facts of each."""
        context = open_context(ref)
        return {name: run_step(ref, name, context=context) for name in only or self.steps(ref.pipeline)}

    def run(self, pipeline: str, interval: str, **options: Any) -> dict[str, Json]:
        return self.finish(self.open(pipeline, interval, **options))

    def to_champion(self) -> None:
        """Bulk ingest, training and promotion."""
        self.run("ingest", BULK, start=BULK_START, train_only=True)
        self.run("train", BULK)
        self.run("promote", BULK)

    def committed(self, pipeline: str, interval: str) -> RunManifest:
        found = runs.committed(Lake.open(), self.spec.name, pipeline, interval)
        assert found is not None, f"{pipeline} {interval} is not committed"
        return found

    def manifest(self, pipeline: str, interval: str, step: str) -> StepManifest:
        """What a step of the run in force wrote."""
        in_force = self.committed(pipeline, interval)
        found = runs.load_step(Lake.open(), self.spec.name, pipeline, interval, in_force.attempt, step)
        assert found is not None
        return found

    def output(self, pipeline: str, interval: str, step: str, name: str) -> pa.Table:
        """The rows of all files of an output of the run in force."""
        files = self.manifest(pipeline, interval, step).files[name]
        if step == "dataset":
            return pa.concat_tables(dataset.read_bucket(Lake.open(), entry) for entry in files)
        return pa.concat_tables(pq.read_table(self.home / "lake" / entry.path) for entry in files)

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse.open()

    def execute(self, *statements: str) -> None:
        """Change the source database."""
        with closing(sqlite3.connect(self.source)) as database, database:
            for statement in statements:
                database.execute(statement)

    def modelfleet(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line, in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "modelfleet.cli", *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )


def copied(world: World, home: Path) -> World:
    """Another world with the same past; MLflow's artifacts stay where they are."""
    shutil.copytree(world.home, home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*-artifacts"))
    return World(home, world.spec)


COLUMNS = {
    "reading": "INTEGER",
    "well": "TEXT",
    "pad": "BIGINT",
    "read_at": "TIMESTAMP",
    "depth": "DOUBLE PRECISION",
    "pressure": "DOUBLE PRECISION",
    "mood": "INTEGER",
    "flow": "DOUBLE PRECISION",
    "high": "BOOLEAN",
}


def readings() -> Iterator[tuple[Any, ...]]:
    """Two readings a day of each well, from January to the first days of April; April's have no targets yet."""
    chance = random.Random(11)
    number = 0
    first, last = date.fromisoformat(BULK_START), date.fromisoformat(DAYS[-1])
    for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
        bulk = day <= date.fromisoformat(BULK)
        for key in (*EXPECTED, UNKNOWN):
            for hour in (9, 17):
                depth, pressure, noise = chance.uniform(100, 900), chance.uniform(1, 5), chance.gauss(0, 2)
                if not _is_there(key, day, hour, bulk):
                    continue
                number += 1
                flow = 0.05 * depth + 4 * pressure + len(str(key)) + noise
                flow = 7.5 if key[0] == "flat" else flow
                shown = None if not bulk or key[0] == "untold" else flow
                yield (
                    number,
                    *key,
                    f"{day} {hour:02}:30:00",
                    None if key[0] == "blank" else depth,
                    None if number % 17 == 0 else pressure,
                    {"raises": gauges.FIT_RAISES, "mute": gauges.PREDICTS_NAN}.get(str(key[0]), gauges.CALM),
                    shown,
                    None if shown is None else shown > 40,
                )


def _is_there(key: Key, day: date, hour: int, bulk: bool) -> bool:
    if key == UNKNOWN:
        return not bulk
    if key[0] == "single":
        return (str(day) == "2024-02-01" and hour == 9) or not bulk
    if key[0] == "young":
        return day >= CUTOFF
    if key == LONE and bulk and day >= CUTOFF:
        return str(day) == "2024-03-20" and hour == 9
    return True


def fill(path: Path) -> None:
    """Write the source database as SQLite."""
    declared = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE readings ({declared})")
        database.executemany(f"INSERT INTO readings VALUES ({', '.join('?' * len(COLUMNS))})", readings())
