"""Scoring: rows of a dataset x the champion's pack -> predictions, and one outcome per partition.

A partition is ``scored`` by its model; ``fallback``: by a coarser level or its baseline, because the champion fleet has no
model of it; ``failed``: likewise, because the model did not predict; ``no_model``: by nothing, because it is unknown and
has no baseline. What served each row stands beside it as `source`: model, a level such as ``item`` or ``fleet``, baseline.
"""

from __future__ import annotations

import secrets
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import baseline, keys, modelcode, pack, slices
from modelfleet.dataset import read_bucket
from modelfleet.errors import CorruptionError, ModelCodeError
from modelfleet.forecast_model import SeriesView
from modelfleet.forecasting import naive, naive_quantiles, quantile_name
from modelfleet.group_models import GroupModels
from modelfleet.lake.buckets import BucketPlace, BucketResult, BucketTask, finish
from modelfleet.lake.store import FileEntry, Lake
from modelfleet.matrices import Bucket, Inputs
from modelfleet.prediction import NoModelError, Predicted, Reason, predict, raised, short
from modelfleet.series import PROBLEM
from modelfleet.shared_model import unshared
from modelfleet.slices import wall_moment, wall_times
from modelfleet.spec import Forecast

if TYPE_CHECKING:
    import pyarrow as pa

OUTCOMES = ("scored", "fallback", "failed", "no_model")


@dataclass(frozen=True)
class Prediction:
    """What one partition's rows got; arrays of shape (rows,), NaN where there is nothing to serve."""

    values: np.ndarray
    probability: np.ndarray | None
    quantiles: np.ndarray | None
    source: str
    outcome: str
    message: str | None = None
    young: int = 0
    """So many rows at the beginning, for which the past is too short, are served by `young_source`."""
    young_source: str = ""

    @property
    def sources(self) -> list[str]:
        """What served each row."""
        return [self.young_source] * self.young + [self.source] * (len(self.values) - self.young)


