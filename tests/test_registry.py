"""The registries, on embedded stores and on two real MLflow servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow as pa
import pytest
from mlflow.tracking import MlflowClient

import modelfleet.registry as r
from mlflow_servers import free_port
from modelfleet import settings
from modelfleet.errors import (
    ConfigurationError,
    ConflictError,
    CorruptionError,
    DataError,
    ModelfleetError,
    NotFoundError,
    UnavailableError,
)
from modelfleet.registry.model import pinned
from modelfleet.registry.records import Release
from modelfleet.registry.staging import flatten, fleet_metrics

pytest_plugins = ["fixtures_mlflow"]

INCLUDE = Path(r.__file__).parents[2]
COLUMNS = pa.schema([("carrier", pa.string()), ("distance", pa.int64()), ("at", pa.timestamp("us", "UTC"))])
SPEC = {"name": "x", "training": {"window": "730D", "fallback": ["baseline"]}, "gate": {"each": []}, "access": None}
# Stands for modelfleet.pyfunc: predicts the pack's number, and shows which types arrive.
LOADER = """
import json
from pathlib import Path
import pandas as pd

class Model:
    def __init__(self, number): self.number = number
    def predict(self, frame, params=None):
        return pd.DataFrame({"prediction": [float(self.number)] * len(frame), "distance": frame["distance"]})

def _load_pyfunc(path):
    return Model(json.loads((Path(path) / "pack.json").read_text())["number"])
"""


def a_release(fleet: str, interval: str = "2013-09-30", attempt: str = "a1", **changes: Any) -> Release:
    made = Release(
        fleet=fleet,
        interval=interval,
        attempt=attempt,
        spec_digest="5bec",
        code_version="0.1+c0de",
        data_start=datetime(2013, 1, 1, tzinfo=UTC),
        data_end=datetime(2013, 10, 1, tzinfo=UTC),
        pack_digest=f"digest-{attempt}",
    )
    return replace(made, **changes)


@pytest.fixture
def a_pack(tmp_path: Path) -> Callable[..., r.PackModel]:
    code = tmp_path / "code" / f"loader_{os.urandom(4).hex()}"
    (code / "__pycache__").mkdir(parents=True)
    (code / "__pycache__" / "stale.pyc").write_bytes(b"stale")
    (code / "__init__.py").write_text(LOADER)

    def make(number: int = 1) -> r.PackModel:
        folder = tmp_path / f"pack-{number}"
        folder.mkdir(exist_ok=True)
        (folder / "pack.json").write_text(json.dumps({"number": number}))
        (folder / "models-000.parquet").write_bytes(b"PAR1" * number)
        return r.PackModel(folder, COLUMNS, required=("carrier",), code=(code,), loader_module=code.name)

    return make


def a_model_table() -> pa.Table:
    nan = float("nan")
    return pa.table(
        {
            "partition": ["carrier=AA", "carrier=UA", "carrier=US", "carrier=VX", "carrier=YV"],
            "status": ["trained", "trained", "trained", "skipped", "failed"],
            "n_rows": [100, 200, 50, 3, 80],
            "mae": pa.array([1.0, 3.0, nan, None, None]),
            "baseline_mae": pa.array([2.0, 4.0, float("inf"), None, None]),
        }
    )


def train(release: Release, pack: r.PackModel, **more: Any) -> r.TrainingVersion:
    return r.log_training(release, pack, spec=SPEC, models=a_model_table(), metrics=["mae"], **more)


def publish(release: Release, pack: r.PackModel) -> int:
    manifest = f"{release.fleet}/promote/{release.interval}/{release.attempt}/pack.json"
    return r.publish(release, pack, pack_manifest=manifest, staging_version=7, metrics={"promoted": 3.0})


def publish_three(fleet: str, a_pack: Callable[..., r.PackModel]) -> None:
    """Versions 1, 2, 3 of July, August and September; each was champion, 3 is."""
    for number, interval in enumerate(("2013-07-31", "2013-08-31", "2013-09-30"), start=1):
        assert publish(a_release(fleet, interval, f"a{number}"), a_pack(number)) == number
        r.set_champion(fleet, number, expected=number - 1 or None)


def a_client(role: settings.RegistryRole) -> MlflowClient:
    uri = settings.registry_uri(role)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def runs_of(role: settings.RegistryRole, fleet: str) -> list[Any]:
    client = a_client(role)
    experiment = client.get_experiment_by_name(fleet)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


@pytest.fixture
def global_tracking_elsewhere(tmp_path: Path) -> Iterator[Path]:
    """What an author's notebook has set in this process must not decide where models go."""
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/elsewhere.db")
    yield tmp_path / "elsewhere.db"
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


# --- both kinds of registry ----------------------------------------------------------------------------------------


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


# --- embedded stores -----------------------------------------------------------------------------------------------


