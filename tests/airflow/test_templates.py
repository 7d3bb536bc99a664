from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Asset, AssetAny, PartitionedAssetTimetable, PartitionedAtRuntime
from airflow.sdk.definitions.retry_policy import RetryAction

from modelfleet.airflow.base import TaskRecord, pipeline
from modelfleet.airflow.callbacks import TaskFailed
from modelfleet.airflow.timetable import IntervalTimetable
from modelfleet.errors import ConfigurationError, DataError, QualityError, SpecError, UnavailableError
from modelfleet.warehouse import Warehouse

ROOT = Path(__file__).parents[2]
PYTHON = "airflow.providers.standard.operators.python.PythonOperator"


@pytest.fixture(scope="module")
def shops() -> dict[str, DAG]:
    """The DAGs of the fleet in tests/dags, by pipeline."""
    bag = DagBag(ROOT / "tests" / "dags")
    assert bag.import_errors == {}
    return {dag_id.removeprefix("shops_"): dag for dag_id, dag in bag.dags.items()}


def chained(dag: DAG) -> list[str]:
    """The tasks of a DAG that is one chain."""
    (task,) = dag.roots
    found = [task.task_id]
    while task.downstream_list:
        (task,) = task.downstream_list
        found.append(task.task_id)
    return found


class TestRepository:
    def test_every_dag_file_makes_the_dags_of_its_fleet(self) -> None:
        bag = DagBag(ROOT / "dags")

        assert bag.import_errors == {}
        fleets = [path.stem for path in (ROOT / "dags").glob("*.py")]
        wanted = {f"{fleet}_{name}" for fleet in fleets for name in ("ingest", "train", "promote", "score", "backtest")}
        assert wanted
        assert set(bag.dags) == wanted

    def test_parse_of_a_fleet_file_imports_nothing_heavy(self) -> None:
        heavy = ("pyspark", "mlflow", "great_expectations", "sklearn", "pandas", "pyarrow")
        script = f"""
            import runpy, sys
            runpy.run_path({str(ROOT / "dags" / "flight_delays.py")!r})
            print([name for name in {heavy!r} if name in sys.modules])
        """
        env = {**os.environ, "PYTHONPATH": str(ROOT / "include")}
        command = [sys.executable, "-c", textwrap.dedent(script)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)

        assert done.stdout.splitlines()[-1] == "[]"