class Scorer:
    """Predicts the partitions of a bucket with one pack; the same for batches, the MLflow model and serving.

    :param groups: the pack's models over many partitions.
    :param since: rows before are only there to look back on, and not predicted.
    """

    def __init__(
        self, header: pack.PackHeader, groups: GroupModels | None = None, *, since: datetime | None = None
    ) -> None:
        self.header = header
        self.since = since
        self.spec = header.fleet_spec
        self.forecast = self.spec.problem if isinstance(self.spec.problem, Forecast) else None
        self.groups = groups or GroupModels()
        for learner in self.spec.learners:
            modelcode.load(learner.path, learner.params, fleet=header.fleet, problem=header.problem)
        self._code: dict[str, modelcode.ModelCode] = {}
        self._context = (*(name for name, _ in header.key_types), header.time)

    def bucket(self, rows: pa.Table, pack_rows: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Prediction]]:
        """What each partition of a sorted bucket got, in its order, with the pack's rows by key.

        Of a Forecast's series the last `horizon` rows are the steps to predict.
        """
        shared = Bucket(rows, self.header.time, self._context)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [
                (key, self.partition(shared, position, pack_rows.get(key)))
                for position, (key, start, end) in enumerate(shared.bounds)
                if self.first(shared, position) < end - start
            ]

    def unseen(self, rows: pa.Table) -> dict[str, int]:
        """How many rows hold a category that no training has seen, by declared column; they count as unknown."""
        if not self.spec.declared.categorical:
            return {}
        found: Counter[str] = Counter()
        for inputs in self.header.all_inputs.values():
            if inputs.recipe is not None:
                found |= Counter(inputs.recipe.unseen(rows))
        return {name: found[name] for name in self.spec.declared.categorical if found[name]}

    def first(self, bucket: Bucket, position: int) -> int:
        """The first row of a partition that is predicted."""
        _, start, end = bucket.bounds[position]
        if self.forecast is not None:
            return end - start - self.forecast.horizon
        if self.since is None:
            return 0
        column = bucket.part(position).column(self.header.time)
        return int(np.searchsorted(wall_times(column), wall_moment(column.type, self.since), side="left"))

    def partition(self, bucket: Bucket, position: int, row: Mapping[str, Any] | None) -> Prediction:
        """Predict one partition with its pack row (None: the pack does not know it)."""
        made = self._served(bucket, position, row)
        return made if made.young == 0 else _led(made, self._baseline(bucket, position, row, made.outcome, None))

    def _served(self, bucket: Bucket, position: int, row: Mapping[str, Any] | None) -> Prediction:
        """What its own model says, or else."""
        why: str | None = None
        if row is not None and row["serves"] == "model":
            try:
                return self._predicted(bucket, position, row, self._own(row), "model", "scored")
            except (NoModelError, ModelCodeError) as exc:
                why = exc.message
            except CorruptionError:
                raise
            except (
                Exception,
                SystemExit,
            ) as exc:  # the author's features(), and classes that his code no longer has, may raise anything
                why = raised(exc)
        return self._otherwise(bucket, position, row, why)

    def _otherwise(self, bucket: Bucket, position: int, row: Mapping[str, Any] | None, why: str | None) -> Prediction:
        """The first coarser level that has a model and predicts, else the baseline, else nothing."""
        outcome = "fallback" if why is None else "failed"
        _, start, _ = bucket.bounds[position]
        values = {name: bucket.rows.column(name)[start].as_py() for name, _ in self.header.key_types}
        for level in self.spec.levels:
            found = self.groups.row(level, values)
            if found is None:
                continue
            try:
                return self._predicted(bucket, position, found, self.groups.load(found), level, outcome, why)
            except CorruptionError:
                raise
            except Exception as exc:
                told = exc.message if isinstance(exc, NoModelError | ModelCodeError) else raised(exc)
                if told not in (why or ""):  # what is wrong with a series is so at every level
                    why = f"{why}; {level}: {told[:150]}" if why else f"{level}: {told[:150]}"
        return self._baseline(bucket, position, row, outcome, why)

    def _own(self, row: Mapping[str, Any]) -> Any:
        return self.groups.resolve(pack.load_model(row[pack.MODEL], row["model_digest"]))

    def _predicted(
        self,
        bucket: Bucket,
        position: int,
        row: Mapping[str, Any],
        model: Any,
        source: str,
        outcome: str,
        why: str | None = None,
    ) -> Prediction:
        inputs, code = self.header.all_inputs[row["features"]], self._code_of(row)
        young, message = 0, None if why is None else short(why)
        if self.forecast is None:
            x = modelcode.take(bucket.matrix(position, inputs, code), slice(self.first(bucket, position), None))
            made, young = self._of_rows(unshared(model), x, inputs)
        else:
            made = self._forecast(bucket, position, inputs, code, model)
        return Prediction(made.values, made.probability, made.quantiles, source, outcome, message, young)

    def _of_rows(self, model: Any, x: modelcode.Matrix, inputs: Inputs) -> tuple[Predicted, int]:
        """What a model says of rows, and for how many at the beginning it has no answer, because their past is too short.

        Training leaves such rows out, so an estimator that takes no missing values is no reason to have none for the others.
        """
        try:
            return Predicted(*predict(model, x, self.header.problem)), 0
        except NoModelError:
            young = inputs.young(x)
            if not 0 < young < len(x):
                raise
        values, chance = predict(model, modelcode.take(x, slice(young, None)), self.header.problem)
        nothing = np.full(young, np.nan)
        both = None if chance is None else np.concatenate([nothing, chance])
        return Predicted(np.concatenate([nothing, values]), both), young

    def _forecast(
        self, bucket: Bucket, position: int, inputs: Inputs, code: modelcode.ModelCode, model: Any
    ) -> Predicted:
        assert self.forecast is not None
        view = SeriesView(
            self._history(bucket, position),
            inputs,
            lambda ahead: bucket.matrix(position, inputs, code, ahead),
            lambda: bucket.known(position, inputs),
        )
        if PROBLEM in bucket.rows.column_names:
            _, start, _ = bucket.bounds[position]
            problem = bucket.rows.column(PROBLEM)[start].as_py()
            if problem is not None:
                raise NoModelError("failed", Reason.BAD_SERIES, problem)
        return model.forecast(view, self.forecast, len(view.y) - self.forecast.horizon)

    def _history(self, bucket: Bucket, position: int) -> np.ndarray:
        """The series, NaN in the steps to predict."""
        assert self.forecast is not None
        y = modelcode.numbers(bucket.part(position).column(self.header.target)).copy()
        y[len(y) - self.forecast.horizon :] = np.nan
        return y

    def _code_of(self, row: Mapping[str, Any]) -> modelcode.ModelCode:
        """The author's code that a model was trained with: a kept champion's may not be the spec's of now."""
        path = row["code"]
        if path not in self._code:
            self._code[path] = modelcode.imported(path, {}, fleet=self.header.fleet)
        return self._code[path]

    def _baseline(
        self, bucket: Bucket, position: int, row: Mapping[str, Any] | None, outcome: str, why: str | None
    ) -> Prediction:
        message = None if why is None else short(why)
        _, start, end = bucket.bounds[position]
        if self.forecast is not None:
            return self._naive(bucket, position, outcome, message)
        count = end - start - self.first(bucket, position)
        if row is None or row["baseline_value"] is None:
            empty = np.full(count, np.nan)
            chance = empty if self.header.problem == "classification" else None
            return Prediction(empty, chance, None, "none", "no_model", message)
        values, probability = baseline.predict(self.header.problem, row["baseline_value"], count)
        return Prediction(values, probability, None, "baseline", outcome, message)

    def _naive(self, bucket: Bucket, position: int, outcome: str, message: str | None) -> Prediction:
        """The baseline of a series, from what is known of it."""
        assert self.forecast is not None
        problem = self.forecast
        y = self._history(bucket, position)[: -problem.horizon]
        known = y[~np.isnan(y)]
        if len(known) == 0:
            empty = np.full(problem.horizon, np.nan)
            return Prediction(empty, None, None, "none", "no_model", message)
        values = naive(problem.baseline, known, problem.horizon, problem.season_length)
        bands = None
        if problem.quantiles:
            bands = naive_quantiles(problem.baseline, known, problem.horizon, problem.season_length, problem.quantiles)
        return Prediction(values, None, bands, "baseline", outcome, message)


