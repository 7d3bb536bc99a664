"""The registries on embedded stores: fresh, killed in the middle, tampered with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import mlflow
import pytest
from mlflow.tracking import MlflowClient

import modelfleet.registry as r
from modelfleet import settings
from modelfleet.errors import ConfigurationError, ConflictError, CorruptionError, NotFoundError
from registry_bench import INCLUDE, a_client, a_release, publish, publish_three, runs_of

pytest_plugins = ["fixtures_mlflow"]


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