class TestFleet:
    def test_tasks_are_the_steps_of_the_plan_with_one_spark_job(self, shops: dict[str, DAG]) -> None:
        assert {name: chained(dag) for name, dag in shops.items()} == {
            "ingest": ["extract", "commit", "announce"],
            "train": ["await_data", "pin", "train", "commit", "register"],
            "promote": ["pin", "decide", "publish", "commit", "rescore"],
            "score": ["pin", "score", "commit", "load"],
            "backtest": ["pin", "replay", "report", "commit", "publish"],
        }
        job = shops["train"].get_task("train")
        assert job.application_args[-2:] == ["--steps", "dataset,quality,train"]
        assert all(isinstance(part, str) for part in job.application_args)
        assert (job.pool, Path(job.application).name) == ("spark", "spark_job.py")

    def test_tasks_are_grouped_into_inputs_compute_and_outputs(self, shops: dict[str, DAG]) -> None:
        groups = shops["score"].task_group.children

        assert list(groups) == ["inputs", "compute", "outputs"]

    def test_pipelines_are_chained_by_partitioned_assets(self, shops: dict[str, DAG]) -> None:
        sent = {
            (name, task.task_id): [asset.name for asset in task.outlets]
            for name, dag in shops.items()
            for task in dag.tasks
            if task.outlets
        }
        assert sent == {
            ("ingest", "announce"): ["shops/raw"],
            ("train", "register"): ["shops/challenger"],
            ("promote", "commit"): ["shops/champion"],
            ("promote", "rescore"): ["shops/unscored"],
            ("score", "load"): ["shops/predictions"],
        }
        promote, score = (shops[name].timetable for name in ("promote", "score"))
        assert isinstance(promote, PartitionedAssetTimetable)
        assert isinstance(promote.asset_condition, Asset)
        assert promote.asset_condition.name == "shops/challenger"
        assert isinstance(score.asset_condition, AssetAny)
        assert {asset.name for asset in score.asset_condition.objects} == {"shops/raw", "shops/unscored"}

    def test_ingest_and_train_run_on_the_fleets_clock(self, shops: dict[str, DAG]) -> None:
        timetables = [shops[name].timetable for name in ("ingest", "train")]

        assert all(isinstance(timetable, IntervalTimetable) for timetable in timetables)
        assert [timetable.serialize()["cron"] for timetable in timetables] == ["0 0 * * *", "0 0 1 * *"]

    def test_each_run_is_alone_and_nothing_is_caught_up(self, shops: dict[str, DAG]) -> None:
        assert {(dag.max_active_runs, dag.catchup, dag.start_date) for dag in shops.values()} == {(1, False, None)}

    def test_deadline_is_the_specs_and_counts_from_being_queued(self, shops: dict[str, DAG]) -> None:
        (alert,) = shops["train"].deadline

        assert alert.interval == timedelta(hours=3)
        assert alert.reference.serialize_reference()["reference_type"] == "DagRunQueuedAtDeadline"
        assert alert.callback.path == "modelfleet.airflow.callbacks.deadline_missed"

    def test_documentation_tags_and_owner_come_from_the_spec(self, shops: dict[str, DAG]) -> None:
        train = shops["train"]

        assert train.tags == {"modelfleet", "fleet:shops", "domain:test"}
        assert {task.owner for task in train.tasks} == {"tests"}
        for said in ("Sales of a shop", "`shop`", "`visitors`, `weekday`", "`mae < baseline.mae`", "**quality**"):
            assert said in train.doc_md

    def test_manual_runs_have_forms(self, shops: dict[str, DAG]) -> None:
        ingest = shops["ingest"].params

        assert ingest.dump() == {"start": None, "train_only": False}
        assert ingest.get_param("start").schema["format"] == "date"
        assert shops["train"].params.dump() == {"force": False, "retry": None}
        assert shops["train"].params.get_param("retry").schema["enum"] == [None, "failed"]
        assert shops["promote"].params.dump() == {"force": False}
        assert shops["score"].params.dump() == {"force": False, "as_of": False}

    def test_a_backtest_is_started_by_hand_with_a_form_and_runs_the_attempt_it_opened(
        self, shops: dict[str, DAG]
    ) -> None:
        backtest = shops["backtest"]
        assert (backtest.schedule, backtest.deadline) == (None, None)
        assert backtest.params.dump() == {"folds": 10, "to": None, "every": None, "force": False}
        assert type(backtest.get_task("pin")).__name__ == "BacktestOperator"
        arguments = backtest.get_task("replay").application_args
        assert arguments[arguments.index("--interval") + 1] == (
            "{{ ti.xcom_pull(task_ids='pin', key='run')['interval'] }}"
        )
        assert "changes nothing that serves" in backtest.doc_md

    @pytest.mark.parametrize(
        "error, action",
        [
            (DataError("wrong"), RetryAction.FAIL),
            (QualityError("wrong"), RetryAction.FAIL),
            (SpecError([], fleet="shops", source=None), RetryAction.FAIL),
            (UnavailableError("down"), RetryAction.DEFAULT),
            (OSError("disk"), RetryAction.DEFAULT),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
    )
    def test_data_errors_are_not_retried_others_are(
        self, shops: dict[str, DAG], error: Exception, action: RetryAction
    ) -> None:
        for dag in shops.values():
            for task in dag.tasks:
                assert task.retries == 2
                assert task.retry_policy.evaluate(error, try_number=1, max_tries=2).action == action

    def test_every_task_reports_its_failure(self, shops: dict[str, DAG]) -> None:
        for name, dag in shops.items():
            for task in dag.tasks:
                (callback,) = task.on_failure_callback
                assert (callback.fleet, callback.pipeline) == ("shops", name)

    def test_secrets_and_spec_are_in_no_rendered_field(self, shops: dict[str, DAG]) -> None:
        rendered = {field for dag in shops.values() for task in dag.tasks for field in task.template_fields}

        assert not rendered & {"spec", "options", "params"}

    def test_dags_survive_serialization(self, shops: dict[str, DAG]) -> None:
        from airflow.serialization.serialized_objects import DagSerialization

        for dag in shops.values():
            text = json.dumps(DagSerialization.to_dict(dag))
            assert set(DagSerialization.from_dict(json.loads(text)).task_dict) == {task.task_id for task in dag.tasks}


class TestFolder:
    def test_broken_fleet_file_leaves_the_others_up(self, tmp_path: Path) -> None:
        good = (ROOT / "tests" / "dags" / "shops.py").read_text()
        (tmp_path / "good.py").write_text(good)
        (tmp_path / "broken.py").write_text(good.replace('name="shops"', 'name="broken"').replace("mae <", "maee <"))

        bag = DagBag(tmp_path)

        assert set(bag.dags) == {f"shops_{name}" for name in ("ingest", "train", "promote", "score", "backtest")}
        (message,) = bag.import_errors.values()
        assert "gate.each" in message
        assert "maee" in message

    def test_name_declared_twice_is_refused(self, tmp_path: Path) -> None:
        text = (ROOT / "tests" / "dags" / "shops.py").read_text()
        (tmp_path / "one.py").write_text(text)
        (tmp_path / "two.py").write_text(text)

        bag = DagBag(tmp_path)

        assert any("shops" in message and "one.py" in message for message in bag.import_errors.values())

    def test_fleet_without_a_clock_is_started_by_hand(self, tmp_path: Path) -> None:
        text = (ROOT / "tests" / "dags" / "shops.py").read_text()
        start = text.index("        schedule=")
        (tmp_path / "shops.py").write_text(text[:start] + text[text.index("\n", start) + 1 :])

        dags = DagBag(tmp_path).dags

        assert all(isinstance(dags[f"shops_{name}"].timetable, PartitionedAtRuntime) for name in ("ingest", "train"))
        assert chained(dags["shops_train"])[0] == "pin"


class TestPipeline:
    """The base template, for a model that is no fleet."""

    def record(self, id: str, phase: Any = "compute", operator: str = PYTHON) -> TaskRecord:
        return TaskRecord(id, phase, operator, {"python_callable": print} if operator == PYTHON else {})

    def test_records_become_a_chain(self) -> None:
        dag = pipeline(
            "churn", [self.record("read", "inputs"), self.record("fit"), self.record("send", "outputs")], owner="me"
        )

        assert chained(dag) == ["read", "fit", "send"]
        assert {task.owner for task in dag.tasks} == {"me"}
        assert {task.retries for task in dag.tasks} == {2}

    @pytest.mark.parametrize(
        "records, match",
        [
            ([("a", "compute", PYTHON), ("a", "compute", PYTHON)], "must differ .* got a"),
            ([("inputs", "compute", PYTHON)], "must differ .* got inputs"),
            (
                [("b", "outputs", PYTHON), ("a", "inputs", PYTHON)],
                r"in the order inputs, compute, outputs; got b \(outputs\)",
            ),
            ([("a", "compute", "no.such.Operator")], "'a': operator 'no.such.Operator' can't be imported"),
            ([("a", "compute", "json.JSONDecoder")], "'json.JSONDecoder' is no Airflow operator"),
        ],
        ids=["repeated", "named like a phase", "out of order", "not importable", "no operator"],
    )
    def test_wrong_records_are_refused(self, records: list[tuple[str, str, str]], match: str) -> None:
        with pytest.raises(ConfigurationError, match=match):
            pipeline("churn", [self.record(*record) for record in records], owner="me")


class TestIncident:
    def report(self, error: object) -> dict[str, Any]:
        ti = SimpleNamespace(
            task_id="extract", task=SimpleNamespace(opener="extract"), log_url="http://127.0.0.1/dags/shops_ingest"
        )
        run = SimpleNamespace(partition_key="2024-03-02")
        TaskFailed("shops", "ingest")({"ti": ti, "dag_run": run, "exception": error})
        (incident,) = Warehouse.open().incidents("shops")
        return incident

    def test_failed_task_leaves_an_incident_with_its_message_and_where_to_look(self) -> None:
        incident = self.report(DataError("column 'x' is gone", hint="add it"))

        assert (incident["pipeline"], incident["interval"], incident["step"]) == ("ingest", "2024-03-02", "extract")
        assert (incident["kind"], incident["severity"]) == ("step_failed", "error")
        assert incident["message"] == "column 'x' is gone\nHint: add it"
        assert incident["source_url"] == "http://127.0.0.1/dags/shops_ingest"

    def test_task_that_died_without_a_word_says_so(self) -> None:
        assert "killed" in self.report(None)["message"]
