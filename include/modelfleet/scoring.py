"""Scoring: rows of a dataset x the champion's pack -> predictions, and one outcome per partition.

A partition is ``scored`` by its model; ``fallback``: by its baseline, because the champion fleet has no model of it;
``failed``: by its baseline too, because the model did not predict; ``no_model``: by nothing, because it is unknown or has no
baseline. What served each row stands beside it as `source`.
"""

from __future__ import annotations

import secrets
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import baseline, keys, modelcode, pack, slices
from modelfleet.dataset import read_bucket
from modelfleet.errors import CorruptionError, ModelCodeError
from modelfleet.lake.buckets import BucketPlace, BucketResult, finish
from modelfleet.lake.store import FileEntry, Lake
from modelfleet.prediction import NoModelError, predict, raised, short

if TYPE_CHECKING:
    import pyarrow as pa

OUTCOMES = ("scored", "fallback", "failed", "no_model")


@dataclass(frozen=True)
class Prediction:
    """What one partition's rows got; arrays of shape (rows,), NaN where there is nothing to serve."""

    prediction: np.ndarray
    probability: np.ndarray | None
    source: str
    outcome: str
    message: str | None = None


class Scorer:
    """Predicts partitions with the models of one pack; the same for batches, the MLflow model and serving."""

    def __init__(self, header: pack.PackHeader) -> None:
        self.header = header
        self._code = {
            header.model: modelcode.load(
                header.model, header.params, fleet=header.fleet, probabilities=header.problem == "classification"
            )
        }
        self._context = (*(name for name, _ in header.key_types), header.time)

    def partition(self, row: Mapping[str, Any] | None, part: pa.Table) -> Prediction:
        """Predict one partition's rows, in time order, with its pack row (None: the pack does not know it)."""
        if row is None or row["serves"] == "none":
            return self._nothing(part.num_rows)
        if row["serves"] == "baseline":
            return self._baseline(row, part.num_rows, "fallback", None)
        try:
            model = pack.load_model(row[pack.MODEL], row["model_digest"])
            x = modelcode.matrix(part, pack.features_of(row), self._code_of(row), context=self._context)
            prediction, probability = predict(model, x, self.header.problem)
        except (NoModelError, ModelCodeError) as exc:
            return self._baseline(row, part.num_rows, "failed", exc.message)
        except CorruptionError:
            raise
        except (
            Exception,
            SystemExit,
        ) as exc:  # the author's features(), and classes that his code no longer has, may raise anything
            return self._baseline(row, part.num_rows, "failed", raised(exc))
        return Prediction(prediction, probability, "model", "scored")

    def _code_of(self, row: Mapping[str, Any]) -> modelcode.ModelCode:
        """The author's code that a model was trained with: a kept champion's may not be the spec's of now."""
        path = row["candidate"]
        if path not in self._code:
            self._code[path] = modelcode.imported(path, {}, fleet=self.header.fleet)
        return self._code[path]

    def _baseline(self, row: Mapping[str, Any], rows: int, outcome: str, message: str | None) -> Prediction:
        if row["baseline_value"] is None:
            return self._nothing(rows)
        prediction, probability = baseline.predict(self.header.problem, row["baseline_value"], rows)
        return Prediction(prediction, probability, "baseline", outcome, None if message is None else short(message))

    def _nothing(self, rows: int) -> Prediction:
        empty = np.full(rows, np.nan)
        return Prediction(empty, empty if self.header.problem == "classification" else None, "none", "no_model")


