"""A training in the staging registry: one run with parameters, metrics, the model table and plots; one version."""

from __future__ import annotations

import json
import math
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from modelfleet.errors import NotFoundError
from modelfleet.registry.client import connect
from modelfleet.registry.plots import columns_drawn, write_plots
from modelfleet.registry.records import PackModel, Release, TrainingVersion
from modelfleet.registry.runs import register

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.registry.client import Registry

_MAX_PARAMS = 200
_MAX_VALUE = 500  # what every MLflow server accepts
_SUMMED = ("n_rows", "n_train", "n_test", "fit_seconds")
Models: TypeAlias = "Callable[[Sequence[str] | None], pa.RecordBatchReader]"
"""Gives a model table anew each time it is called: some of the columns, as far as it has them, or all."""
_FORBIDDEN_IN_NAME = re.compile(r"[^\w./ -]")


def log_training(
    release: Release,
    pack: PackModel,
    *,
    spec: Mapping[str, Any],
    models: Models,
    metrics: Sequence[str],
    data_docs: Path | None = None,
) -> TrainingVersion:
    """Log a training and register its pack as a version; the same pack of the same interval again gives the same.

    :param spec: the spec as plain JSON data; its set fields become parameters, the whole of it ``spec.json``.
    :param models: gives the model index, one row per expected partition, without model bytes.
    :param metrics: names of the metric columns of `models`.
    :param data_docs: a folder of HTML, logged as ``data_docs``.
    :raises UnavailableError: the staging registry can't be reached.
    """
    if data_docs is not None and not data_docs.is_dir():
        raise NotFoundError(f"fleet {release.fleet!r}: no folder of data docs at {data_docs}")
    with connect("staging") as registry:

        def fill(run_id: str) -> None:
            log_numbers(registry, run_id, flatten(spec), fleet_metrics(models, metrics))
            _log_files(registry, run_id, spec, models, metrics)
            if data_docs is not None:
                registry.client.log_artifacts(run_id, str(data_docs), "data_docs")

        return register(registry, release, pack, release.version_tags(), fill)


def fleet_metrics(models: Models, metrics: Sequence[str]) -> dict[str, float]:
    """Counts, and median and mean of each metric and its baseline over trained models; what is not finite is left out.

    Names are those fleet rules use: ``expected``, ``trained``, ``median_mae``, ``median_baseline_mae``. One metric of the
    models is held at a time.
    """
    import numpy as np
    import pyarrow.compute as pc

    found = dict.fromkeys(("expected", "trained", "skipped", "failed"), 0.0)
    for batch in models(["status", *_SUMMED]):
        found["expected"] += batch.num_rows
        for counted in pc.value_counts(batch.column("status")).to_pylist():
            if counted["values"] in found:
                found[counted["values"]] += counted["counts"]
        for column in _SUMMED:
            if column in batch.schema.names:
                found.setdefault(f"total_{column}", 0.0)
                found[f"total_{column}"] += pc.sum(batch.column(column)).as_py() or 0
    for metric in metrics:
        pair = models(["status", metric, f"baseline_{metric}"]).read_all()
        trained = pair.filter(pc.equal(pair.column("status"), "trained"))
        for name in trained.column_names[1:]:
            values = trained.column(name).to_numpy()
            values = values[np.isfinite(values)]
            if values.size:
                found[f"median_{name}"] = float(np.median(values))
                found[f"mean_{name}"] = float(np.mean(values))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def flatten(spec: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A spec's set fields as MLflow parameters, ``training.window -> 730D``; at most 200, of at most 500 characters."""
    flat: dict[str, str] = {}
    for key, value in spec.items():
        name = f"{prefix}{_FORBIDDEN_IN_NAME.sub('_', str(key))}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{name}."))
        elif value not in (None, "", []):
            text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
            flat[name[:250]] = text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"
    if prefix == "" and len(flat) > _MAX_PARAMS:
        left_out = len(flat) - _MAX_PARAMS
        flat = dict(list(flat.items())[:_MAX_PARAMS]) | {"more_params": f"{left_out} more, see spec.json"}
    return flat


def log_numbers(registry: Registry, run_id: str, params: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    """Log parameters and finite numbers of a run, in requests of the size that MLflow takes."""
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    items = [Param(name, value) for name, value in params.items()]
    for start in range(0, len(items), 100):  # MLflow's bound for one request
        registry.client.log_batch(run_id, params=items[start : start + 100])
    values = [Metric(_FORBIDDEN_IN_NAME.sub("_", name), value, now, 0) for name, value in metrics.items()]
    for start in range(0, len(values), 500):
        registry.client.log_batch(run_id, metrics=values[start : start + 500])


def _log_files(
    registry: Registry, run_id: str, spec: Mapping[str, Any], models: Models, metrics: Sequence[str]
) -> None:
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory(prefix="modelfleet-run-") as temporary:
        folder = Path(temporary) / "files"  # the temporary folder itself is private, and MLflow copies modes too
        folder.mkdir()
        rows = models(None)
        with pq.ParquetWriter(folder / "models.parquet", rows.schema, compression="zstd") as file:
            for batch in rows:
                file.write_batch(batch)
        (folder / "spec.json").write_text(json.dumps(spec, indent=2, default=str, ensure_ascii=False))
        write_plots(models(columns_drawn(metrics)).read_all(), metrics, folder / "plots")
        registry.client.log_artifacts(run_id, str(folder))
