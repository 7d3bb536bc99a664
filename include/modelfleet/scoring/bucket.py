"""Scoring one bucket of a run: its rows and the pack's, read from the lake; predictions and outcomes, written there."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from modelfleet import keys, pack
from modelfleet.dataset import read_bucket
from modelfleet.group_models import GroupModels
from modelfleet.guard import Limits
from modelfleet.lake.buckets import BucketPlace, BucketResult, BucketTask, finish
from modelfleet.lake.parquet import write_options
from modelfleet.lake.store import FileEntry, Lake
from modelfleet.scoring.digest import predictions_digest
from modelfleet.scoring.messages import messages
from modelfleet.scoring.scorer import SERVED, Scorer
from modelfleet.scoring.tables import predict_table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class BucketWork:
    """What every bucket of a scoring run shares."""

    lake: Lake
    place: BucketPlace
    champion: pack.Pack
    since: datetime | None = None
    """Rows before are only there to look back on."""

    def __call__(self, task: BucketTask) -> BucketResult:
        """Score one bucket; writes its predictions and outcomes."""
        low, high = keys.bucket_range(task.bucket, self.place.buckets)
        scorer = Scorer(self.champion.header, GroupModels.opened(self.champion), since=self.since)
        bucket = read_bucket(self.lake, task.rows)
        known = pack.PackRows(self.champion.rows(low, high, SERVED))
        predictions, outcomes = predict_table(scorer, known, bucket, Limits.of(scorer.spec.training.per_model))
        token = secrets.token_hex(4)
        files = {
            "predictions": self._write("predictions", task.bucket, token, predictions),
            "outcomes": self._write("outcomes", task.bucket, token, outcomes),
        }
        facts = {
            "counts": _counts(outcomes.column("outcome")),
            "sources": _counts(predictions.column("source")),
            "digest": predictions_digest(predictions, [name for name, _ in self.champion.header.key_types]),
            "messages": messages(outcomes),
            "unseen": scorer.unseen(bucket),
        }
        return finish(self.lake, self.place, BucketResult(task.bucket, files, facts))

    def _write(self, name: str, bucket: int, token: str, table: pa.Table) -> FileEntry:
        import pyarrow.parquet as pq

        path = self.place.file(name, bucket, token, "parquet")
        with self.lake.open_output(path) as sink:
            pq.write_table(table, sink, **write_options(table.schema, table))
        return self.lake.entry(path, table.num_rows)


def read_batches(lake: Lake, entries: Sequence[FileEntry]) -> Iterator[pa.RecordBatch]:
    """The predictions of all buckets, batch by batch."""
    import pyarrow.parquet as pq

    for entry in entries:
        with lake.open_input(entry.path) as file:
            yield from pq.ParquetFile(file).iter_batches()


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value comes."""
    import pyarrow.compute as pc

    return {row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist()}