def _led(made: Prediction, baseline: Prediction) -> Prediction:
    """The prediction with those of the baseline where the past is too short for the model."""
    young = made.young
    values = np.concatenate([baseline.values[:young], made.values[young:]])
    chance = made.probability
    if chance is not None and baseline.probability is not None:
        chance = np.concatenate([baseline.probability[:young], chance[young:]])
    return replace(made, values=values, probability=chance, young_source=baseline.source)


def predict_table(
    scorer: Scorer, pack_rows: Mapping[str, Mapping[str, Any]], bucket: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Predict the rows of a sorted bucket; of a Forecast, the steps to come.

    :returns: the rows' predictions in the bucket's order (key, time and id columns, a Forecast's step, then prediction,
        probability or quantiles, source, partition), and one outcome per partition (partition, outcome, rows, message).
    """
    import pyarrow as pa

    parts = scorer.bucket(bucket, pack_rows)
    outcomes = pa.table(
        {
            "partition": pa.array([key for key, _ in parts], pa.string()),
            "outcome": pa.array([made.outcome for _, made in parts], pa.string()),
            "rows": pa.array([len(made.values) for _, made in parts], pa.int64()),
            "message": pa.array([made.message for _, made in parts], pa.string()),
        }
    )
    header = scorer.header
    ids = header.ids if scorer.forecast is None else ()
    named = list(dict.fromkeys([*(name for name, _ in header.key_types), header.time, *ids]))
    rows = bucket if scorer.forecast is None and scorer.since is None else bucket.take(_predicted_rows(scorer, bucket))
    table = rows.select(named)
    if scorer.forecast is not None:
        steps = np.tile(np.arange(1, scorer.forecast.horizon + 1), len(parts))
        table = table.append_column("step", pa.array(steps, pa.int64()))
    table = table.append_column("prediction", _joined([made.values for _, made in parts]))
    if header.problem == "classification":
        shares = [
            np.full(len(made.values), np.nan) if made.probability is None else made.probability for _, made in parts
        ]
        table = table.append_column("probability", _joined(shares))
    for place, name in enumerate(map(quantile_name, scorer.forecast.quantiles if scorer.forecast else ())):
        bands = [np.full(len(m.values), np.nan) if m.quantiles is None else m.quantiles[:, place] for _, m in parts]
        table = table.append_column(name, _joined(bands))
    sources = [source for _, made in parts for source in made.sources]
    table = table.append_column("source", pa.array(sources, pa.string()))
    table = table.append_column("partition", rows.column(slices.PARTITION).cast(pa.string()))
    return table, outcomes


def _predicted_rows(scorer: Scorer, rows: pa.Table) -> np.ndarray:
    """The positions of the rows that are predicted."""
    bucket = Bucket(rows, scorer.header.time, ())
    spans = [
        np.arange(start + scorer.first(bucket, position), end) for position, (_, start, end) in enumerate(bucket.bounds)
    ]
    return np.concatenate(spans) if spans else np.empty(0, np.int64)


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
        rows = {row["partition"]: row for row in self.champion.rows(low, high).to_pylist()}
        groups = self.champion.groups()
        scorer = Scorer(
            self.champion.header, GroupModels.of([] if groups is None else groups.to_pylist()), since=self.since
        )
        bucket = read_bucket(self.lake, task.rows)
        predictions, outcomes = predict_table(scorer, rows, bucket)
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
            "unseen": scorer.unseen(bucket),
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


Said = dict[str, tuple[int, str]]
"""Messages about partitions: of how many each was said, and the first of them."""


def _messages(outcomes: pa.Table, limit: int = 50) -> Said:
    """What was said of a bucket's partitions, each message once; at most `limit` messages."""
    said: Said = {}
    for row in outcomes.to_pylist():
        message = row["message"]
        if message and (message in said or len(said) < limit):
            count, first = said.get(message, (0, row["partition"]))
            said[message] = count + 1, min(first, row["partition"])
    return said


def together(said: Sequence[Said], limit: int = 10) -> list[str]:
    """The messages of all buckets, the most frequent first: how many partitions, one of them by name, what."""
    joined: Said = {}
    for bucket in said:
        for message, (more, other) in bucket.items():
            count, first = joined.get(message, (0, other))
            joined[message] = count + more, min(first, other)
    ranked = sorted(joined.items(), key=lambda item: (-item[1][0], item[0]))[:limit]
    return [
        f"{first}: {message}" if count == 1 else f"{count} partitions, such as {first}: {message}"
        for message, (count, first) in ranked
    ]


def _joined(parts: list[np.ndarray]) -> pa.Array:
    import pyarrow as pa

    return pa.array(np.concatenate(parts) if parts else np.empty(0), pa.float64(), from_pandas=True)
