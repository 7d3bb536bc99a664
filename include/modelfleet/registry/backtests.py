"""A backtest in the staging registry: one run with tags, numbers, the report and the table. It makes no version."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelfleet.registry.client import connect, exclusive
from modelfleet.registry.runs import experiment_of
from modelfleet.registry.staging import flatten, log_numbers

if TYPE_CHECKING:
    import pyarrow as pa

TAG = "backtest"


def log_backtest(
    fleet: str,
    backtest: str,
    *,
    tags: Mapping[str, str],
    spec: Mapping[str, Any],
    metrics: Mapping[str, float],
    table: pa.Table,
    report: bytes,
) -> str:
    """Log a backtest in the fleet's experiment; the same one again gives the run that is there. Gives the run's id.

    :param backtest: the attempt's id.
    :param table: a row for each fold and partition, logged as ``backtest.parquet``.
    :param report: the page, logged as ``backtest.html``.
    :raises UnavailableError: the staging registry can't be reached.
    """
    with connect("staging") as registry, exclusive(registry.role, fleet):
        experiment = experiment_of(registry, fleet)
        # The id is made of digits and letters, so it can go into MLflow's filter language.
        found = registry.client.search_runs([experiment], filter_string=f"tags.{TAG} = '{backtest}'")
        for run in found:
            if run.info.status == "FINISHED":
                return str(run.info.run_id)
            registry.client.delete_run(run.info.run_id)  # a killed try left it
        own = {**tags, TAG: backtest, "mlflow.source.name": "modelfleet"}
        run_id = str(registry.client.create_run(experiment, run_name=f"backtest {backtest}", tags=own).info.run_id)
        log_numbers(registry, run_id, flatten(spec), metrics)
        _log_files(registry.client, run_id, spec, table, report)
        registry.client.set_terminated(run_id)
        return run_id


def _log_files(client: Any, run_id: str, spec: Mapping[str, Any], table: pa.Table, report: bytes) -> None:
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory(prefix="modelfleet-run-") as temporary:
        folder = Path(temporary) / "files"  # the temporary folder itself is private, and MLflow copies modes too
        folder.mkdir()
        pq.write_table(table, folder / "backtest.parquet", compression="zstd")
        (folder / "backtest.html").write_bytes(report)
        (folder / "spec.json").write_text(json.dumps(spec, indent=2, default=str, ensure_ascii=False))
        client.log_artifacts(run_id, str(folder))
