"""The predictions of a bucket as a table, put together for all its partitions at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet.forecasting import quantile_name
from modelfleet.matrices import Bucket
from modelfleet.scoring.outcome import Prediction
from modelfleet.scoring.scorer import Scorer

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.guard import Limits


def predict_table(
    scorer: Scorer, pack_rows: Mapping[str, Mapping[str, Any]], rows: pa.Table, limits: Limits | None = None
) -> tuple[pa.Table, pa.Table]:
    """Predict the rows of a sorted bucket; of a Forecast, the steps to come.

    :param pack_rows: the pack's rows by partition.
    :param limits: of one partition, which then is predicted in a guarded process; None: in this one, without any.
    :returns: the rows' predictions in the bucket's order (key, time and id columns, a Forecast's step, then prediction,
        probability or quantiles, source, partition), and one outcome per partition (partition, outcome, rows, message).
        Key columns of text, source and partition are dictionary-encoded.
    """
    bucket = scorer.opened(rows)
    positions = scorer.positions(bucket)
    made = scorer.predictions(bucket, positions, pack_rows, limits)
    return _predictions(scorer, bucket, positions, made), _outcomes(bucket, positions, made)


def plain(predictions: pa.Table) -> pa.Table:
    """The same table without dictionaries: texts as they are."""
    import pyarrow as pa

    kinds = [pa.string() if pa.types.is_dictionary(field.type) else field.type for field in predictions.schema]
    return predictions.cast(pa.schema(zip(predictions.column_names, kinds, strict=True)))


def _outcomes(bucket: Bucket, positions: Sequence[int], made: Sequence[Prediction]) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {
            "partition": pa.array([bucket.bounds[position][0] for position in positions], pa.string()),
            "outcome": pa.array([one.outcome for one in made], pa.string()),
            "rows": pa.array([len(one.values) for one in made], pa.int64()),
            "message": pa.array([one.message for one in made], pa.string()),
        }
    )


def _predictions(scorer: Scorer, bucket: Bucket, positions: Sequence[int], made: Sequence[Prediction]) -> pa.Table:
    """The table of predictions: what holds for a whole partition is repeated, what each row got is joined."""
    import pyarrow as pa

    header, forecast = scorer.header, scorer.forecast
    counts = np.array([len(one.values) for one in made], dtype=np.int64)
    ends = np.array([bucket.bounds[position][2] for position in positions], dtype=np.int64)
    key_names = [name for name, _ in header.key_types]
    rows, firsts = _predicted_rows(bucket.rows, ends, counts), pa.array(ends - counts)
    places = pa.array(np.repeat(np.arange(len(made), dtype=np.int32), counts))
    columns = {name: _of_partitions(bucket.rows.column(name).take(firsts)).take(places) for name in key_names}
    for name in (header.time, *(header.ids if forecast is None else ())):
        columns.setdefault(name, rows.column(name))
    if forecast is not None:
        columns["step"] = pa.array(np.tile(np.arange(1, forecast.horizon + 1), len(made)), pa.int64())
    columns["prediction"] = _joined([one.values for one in made])
    if header.problem == "classification":
        columns["probability"] = _joined([_or_nothing(one.probability, one) for one in made])
    for place, name in enumerate(map(quantile_name, forecast.quantiles if forecast else ())):
        bands = [None if one.quantiles is None else one.quantiles[:, place] for one in made]
        columns[name] = _joined([_or_nothing(band, one) for band, one in zip(bands, made, strict=True)])
    columns["source"] = _sources(made)
    names = pa.array([bucket.bounds[position][0] for position in positions], pa.string())
    columns["partition"] = pa.DictionaryArray.from_arrays(places, names)
    return pa.table(columns)


def _predicted_rows(rows: pa.Table, ends: np.ndarray, counts: np.ndarray) -> pa.Table:
    """The last `counts` rows before each of `ends`."""
    import pyarrow as pa

    total = int(counts.sum())
    if total == rows.num_rows:
        return rows
    before = np.cumsum(counts) - counts
    return rows.take(pa.array(np.repeat(ends - counts - before, counts) + np.arange(total)))


def _of_partitions(values: pa.ChunkedArray) -> pa.Array:
    """A key column's value of each partition; text is dictionary-encoded."""
    import pyarrow as pa

    whole = values.combine_chunks()
    return whole.dictionary_encode() if pa.types.is_string(whole.type) else whole


def _sources(made: Sequence[Prediction]) -> pa.Array:
    """What served each row."""
    import pyarrow as pa

    segments = [segment for one in made for segment in one.segments]
    codes: dict[str, int] = {}
    numbered = [codes.setdefault(source, len(codes)) for source, _ in segments]
    places = np.repeat(np.array(numbered, dtype=np.int32), np.array([count for _, count in segments], dtype=np.int64))
    return pa.DictionaryArray.from_arrays(pa.array(places), pa.array(list(codes), pa.string()))


def _or_nothing(values: np.ndarray | None, one: Prediction) -> np.ndarray:
    return np.full(len(one.values), np.nan) if values is None else values


def _joined(parts: Sequence[np.ndarray]) -> pa.Array:
    """Numbers of all partitions; NaN becomes null."""
    import pyarrow as pa

    return pa.array(np.concatenate(parts) if parts else np.empty(0), pa.float64(), from_pandas=True)
