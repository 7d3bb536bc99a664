"""The MLflow model of a pack: ``mlflow.pyfunc.load_model("models:/flight_delays@champion").predict(frame)``.

`frame` holds the key and feature columns, in any order of rows; the time column too, where the author's ``features(frame)``
uses it. The answer has its index, with `prediction`, `probability` (classification), `source` and `partition`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelfleet import keys, scoring, slices
from modelfleet.errors import DataError, bounded
from modelfleet.ingest.schema import schema_of
from modelfleet.pack import Pack

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class PackModel:
    """All models of a fleet version behind one `predict`; each partition's rows go to its model."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self._scorer = scoring.Scorer(pack.header)
        self._rows = {row["partition"]: row for row in pack.rows(0, 1 << 64).to_pylist()}

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predict every row.

        :raises DataError: for a missing key or feature column.
        """
        table, order = self._grouped(frame)
        predictions, _ = scoring.predict_table(self._scorer, self._rows, table)
        wanted = [
            name for name in ("prediction", "probability", "source", "partition") if name in predictions.column_names
        ]
        result = predictions.select(wanted).to_pandas()
        result.index = frame.index[order]
        # Back into the caller's order by position: the index may hold duplicates.
        position = {row: place for place, row in enumerate(order)}
        return result.iloc[[position[row] for row in range(len(frame))]]

    def _grouped(self, frame: pd.DataFrame) -> tuple[pa.Table, list[int]]:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        header = self.pack.header
        key_names = [name for name, _ in header.key_types]
        missing = [name for name in (*key_names, *header.features) if name not in frame.columns]
        if missing:
            raise DataError(f"fleet {header.fleet!r}: the frame has no column {bounded(map(repr, missing))}")
        columns = {name: _key_column(frame[name], kind, name) for name, kind in header.key_types}
        types = schema_of(header.feature_types)
        for name in header.features:
            columns.setdefault(name, _feature_column(frame[name], types.field(name).type, name))
        columns[header.time] = _time_column(frame, header.time)
        for name in header.ids:
            columns.setdefault(name, pa.nulls(len(frame)))  # they name rows in the warehouse; no model sees them
        table = pa.table(columns)
        names, codes = keys.encode_columns(table, key_names)
        ordering = pa.table({"code": codes, "time": table.column(header.time), "row": np.arange(len(frame))})
        order = pc.sort_indices(
            ordering, sort_keys=[("code", "ascending"), ("time", "ascending"), ("row", "ascending")]
        )
        partition = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string()))
        grouped = table.append_column(slices.PARTITION, partition).take(order)
        return grouped.combine_chunks(), order.to_pylist()


def _key_column(values: pd.Series, kind: keys.KeyType, name: str) -> pa.Array:
    """Key values as Arrow has them in the lake, whatever pandas made of them (ints with a null are floats there)."""
    import pyarrow as pa

    wanted = {"string": pa.string(), "int": pa.int64(), "bool": pa.bool_(), "date": pa.date32()}[kind]
    try:
        array = pa.array(values, from_pandas=True)
        return array if array.type == wanted else array.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as exc:
        raise DataError(f"key column {name!r} does not hold values of type {kind}: {exc}") from exc


def _feature_column(values: pd.Series, kind: pa.DataType, name: str) -> pa.Array:
    import pyarrow as pa

    try:
        array = pa.array(values, from_pandas=True)
        if array.type == kind:
            return array
        # Numbers of a column that held no null in training may hold one now; models get float64 either way.
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        if pa.types.is_boolean(array.type) and numeric:
            array = array.cast(pa.int8())
        return array.cast(pa.float64() if numeric else kind, safe=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as exc:
        raise DataError(f"feature {name!r} does not hold values of type {kind}: {exc}") from exc


def _time_column(frame: pd.DataFrame, name: str) -> pa.Array:
    import pyarrow as pa

    kind = pa.timestamp("us", "UTC")
    if name not in frame.columns:
        return pa.array([datetime(1970, 1, 1, tzinfo=UTC)] * len(frame), kind)
    try:
        array = pa.array(frame[name], from_pandas=True)
        if pa.types.is_date(array.type) or (pa.types.is_timestamp(array.type) and array.type.tz is None):
            array = array.cast(pa.timestamp("us"), safe=False)
        return array.cast(kind, safe=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as exc:
        raise DataError(f"time column {name!r} does not hold times: {exc}") from exc


def _load_pyfunc(path: str) -> PackModel:
    """What MLflow calls with the folder that was logged."""
    return PackModel(Pack.in_folder(Path(path)))