def test_fresh_store_opened_by_processes_at_once_is_made_once() -> None:
    program = "from modelfleet import registry; registry.ensure('staging'); print(registry.versions('x', 'staging'))"
    environment = {**os.environ, "PYTHONPATH": str(INCLUDE)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    processes = [subprocess.Popen([sys.executable, "-c", program], **pipes) for _ in range(2)]  # type: ignore[call-overload]

    ended = [(*process.communicate(), process.returncode) for process in processes]

    assert [(output.strip(), code) for output, _, code in ended] == [("[]", 0), ("[]", 0)], ended
    assert not list((settings.home() / "mlflow").glob("*.new"))


@pytest.mark.usefixtures("mlflow_embedded")
@pytest.mark.parametrize("killed_in", ["log_model_artifacts", "finalize_logged_model", "create_model_version"])
def test_killed_attempt_repeated_leaves_one_version_and_one_run(
    a_pack: Callable[..., r.PackModel], killed_in: str
) -> None:
    release, pack = a_release("killed"), a_pack()
    child = os.fork()
    if child == 0:
        setattr(MlflowClient, killed_in, lambda *_, **__: os._exit(9))
        publish(release, pack)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(runs_of("production", "killed")) == 1

    assert publish(release, pack) == 1

    (version,) = r.versions("killed")
    assert [run.info.run_id for run in runs_of("production", "killed")] == [version.run_id]


@pytest.mark.usefixtures("mlflow_embedded")
def test_failed_logging_is_marked_failed_and_repeats(a_pack: Callable[..., r.PackModel]) -> None:
    wrong = replace(a_pack(), requirements=("no-such-distribution",))
    with pytest.raises(ConfigurationError, match="no-such-distribution"):
        publish(a_release("failing"), wrong)
    assert [run.info.status for run in runs_of("production", "failing")] == ["FAILED"]

    assert publish(a_release("failing"), a_pack()) == 1
    assert [run.info.status for run in runs_of("production", "failing")] == ["FINISHED"]


@pytest.mark.usefixtures("mlflow_embedded")
def test_champion_other_than_expected_is_not_replaced(a_pack: Callable[..., r.PackModel]) -> None:
    publish_three("expected", a_pack)
    newer = publish(a_release("expected", "2013-10-31", "a4"), a_pack(4))

    for expected in (2, None):
        with pytest.raises(ConflictError, match=r"but version 3 serves now"):
            r.set_champion("expected", newer, expected=expected, force=True)

    r.set_champion("expected", 3, expected=2)  # a repeat of the move that was made
    assert [move.to_version for move in r.history("expected")] == [1, 2, 3]


@pytest.mark.usefixtures("mlflow_embedded")
def test_promotion_after_a_rollback_leads_back_to_what_served_then(a_pack: Callable[..., r.PackModel]) -> None:
    publish_three("resumed", a_pack)
    r.rollback("resumed", to=1)
    r.set_champion("resumed", publish(a_release("resumed", "2013-10-31", "a4"), a_pack(4)), expected=1)

    assert r.rollback("resumed") == (4, 1)


@pytest.mark.usefixtures("mlflow_embedded")
def test_rollback_to_what_can_not_serve_is_refused(a_pack: Callable[..., r.PackModel]) -> None:
    with pytest.raises(NotFoundError, match="no version in the production registry"):
        r.rollback("refused")
    publish_three("refused", a_pack)
    with pytest.raises(NotFoundError, match=r"no version 9 .* it has 1, 2, 3"):
        r.rollback("refused", to=9)
    with pytest.raises(ConflictError, match="version 3 is the champion already"):
        r.rollback("refused", to=3)
    client = a_client("production")
    client.create_model_version("refused", "file:///somewhere")
    with pytest.raises(CorruptionError, match=r"version 4 .* lacks the tags interval"):
        r.rollback("refused", to=4)
    client.set_registered_model_alias("refused", "champion", "4")
    with pytest.raises(CorruptionError, match="version 4"):
        r.champion("refused")
    assert r.rollback("refused", to=3) == (4, 3)


@pytest.mark.usefixtures("mlflow_embedded")
def test_experiment_deleted_in_the_ui_is_restored(a_pack: Callable[..., r.PackModel]) -> None:
    publish(a_release("deleted"), a_pack())
    client = a_client("production")
    client.delete_experiment(client.get_experiment_by_name("deleted").experiment_id)

    assert publish(a_release("deleted", attempt="a2"), a_pack(2)) == 2


@pytest.mark.usefixtures("mlflow_embedded")
def test_logged_model_holds_pack_and_code_without_caches(a_pack: Callable[..., r.PackModel]) -> None:
    pack = replace(a_pack(2), code=(*a_pack(2).code, INCLUDE / "modelfleet"))
    publish(a_release("contents"), pack)

    (model,) = (settings.home() / "mlflow" / "production-artifacts").rglob("MLmodel")
    files = {str(path.relative_to(model.parent)) for path in model.parent.rglob("*") if path.is_file()}
    assert {"data/pack/pack.json", "data/pack/models-000.parquet", "code/modelfleet/settings.py"} <= files
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]
    requirements = (model.parent / "requirements.txt").read_text().split()
    assert f"mlflow=={mlflow.__version__}" in requirements
    assert all("==" in line for line in requirements)
    assert sum((model.parent / name).stat().st_size for name in files) < 3_000_000


