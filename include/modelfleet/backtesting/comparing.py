"""A fold's predictions beside what came and beside the baseline's, bucket by bucket, in Spark's workers."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import baseline, keys, metrics, modelcode, pack, scoring, slices
from modelfleet.backtesting.sums import Scored, sums_of
from modelfleet.dataset import read_bucket
from modelfleet.forecasting import naive, naive_quantiles, quantile_name
from modelfleet.lake.buckets import BucketPlace, BucketResult, finish
from modelfleet.lake.store import FileEntry, Lake
from modelfleet.matrices import Bucket
from modelfleet.prediction import raised
from modelfleet.spec import Forecast

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.backtesting.cutoffs import Cutoff
    from modelfleet.spec import FleetSpec

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class CompareTask:
    """One bucket of a fold: the rows it was scored on, what was predicted, and how each partition fared."""

    bucket: int
    rows: FileEntry
    predictions: FileEntry
    outcomes: FileEntry


@dataclass(frozen=True)
class CompareWork:
    """What every bucket of a fold shares.

    `actuals` are, of a Forecast, the buckets of the series as they are known today, each with its range of hashes; other
    problems have the target beside the rows that were scored.
    """

    lake: Lake
    place: BucketPlace
    trained: pack.Pack
    cutoff: Cutoff
    actuals: tuple[tuple[FileEntry, tuple[int, int]], ...] = ()

    def __call__(self, task: CompareTask) -> BucketResult:
        """Compare one bucket; writes its rows, and one line for each partition."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        low, high = keys.bucket_range(task.bucket, self.place.buckets)
        models = {row["partition"]: row for row in self.trained.rows(low, high).drop_columns([pack.MODEL]).to_pylist()}
        with self.lake.open_input(task.predictions.path) as file:
            predicted = scoring.plain(pq.read_table(file))
        with self.lake.open_input(task.outcomes.path) as file:
            outcomes = {row["partition"]: row for row in pq.read_table(file).to_pylist()}
        bucket = _Compared(self.trained.header, self.cutoff, read_bucket(self.lake, task.rows), predicted, models)
        bucket.actual = self._actual(bucket, low, high)
        lines = [bucket.line(key, start, end) | _said(outcomes[key]) for key, start, end in bucket.bounds]
        token = secrets.token_hex(4)
        files = {
            "rows": self._write("rows", task.bucket, token, bucket.rows),
            "partitions": self._write(
                "partitions", task.bucket, token, pa.Table.from_pylist(lines, schema=bucket.line_schema)
            ),
        }
        facts = {"sums": sums_of(bucket.scored), "digest": slices.digest_of_parts(_parts(bucket.rows))}
        return finish(self.lake, self.place, BucketResult(task.bucket, files, facts))

    def _actual(self, bucket: _Compared, low: int, high: int) -> np.ndarray:
        """The targets of the predicted rows; NaN where none is known."""
        import pyarrow as pa

        if bucket.forecast is None:
            return bucket.own_targets
        header, time = self.trained.header, bucket.predicted.column(self.trained.header.time)
        since, until = (slices.wall_moment(time.type, moment) for moment in (self.cutoff.at, self.cutoff.until))
        found = []
        for entry, (start, end) in self.actuals:
            if start < high and low < end:
                rows = read_bucket(self.lake, entry, [slices.PARTITION, header.time, header.target])
                when = slices.wall_times(rows.column(header.time))
                found.append(rows.filter(pa.array((when >= since) & (when < until))))
        known = _indexed(found, header.time, header.target)
        wanted = zip(bucket.predicted.column("partition").to_pylist(), slices.wall_times(time).tolist(), strict=True)
        return np.array([known.get(place, np.nan) for place in wanted], dtype=np.float64)

    def _write(self, name: str, bucket: int, token: str, table: pa.Table) -> FileEntry:
        import pyarrow.parquet as pq

        path = self.place.file(name, bucket, token, "parquet")
        with self.lake.open_output(path) as sink:
            pq.write_table(table, sink, compression="zstd")
        return self.lake.entry(path, table.num_rows)