def predict_table(
    scorer: Scorer, pack_rows: Mapping[str, Mapping[str, Any]], bucket: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Predict the rows of a sorted bucket.

    :returns: the rows' predictions in the bucket's order (key, time and id columns, then prediction, probability, source,
        partition), and one outcome per partition (partition, outcome, rows, message).
    """
    import pyarrow as pa

    parts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for key, part in slices.cut(bucket):
            parts.append((key, part.num_rows, scorer.partition(pack_rows.get(key), part)))
    outcomes = pa.table(
        {
            "partition": pa.array([key for key, _, _ in parts], pa.string()),
            "outcome": pa.array([made.outcome for _, _, made in parts], pa.string()),
            "rows": pa.array([rows for _, rows, _ in parts], pa.int64()),
            "message": pa.array([made.message for _, _, made in parts], pa.string()),
        }
    )
    header = scorer.header
    named = list(dict.fromkeys([*(name for name, _ in header.key_types), header.time, *header.ids]))
    table = bucket.select(named)
    table = table.append_column("prediction", _joined([made.prediction for _, _, made in parts]))
    if header.problem == "classification":
        shares = [np.full(n, np.nan) if made.probability is None else made.probability for _, n, made in parts]
        table = table.append_column("probability", _joined(shares))
    sources = [made.source for _, rows, made in parts for _ in range(rows)]
    table = table.append_column("source", pa.array(sources, pa.string()))
    table = table.append_column("partition", bucket.column(slices.PARTITION).cast(pa.string()))
    return table, outcomes


@dataclass(frozen=True)
class BucketTask:
    """One bucket to score."""

    bucket: int
    rows: FileEntry


@dataclass(frozen=True)
class BucketWork:
    """What every bucket of a scoring run shares."""

    lake: Lake
    place: BucketPlace
    champion: pack.Pack

    def __call__(self, task: BucketTask) -> BucketResult:
        """Score one bucket; writes its predictions and outcomes."""
        low, high = keys.bucket_range(task.bucket, self.place.buckets)
        rows = {row["partition"]: row for row in self.champion.rows(low, high).to_pylist()}
        predictions, outcomes = predict_table(Scorer(self.champion.header), rows, read_bucket(self.lake, task.rows))
        token = secrets.token_hex(4)
        files = {
            "predictions": self._write("predictions", task.bucket, token, predictions),
            "outcomes": self._write("outcomes", task.bucket, token, outcomes),
        }
        facts = {
            "counts": dict(Counter(outcomes.column("outcome").to_pylist())),
            "sources": dict(Counter(predictions.column("source").to_pylist())),
            "digest": _digest(predictions),
            "messages": _messages(outcomes),
        }
        return finish(self.lake, self.place, BucketResult(task.bucket, files, facts))

    def _write(self, name: str, bucket: int, token: str, table: pa.Table) -> FileEntry:
        import pyarrow.parquet as pq

        path = self.place.file(name, bucket, token, "parquet")
        self.lake.make_folder_of(path)
        with self.lake.fs.open_output_stream(path) as sink:
            pq.write_table(table, sink, compression="zstd")
        return self.lake.entry(path, table.num_rows)


def read_batches(lake: Lake, entries: Sequence[FileEntry]) -> Iterator[pa.RecordBatch]:
    """The predictions of all buckets, batch by batch."""
    import pyarrow.parquet as pq

    for entry in entries:
        with lake.open_input(entry.path) as file:
            yield from pq.ParquetFile(file).iter_batches()


def _digest(predictions: pa.Table) -> str:
    hashes = slices.row_hashes(predictions).tolist()
    # Rows may be equal in every column, so their position within the partition goes in too.
    seen: Counter[str] = Counter()
    parts = []
    for key, value in zip(predictions.column("partition").to_pylist(), hashes, strict=True):
        parts.append((f"{key}#{seen[key]}", str(value)))
        seen[key] += 1
    return slices.digest_of_parts(parts)


def _messages(outcomes: pa.Table, limit: int = 5) -> list[str]:
    failed = [f"{row['partition']}: {row['message']}" for row in outcomes.to_pylist() if row["message"]]
    return failed[:limit]


def _joined(parts: list[np.ndarray]) -> pa.Array:
    import pyarrow as pa

    return pa.array(np.concatenate(parts) if parts else np.empty(0), pa.float64(), from_pandas=True)