# --- registries that do not answer, or not as MLflow -----------------------------------------------------------------


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """An HTTP server that is not MLflow: it gives every request the same answer."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://gate:s3cret@127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "status, body, error",
    [
        (404, b"<html>not here</html>", UnavailableError),
        (404, b"{}", UnavailableError),
        (200, b"", UnavailableError),
        (200, b"{}", UnavailableError),
        (200, b"<html>log in</html>", UnavailableError),
        (503, b"", UnavailableError),
        (401, b"no", ConfigurationError),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', ConfigurationError),
    ],
)
def test_server_that_does_not_answer_as_mlflow_is_never_no_champion(
    connect: Callable[[str, str], None], status: int, body: bytes, error: type[ModelfleetError]
) -> None:
    with answering(status, body) as url:
        connect("mlflow_production", url)
        with pytest.raises(error, match=r"production registry at http://gate:.*@127\.0\.0\.1") as raised:
            r.champion("flights")
    assert "s3cret" not in str(raised.value)


@pytest.mark.timeout(60)  # MLflow's own limits would take many minutes
def test_silent_server_is_unavailable_soon(connect: Callable[[str, str], None]) -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        connect("mlflow_production", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UnavailableError, match="production registry") as raised:
            r.champion("flights")
    assert raised.value.retryable


def test_refused_connection_publishes_and_moves_nothing(
    connect: Callable[[str, str], None], a_pack: Callable[..., r.PackModel]
) -> None:
    connect("mlflow_production", f"http://127.0.0.1:{free_port()}")
    for call in (
        lambda: r.ensure("production"),
        lambda: publish(a_release("down"), a_pack()),
        lambda: r.set_champion("down", 1, expected=None),
        lambda: r.rollback("down"),
        lambda: r.versions("down"),
        lambda: r.history("down"),
    ):
        with pytest.raises(UnavailableError, match="AIRFLOW_CONN_MLFLOW_PRODUCTION"):
            call()


@pytest.mark.timeout(60)  # MLflow alone would retry for most of an hour
def test_store_that_is_no_database_is_unavailable(connect: Callable[[str, str], None], tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"not a database" * 100)
    connect("mlflow_production", f"sqlite:///{broken}")
    with pytest.raises(UnavailableError, match="not a database"):
        r.champion("flights")


@pytest.mark.parametrize(
    "staging, production, message",
    [
        ("http://mlflow:5000", "http://mlflow:5000", "same MLflow registry"),
        ("http://mlflow:5000", "postgresql://u:hidden@db:5432/mlflow", "type 'postgresql\\+psycopg'; allowed: http"),
        ("http://mlflow:5000", "ftp://mlflow", "type 'ftp'; allowed: http"),
    ],
    ids=["same", "postgresql", "ftp"],
)
def test_connections_that_can_not_be_two_registries_are_refused(
    connect: Callable[[str, str], None], staging: str, production: str, message: str
) -> None:
    connect("mlflow_staging", staging)
    connect("mlflow_production", production)
    with pytest.raises(ConfigurationError, match=message) as raised:
        r.champion("flights")
    assert "hidden" not in str(raised.value)


@pytest.mark.usefixtures("mlflow_embedded")
def test_name_mlflow_refuses_is_a_data_error(a_pack: Callable[..., r.PackModel]) -> None:
    with pytest.raises(DataError, match="refuses what it was given"):
        publish(a_release("a/b"), a_pack())


@pytest.mark.usefixtures("mlflow_embedded")
def test_pack_or_docs_that_are_not_there_are_named(a_pack: Callable[..., r.PackModel], tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nowhere has no pack\.json"):
        publish(a_release("absent"), replace(a_pack(), folder=tmp_path / "nowhere"))
    with pytest.raises(NotFoundError, match=r"data docs .*no-docs"):
        train(a_release("absent"), a_pack(), data_docs=tmp_path / "no-docs")
    assert runs_of("production", "absent") == runs_of("staging", "absent") == []


# --- pure parts ------------------------------------------------------------------------------------------------------


def test_fleet_metrics_leave_out_what_is_not_finite() -> None:
    found = fleet_metrics(a_model_table(), ["mae", "absent"])
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
    assert fleet_metrics(table, ["mae"]) == {
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
