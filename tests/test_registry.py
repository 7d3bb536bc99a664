"""The registries, on embedded stores and on two real MLflow servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pytest

import modelfleet.registry as r
from modelfleet import settings
from modelfleet.errors import ConflictError, NotFoundError
from modelfleet.registry.model import pinned
from modelfleet.registry.staging import flatten, fleet_metrics
from registry_bench import SPEC, a_client, a_model_table, a_release, in_batches, publish, publish_three, runs_of, train

pytest_plugins = ["fixtures_mlflow"]


@pytest.fixture
def global_tracking_elsewhere(tmp_path: Path) -> Iterator[Path]:
    """What an author's notebook has set in this process must not decide where models go."""
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/elsewhere.db")
    yield tmp_path / "elsewhere.db"
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


@pytest.mark.usefixtures("mlflow_registries")
def test_training_logged_gives_one_run_with_numbers_files_and_tags(
    a_pack: Callable[..., r.PackModel], tmp_path: Path
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.html").write_text("<p>fine</p>")
    tags = {"domain": "ops", "interval": "mine", "owner?": "x", "source": "y"}
    release = a_release("trainlog", tags=tags, lineage={"source": "ingest a0"})

    made = train(release, a_pack(), data_docs=tmp_path / "docs")

    client = a_client("staging")
    (run,) = runs_of("staging", "trainlog")
    assert (run.info.run_id, run.info.status) == (made.run_id, "FINISHED")
    assert run.data.metrics["median_mae"] == 2.0
    assert run.data.metrics["expected"] == 5.0
    assert run.data.params["training.window"] == "730D"
    files = {item.path for folder in ("", "plots", "data_docs") for item in client.list_artifacts(made.run_id, folder)}
    expected_files = {"models.parquet", "spec.json", "data_docs/index.html"}
    expected_files |= {"plots/error_distribution.png", "plots/error_against_rows.png"}
    assert expected_files <= files
    (version,) = r.versions("trainlog", "staging")
    assert (version.version, version.run_id) == (made.version, made.run_id)
    assert version.interval == "2013-09-30"
    from_author = {"domain": "ops", "author.interval": "mine", "owner_": "x", "author.source": "y"}
    own = {"spec_digest": "5bec", "attempt": "a1", "source": "ingest a0"}
    assert (from_author | own).items() <= dict(version.tags).items()
    assert r.versions("trainlog", "production") == []


@pytest.mark.usefixtures("mlflow_registries")
def test_same_pack_of_an_interval_again_gives_the_same_version_and_no_second_run(
    a_pack: Callable[..., r.PackModel],
) -> None:
    release = a_release("again")
    first = train(release, a_pack())

    assert train(release, a_pack()) == first
    assert train(replace(release, attempt="a2"), a_pack()) == first, "another attempt, the same models"
    assert train(replace(release, pack_digest="other"), a_pack()).version == 2
    assert publish(release, a_pack()) == publish(release, a_pack()) == 1
    assert len(runs_of("staging", "again")) == 2
    assert len(runs_of("production", "again")) == 1


@pytest.mark.usefixtures("mlflow_registries")
def test_champion_moves_to_what_is_published_and_never_to_an_older_interval(
    a_pack: Callable[..., r.PackModel],
) -> None:
    assert r.champion("moves") is None
    september = publish(a_release("moves", "2013-09-30", "a1"), a_pack(1))
    assert r.champion("moves") is None, "published, but nothing moved the alias"
    r.set_champion("moves", september, expected=None)
    august = publish(a_release("moves", "2013-08-31", "a2"), a_pack(2))

    with pytest.raises(ConflictError, match=r"2013-08-31, older than 2013-09-30"):
        r.set_champion("moves", august, expected=september)

    serving = r.champion("moves")
    assert serving is not None
    assert (serving.version, serving.pack_digest, serving.is_champion) == (september, "digest-a1", True)
    assert serving.pack_manifest == "moves/promote/2013-09-30/a1/pack.json"
    assert serving.tags["staging_version"] == "7"
    r.set_champion("moves", august, expected=september, force=True)
    assert [v.version for v in r.versions("moves") if v.is_champion] == [august]


@pytest.mark.usefixtures("mlflow_registries")
def test_repeated_rollbacks_walk_back_and_end_at_the_first(a_pack: Callable[..., r.PackModel]) -> None:
    publish_three("walk", a_pack)

    assert r.rollback("walk") == (3, 2)
    assert r.rollback("walk") == (2, 1)
    with pytest.raises(NotFoundError, match="no champion before version 1"):
        r.rollback("walk")

    assert r.rollback("walk", to=3) == (1, 3)
    moves = [(move.from_version, move.to_version, move.why) for move in r.history("walk")]
    promoted = [(None, 1, "promoted"), (1, 2, "promoted"), (2, 3, "promoted")]
    assert moves == [*promoted, (3, 2, "rolled back"), (2, 1, "rolled back"), (1, 3, "rolled back")]


@pytest.mark.usefixtures("mlflow_registries")
def test_plain_process_that_knows_only_production_predicts_with_the_champion(
    a_pack: Callable[..., r.PackModel], tmp_path: Path, global_tracking_elsewhere: Path
) -> None:
    publish_three("plain", a_pack)
    assert mlflow.get_tracking_uri() == f"sqlite:///{global_tracking_elsewhere}"
    assert not global_tracking_elsewhere.exists()

    program = """
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/plain@champion")
frame = pd.DataFrame({"carrier": ["AA", None], "distance": [2**60, 1], "at": [None, None], "unrelated": [1, 2]})
answer = model.predict(frame)
assert answer["prediction"].tolist() == [3.0, 3.0], answer
assert answer["distance"].tolist() == [2**60, 1], answer
frame["distance"] = [5, None]
assert model.predict(frame)["distance"].isna().tolist() == [False, True]
try:
    model.predict(frame.drop(columns="carrier"))
except mlflow.exceptions.MlflowException as exc:
    print(exc)
"""
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    environment = {**kept, "MLFLOW_TRACKING_URI": settings.registry_uri("production")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=stranger, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "missing inputs ['carrier']" in done.stdout


def test_fleet_metrics_leave_out_what_is_not_finite() -> None:
    found = fleet_metrics(in_batches(a_model_table()), ["mae", "absent"])
    assert found == {
        "expected": 5.0,
        "trained": 3.0,
        "skipped": 1.0,
        "failed": 1.0,
        "total_n_rows": 433.0,
        "median_mae": 2.0,
        "mean_mae": 2.0,
        "median_baseline_mae": 3.0,
        "mean_baseline_mae": 3.0,
    }


def test_fleet_metrics_of_no_trained_model_are_counts() -> None:
    table = a_model_table().slice(3)
    assert fleet_metrics(in_batches(table), ["mae"]) == {
        "expected": 2.0,
        "trained": 0.0,
        "skipped": 1.0,
        "failed": 1.0,
        "total_n_rows": 83.0,
    }


def test_spec_flattened_is_bounded_and_has_set_fields_only() -> None:
    assert flatten(SPEC) == {"name": "x", "training.window": "730D", "training.fallback": '["baseline"]'}
    many = flatten({"tags": {f"t{i}?": "y" * 900 for i in range(300)}})
    assert len(many) == 201
    assert many["more_params"] == "100 more, see spec.json"
    assert {len(value) for name, value in many.items() if name != "more_params"} == {500}
    assert "tags.t0_" in many


@pytest.mark.parametrize("metrics", [["log_loss", "accuracy"], ["mine"], ["mae"], []])
def test_plots_are_drawn_for_any_metric_also_without_models(tmp_path: Path, metrics: list[str]) -> None:
    from modelfleet.registry.plots import write_plots

    rows = np.arange(1, 6)
    table = a_model_table().append_column("log_loss", pa.array(rows / 10)).append_column("mine", pa.array(rows))
    for name, models in (("some", table), ("none", table.slice(0, 0))):
        write_plots(models, metrics, tmp_path / name)
        for file in ("error_distribution.png", "error_against_rows.png"):
            assert (tmp_path / name / file).read_bytes().startswith(b"\x89PNG")


def test_requirement_pinned_is_what_is_installed() -> None:
    assert pinned(("numpy",)) == [f"numpy=={np.__version__}"]