class _Compared:
    """One bucket: arrays over the predicted rows, and the slices of them that are its partitions'."""

    actual: np.ndarray

    def __init__(
        self,
        header: pack.PackHeader,
        cutoff: Cutoff,
        known: pa.Table,
        predicted: pa.Table,
        models: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.header, self.cutoff, self.predicted, self.models = header, cutoff, predicted, models
        self.spec: FleetSpec = header.fleet_spec
        self.forecast = self.spec.problem if isinstance(self.spec.problem, Forecast) else None
        self.bucket = Bucket(known, header.time, ())
        self.bounds = list(_runs(predicted.column("partition")))
        self.values = predicted.column("prediction").to_numpy()
        self.probability = predicted.column("probability").to_numpy() if header.problem == "classification" else None
        self.quantiles = self.forecast.quantiles if self.forecast else ()
        self.bands = np.column_stack(
            [predicted.column(quantile_name(q)).to_numpy() for q in self.quantiles] or [np.empty((len(self.values), 0))]
        )

    @cached_property
    def _places(self) -> dict[str, int]:
        return {key: place for place, (key, _, _) in enumerate(self.bucket.bounds)}

    @cached_property
    def own_targets(self) -> np.ndarray:
        """The target of the scored rows from the cutoff on, in their order, which is the predictions'."""
        column = self.bucket.rows.column(self.header.time)
        later = slices.wall_times(column) >= slices.wall_moment(column.type, self.cutoff.at)
        return modelcode.numbers(self.bucket.rows.column(self.header.target))[later]

    @cached_property
    def base(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the baseline says of the rows: values, probabilities, quantiles; NaN where it has nothing to go by."""
        values, chances, bands = (
            np.full_like(self.values, np.nan),
            np.full_like(self.values, np.nan),
            self.bands * np.nan,
        )
        for key, start, end in self.bounds:
            if self.forecast is not None:
                values[start:end], bands[start:end] = self._naive(key, self.forecast)
                continue
            number = (self.models.get(key) or {}).get("baseline_value")
            if number is not None:
                values[start:end], chance = baseline.predict(self.header.problem, number, end - start)
                chances[start:end] = np.nan if chance is None else chance
        return values, chances, bands

    def _naive(self, key: str, problem: Forecast) -> tuple[np.ndarray, np.ndarray]:
        known = self._history(key)
        known = known[~np.isnan(known)]
        if not len(known):
            return np.full(problem.horizon, np.nan), np.full((problem.horizon, len(problem.quantiles)), np.nan)
        asked = problem.baseline, known, problem.horizon, problem.season_length
        return naive(*asked), naive_quantiles(*asked, problem.quantiles)

    def _history(self, key: str) -> np.ndarray:
        assert self.forecast is not None
        column = self.bucket.part(self._places[key]).column(self.header.target)
        return modelcode.numbers(column)[: -self.forecast.horizon]

    @cached_property
    def steps(self) -> np.ndarray:
        """The step of a forecast; else the day after the cutoff, from 1."""
        if self.forecast is not None:
            return self.predicted.column("step").to_numpy()
        column = self.predicted.column(self.header.time)
        since = slices.wall_moment(column.type, self.cutoff.at)
        return ((slices.wall_times(column) - since) // _DAY).astype(np.int64) + 1

    @cached_property
    def valid(self) -> np.ndarray:
        """The rows that can be compared: a target came, and both the fleet and the baseline had said something."""
        known = np.isfinite(self.actual) & np.isfinite(self.values) & np.isfinite(self.base[0])
        return known if self.probability is None else known & np.isin(self.actual, (0.0, 1.0))

    @property
    def scored(self) -> Scored:
        """What sums are made of."""
        return Scored(
            steps=self.steps,
            sources=np.array(self.predicted.column("source").to_pylist(), dtype=object),
            valid=self.valid,
            actual=self.actual,
            value=self.values if self.probability is None else self.probability,
            base=self.base[0] if self.probability is None else self.base[1],
            bands=self.bands,
            base_bands=self.base[2],
            quantiles=self.quantiles,
            classifies=self.probability is not None,
        )

    @property
    def rows(self) -> pa.Table:
        """The predictions with what came, and what the baseline had said."""
        import pyarrow as pa

        table = self.predicted
        if self.forecast is None:
            table = table.append_column("step", pa.array(self.steps))
        table = table.append_column("actual", pa.array(self.actual, pa.float64(), from_pandas=True))
        return table.append_column("baseline", pa.array(self.base[0], pa.float64(), from_pandas=True))

    def line(self, key: str, start: int, end: int) -> dict[str, Any]:
        """What there is to say of one partition."""
        row = self.models.get(key) or {}
        inside = slice(start, end)
        made: dict[str, Any] = {
            "partition": key,
            **{name: self.predicted.column(name)[start].as_py() for name, _ in self.header.key_types},
            "source": self.predicted.column("source")[start].as_py(),
            "candidate": row.get("candidate"),
            "status": row.get("status"),
            "n_train": row.get("n_train"),
            "n_test": int(self.valid[inside].sum()),
            "message": row.get("message"),
        }
        values, chances, bands = self.base
        scale = metrics.scale(self._history(key), self.forecast.season_length) if self.forecast else np.nan
        fleet = self._measured(inside, self.values, self.probability, self.bands, scale)
        base = self._measured(inside, values, None if self.probability is None else chances, bands, scale)
        made |= fleet | {f"baseline_{name}": value for name, value in base.items()}
        return made | self._own(inside)

    def _measured(
        self, inside: slice, values: np.ndarray, chances: np.ndarray | None, bands: np.ndarray, scale: float
    ) -> dict[str, float]:
        valid = self.valid[inside]
        truth, said = self.actual[inside][valid], values[inside][valid]
        if self.forecast is None and chances is None:
            return metrics.regression(truth, said)
        if self.forecast is None:
            assert chances is not None
            return metrics.classification(truth, chances[inside][valid], said)
        bands = bands[inside][valid]
        whole = bands.size > 0 and bool(np.isfinite(bands).all())
        return metrics.forecast(
            truth, said, quantiles=self.quantiles if whole else (), predicted=bands if whole else None, scale=scale
        )

    def _own(self, inside: slice) -> dict[str, Any]:
        """The author's metrics; where they raise, the message says so."""
        names, valid = self.spec.training.metrics, self.valid[inside]
        if not names or not valid.any():
            return {}
        code = modelcode.imported(self.header.code[0], {}, fleet=self.header.fleet)
        assert code.metrics is not None
        frame = modelcode.widened(self.rows.slice(inside.start, inside.stop - inside.start)).to_pandas()[valid]
        try:
            made: dict[str, Any] = {}
            for prefix, said in (("", self.values), ("baseline_", self.base[0])):
                given = code.metrics(self.actual[inside][valid], said[inside][valid], frame)
                made |= {f"{prefix}{name}": float(given[name]) for name in names}
            return made
        except Exception as exc:
            return {"message": f"metrics(): {raised(exc)}"}

    @property
    def line_schema(self) -> pa.Schema:
        """The columns of `line`."""
        import pyarrow as pa

        measured = (*metrics.names(self.header.problem), *self.spec.training.metrics)
        return pa.schema(
            [
                pa.field("partition", pa.string()),
                *(self.predicted.schema.field(name) for name, _ in self.header.key_types),
                *(pa.field(name, pa.string()) for name in ("source", "candidate", "status", "message")),
                *(pa.field(name, pa.int64()) for name in ("n_train", "n_test")),
                *(pa.field(f"{prefix}{name}", pa.float64()) for prefix in ("", "baseline_") for name in measured),
            ]
        )


def _said(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """What scoring said of a partition, which comes before what training said."""
    return {"message": outcome["message"]} if outcome["message"] else {}


def _runs(partitions: pa.ChunkedArray) -> Iterator[tuple[str, int, int]]:
    """(key, first row, row after the last) of each partition of predictions, whose rows are together."""
    codes = partitions.dictionary_encode().combine_chunks()
    if not len(codes):
        return
    numbers, names = codes.indices.to_numpy(), codes.dictionary.to_pylist()
    starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for start, end in pairwise(starts):
        yield names[numbers[start]], start, end


def _indexed(tables: list[pa.Table], time: str, target: str) -> dict[tuple[str, Any], float]:
    """The targets of rows by partition and time."""
    known: dict[tuple[str, Any], float] = {}
    for rows in tables:
        names = rows.column(slices.PARTITION).cast("string").to_pylist()
        values = modelcode.numbers(rows.column(target)).tolist()
        known |= dict(zip(zip(names, slices.wall_times(rows.column(time)).tolist(), strict=True), values, strict=True))
    return known


def _parts(rows: pa.Table) -> Iterator[tuple[str, str]]:
    hashes = slices.row_hashes(rows)
    for key, start, end in _runs(rows.column("partition")):
        yield key, slices.fingerprint(hashes[start:end])
