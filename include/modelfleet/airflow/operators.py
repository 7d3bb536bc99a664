"""Airflow operators over `modelfleet.steps`: open a run, run a step, run the Spark steps, wait for data, announce.

An operator holds the fleet's spec as it was parsed; neither the spec nor a connection is a templated field, so nothing
of them is rendered or stored. Steps, pyarrow, MLflow and Spark are imported when a task runs.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import BaseOperator, BaseSensorOperator
from airflow.sdk.exceptions import AirflowSkipException

from modelfleet import errors
from modelfleet.airflow import connections
from modelfleet.airflow.callbacks import interval_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from modelfleet import FleetSpec
    from modelfleet.steps import RunRef

FAILURE_FILE = "MODELFLEET_FAILURE_FILE"
PACKAGE = Path(errors.__file__).parent
# Python 3.11 puts the folder of a script first on its path, where `quality` or `airflow` would mean modules of ours;
# PYTHONSAFEPATH keeps it from doing so.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")


class FleetOperator(BaseOperator):
    """What the operators of a fleet's pipeline share: the spec, the pipeline and the task that opened the run."""

    def __init__(self, *, spec: FleetSpec, pipeline: str, opener: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.pipeline = pipeline
        self.opener = opener

    def ref(self, context: Context) -> RunRef:
        """The run that the opening task pinned."""
        from modelfleet.steps import RunRef

        return RunRef(**context["ti"].xcom_pull(task_ids=self.opener, key="run"))


class StepOperator(FleetOperator):
    """Run one Python step; the first task of a pipeline opens its run before that.

    Returns the step's facts. A run that can't start yet (no champion, nothing to score) is recorded by the step and the
    rest of the DAG run skipped, so that no event is sent.
    """

    template_fields: Sequence[str] = ("step",)

    def __init__(self, *, step: str, options: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.options = tuple(options)

    @property
    def opens(self) -> bool:
        return bool(self.task_id == self.opener)

    def execute(self, context: Context) -> dict[str, Any]:
        from modelfleet import steps

        connections.export(connections.named_by(self.spec))
        ref = self._open(context) if self.opens else self.ref(context)
        self.log.info("%s of fleet %s, interval %s, attempt %s", self.step, ref.fleet, ref.interval, ref.attempt)
        facts = {"attempt": ref.attempt} if self.step == "pin" else steps.run_step(ref, self.step)
        for name, value in facts.items():
            self.log.info("%s: %s", name, value)
        return facts

    def _open(self, context: Context) -> RunRef:
        from modelfleet import steps

        run = context["dag_run"]
        if unknown := sorted(set(run.conf or {}) - set(self.options)):
            raise errors.ConfigurationError(
                f"the run's configuration has unknown entries: {errors.bounded(unknown)}",
                hint=f"allowed in {run.dag_id}: {', '.join(self.options)}",
            )
        given = {option: context["params"][option] for option in self.options}
        try:
            ref = self.opened(context, given)
        except steps.NotReady as reason:
            raise AirflowSkipException(str(reason)) from None
        context["ti"].xcom_push(key="run", value=asdict(ref))
        return ref

    def opened(self, context: Context, given: dict[str, Any]) -> RunRef:
        """The attempt that this task opens, by the run's interval and parameters."""
        from modelfleet import steps

        return steps.open_run(self.spec, self.pipeline, required_interval(context), **given)


class BacktestOperator(StepOperator):
    """Open a backtest: its interval is that of the last cutoff, which the parameters say."""

    def opened(self, context: Context, given: dict[str, Any]) -> RunRef:
        from modelfleet.steps.backtesting import open_backtest

        return open_backtest(self.spec, **given)


class AnnounceOperator(FleetOperator):
    """Send the asset event that starts the next pipeline, unless the run is one that starts nothing.

    An ingest marked train-only is not scored: the task is skipped and no event sent. One that changed nothing is
    announced again, for the event of the first may have been lost; scoring then takes over what it has.
    """

    def execute(self, context: Context) -> None:
        facts = context["ti"].xcom_pull(task_ids="commit")
        if facts["train_only"]:
            raise AirflowSkipException("this interval is for training only; it is not scored")


class RescoreOperator(FleetOperator):
    """Start the scoring of the intervals that had to wait for a champion: one event per interval."""

    def execute(self, context: Context) -> list[str]:
        from modelfleet import steps

        connections.export(connections.named_by(self.spec))
        waiting = steps.waiting_intervals(self.spec)
        if not waiting:
            raise AirflowSkipException("no interval waits for a champion")
        context["outlet_events"][self.outlets[0]].add_partitions(waiting)
        return waiting


class DataReadySensor(BaseSensorOperator):
    """Wait, without a worker, until a table's committed ingests cover the run's interval."""

    def __init__(self, *, spec: FleetSpec, table: str, **kwargs: Any) -> None:
        super().__init__(mode="reschedule", **kwargs)
        self.spec = spec
        self.table = table

    def poke(self, context: Context) -> bool:
        from modelfleet import steps

        connections.export(connections.named_by(self.spec))
        ready, said = steps.data_ready(self.spec, required_interval(context), self.table)
        self.log.info(said)
        return bool(ready)


class FleetSparkOperator(SparkSubmitOperator):
    """Run consecutive Spark steps of a pipeline as one Spark job for all partitions.

    The job's own error comes back with its message and its class, so that Airflow knows whether to try again.
    """

    def __init__(self, *, spec: FleetSpec, pipeline: str, opener: str, steps: Sequence[str], **kwargs: Any) -> None:
        opened = f"ti.xcom_pull(task_ids='{opener}', key='run')"
        interval, attempt = f"{{{{ {opened}['interval'] }}}}", f"{{{{ {opened}['attempt'] }}}}"
        named = {"--fleet": spec.name, "--pipeline": pipeline, "--interval": interval}
        arguments = {**named, "--attempt": attempt, "--steps": ",".join(steps)}
        super().__init__(
            application=str(PACKAGE / "spark_job.py"),
            application_args=[part for pair in arguments.items() for part in pair],
            name=f"{spec.name} {pipeline} {interval}",
            env_vars={"PYSPARK_PYTHON": sys.executable, "PYTHONSAFEPATH": "1", **ONE_THREAD},
            conf={"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "WARN"},
            **kwargs,
        )
        self.spec = spec
        self.opener = opener

    def execute(self, context: Context) -> None:
        connections.export(connections.named_by(self.spec))
        with tempfile.TemporaryDirectory(prefix="modelfleet-") as folder:
            failure = Path(folder) / "failure.json"
            os.environ[FAILURE_FILE] = str(failure)
            try:
                super().execute(context)
            except Exception as exc:
                raise (_reported(failure) or exc) from None
            finally:
                os.environ.pop(FAILURE_FILE, None)


class StepFailed(errors.ModelfleetError):
    """A step in a Spark job failed with an error of Modelfleet; trying again gives the same."""


def _reported(path: Path) -> errors.ModelfleetError | None:
    """The error that the Spark job wrote before it ended, or None where it died without a word."""
    try:
        given = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    kind = errors.UnavailableError if given.get("retryable") else StepFailed
    return kind(f"{given.get('step') or 'spark'}: {given['error_class']}: {given['message']}", hint=given.get("hint"))


def required_interval(context: Mapping[str, Any] | Context) -> str:
    """The run's interval key.

    :raises ConfigurationError: for a run that was started without one.
    """
    key = interval_of(context)
    if not key:
        raise errors.ConfigurationError(
            "this run has no partition key, so its interval is not known",
            hint="give the interval's last day, such as 2013-09-30, as partition key when you trigger the DAG",
        )
    return key
