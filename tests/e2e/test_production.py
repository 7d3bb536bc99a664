"""What a stranger gets: a plain process that knows only the production registry predicts what the warehouse holds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest

from chain_bench import BULK, COLUMNS, DAYS, EXPECTED, ROWS_A_DAY, World, alarms, readings
from modelfleet import FleetSpec, registry, settings

pytest_plugins = ["fixtures_mlflow"]

DAY = DAYS[0]
PROGRAM = """
import sys
import mlflow, pandas as pd
frame = pd.read_parquet("frame.parquet")
model = mlflow.pyfunc.load_model(f"models:/{sys.argv[1]}@champion")
answer = model.predict(frame.sample(frac=1.0, random_state=1))
assert sorted(answer.index) == sorted(frame.index)
answer.insert(0, "reading", frame["reading"])
answer.to_parquet("answer.parquet")
alone = model.predict(frame.iloc[[3]])
assert alone["partition"].tolist() == answer.loc[frame.index[[3]], "partition"].tolist()
assert "modelfleet" not in {p.split("/")[-1] for p in sys.path}
"""


@pytest.fixture
def production(
    mlflow_servers: tuple[str, str],
    postgres_database: str,
    connect: Callable[[str, str], None],
    new_world: World,
) -> World:
    """The production way: source and warehouse in PostgreSQL, two MLflow servers; its home has only the lake."""
    connect("wells_db", postgres_database)
    connect("modelfleet_warehouse", postgres_database)
    new_world.source.unlink()
    shutil.rmtree(new_world.home / "mlflow")
    with psycopg.connect(postgres_database) as database, database.cursor() as cursor:
        cursor.execute(f"CREATE TABLE readings ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
        with cursor.copy("COPY readings FROM STDIN") as copy:
            for row in readings():
                copy.write_row(row)
    return new_world


def test_plain_process_predicts_what_the_warehouse_holds_on_embedded_stores(world: World, tmp_path: Path) -> None:
    check_predictions(world, tmp_path)


def test_classification_predicts_the_same_in_a_plain_process(new_world: World, tmp_path: Path) -> None:
    world = new_world.with_spec(**{name: getattr(alarms(), name) for name in ("name", "problem", "model", "gate")})
    world.to_champion()
    compared = check_predictions(world, tmp_path)
    assert compared["prediction"].dropna().isin([0.0, 1.0]).all()
    assert compared["probability"].dropna().between(0, 1).all()


def test_chain_on_postgresql_with_two_servers(production: World, tmp_path: Path) -> None:
    names = ("name", "problem", "model", "gate")
    for spec in (production.spec, alarms()):
        world = production.with_spec(**{name: getattr(spec, name) for name in names})
        world.to_champion()
        check_predictions(world, tmp_path / spec.name)
        assert world.warehouse.models(spec.name, BULK).num_rows == len(EXPECTED)
        assert world.warehouse.decisions(spec.name, BULK).num_rows == len(EXPECTED)
        assert {len(registry.versions(spec.name, role)) for role in ("staging", "production")} == {1}
        # Repeated, it leaves the same rows.
        rows = world.warehouse.predictions(spec.name, latest=False).num_rows
        world.to_champion()
        world.run("score", DAY)
        assert world.warehouse.predictions(spec.name, latest=False).num_rows == rows
    assert not (production.home / "warehouse.db").exists()
    assert not (production.home / "mlflow" / "production.db").exists()


def check_predictions(world: World, folder: Path) -> pd.DataFrame:
    """Score a day and let a stranger predict the same rows."""
    world.run("ingest", DAY)
    world.run("score", DAY)
    held = world.warehouse.predictions(world.spec.name, DAY).to_pandas().sort_values("reading", ignore_index=True)
    assert len(held) == ROWS_A_DAY * (len(EXPECTED) + 1)

    answer = asked(world.spec, folder / "stranger").sort_values("reading", ignore_index=True)

    assert answer["reading"].tolist() == held["reading"].tolist()
    assert answer["partition"].tolist() == held["partition"].tolist()
    assert answer["source"].tolist() == held["source"].tolist()
    for name in [name for name in ("prediction", "probability") if name in answer]:
        assert (answer[name].isna() == held[name].isna()).all()
        assert np.nanmax(np.abs(answer[name] - held[name])) < 1e-9
    assert held["prediction"].notna().sum() >= ROWS_A_DAY * len(EXPECTED) - ROWS_A_DAY
    return held


def asked(spec: FleetSpec, folder: Path) -> pd.DataFrame:
    """What the champion predicts in a process that knows nothing but where production is."""
    folder.mkdir(parents=True)
    rows = [row for row in readings() if str(row[3]).startswith(DAY)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).drop(columns=["flow", "high"])
    frame = frame.astype({"pad": "Int64", "reading": "int64", "mood": "int64", "depth": float, "pressure": float})
    frame["read_at"] = pd.to_datetime(frame["read_at"])
    frame.index = pd.Index(range(7, 7 + len(frame)))
    frame.to_parquet(folder / "frame.parquet")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    environment = {**kept, "MLFLOW_TRACKING_URI": settings.registry_uri("production")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, spec.name],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return pd.read_parquet(folder / "answer.parquet")
