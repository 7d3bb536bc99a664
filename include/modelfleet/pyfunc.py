"""The MLflow model of a pack: ``mlflow.pyfunc.load_model("models:/flight_delays@champion").predict(frame)``.

`frame` holds the key and feature columns, in any order of rows; the time column too, where the author's ``features(frame)``
uses it. The answer has its index, with `prediction`, `probability` (classification), `source` and `partition`.

Of a Forecast, `frame` holds the history: key, time and feature columns and the target, which is null for rows to come. The answer
has the rows to come: keys, time, `step`, `prediction`, a column for each quantile, `source` and `partition`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from modelfleet import keys, scoring, slices
from modelfleet.errors import DataError, bounded
from modelfleet.group_models import GroupModels
from modelfleet.ingest.schema import schema_of
from modelfleet.pack import Pack, PackHeader, PackRows
from modelfleet.series import Grid, SeriesPlan, regularize

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa


class PackModel:
    """All models of a fleet version behind one `predict`; each partition's rows go to its model."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self._scorer = scoring.Scorer(pack.header, GroupModels.opened(pack))
        self._rows = PackRows(pack.rows(0, 1 << 64, scoring.SERVED))

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predict every row; of a Forecast, the steps after the last known target.

        :raises DataError: for a missing key or feature column.
        """
        if self._scorer.forecast is not None:
            return self._forecast(frame)
        table, order = self._grouped(frame)
        predictions, _ = scoring.predict_table(self._scorer, self._rows, table)
        wanted = [
            name for name in ("prediction", "probability", "source", "partition") if name in predictions.column_names
        ]
        # Back into the caller's order by position: the index may hold duplicates.
        result = scoring.plain(predictions.select(wanted)).to_pandas().iloc[order.argsort()]
        result.index = frame.index
        return result

    def _forecast(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame` holds each partition's history, and its known-ahead values for the steps to come, without target."""
        import pyarrow.compute as pc

        header = self.pack.header
        target = _feature_column(frame[header.target], _number(), header.target)
        table, _ = self._grouped(frame, {header.target: target})
        known = table.filter(pc.is_valid(table.column(header.target)))
        if known.num_rows == 0:
            raise DataError(
                f"fleet {header.fleet!r}: no row has a {header.target!r}: there is no history to forecast from"
            )
        plan = SeriesPlan.of(self._scorer.spec, end=_next_step(known, self._scorer), future=self._horizon)
        regular, _ = regularize(table, plan)
        predictions, _ = scoring.predict_table(self._scorer, self._rows, regular)
        return scoring.plain(predictions).to_pandas()

    @property
    def _horizon(self) -> int:
        assert self._scorer.forecast is not None
        return self._scorer.forecast.horizon

    def _grouped(self, frame: pd.DataFrame, more: dict[str, pa.Array] | None = None) -> tuple[pa.Table, np.ndarray]:
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
        columns |= more or {}
        columns[header.time] = _time_column(frame, header, self._scorer.spec.timezone)
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
        return grouped.combine_chunks(), order.to_numpy()


def _next_step(known: pa.Table, scorer: scoring.Scorer) -> datetime:
    """When the first step after the last known target begins."""
    import numpy as np

    assert scorer.forecast is not None
    column = known.column(scorer.header.time)
    grid = Grid.of(scorer.forecast.frequency, column.type, scorer.spec.timezone)
    index, on_grid = grid.index(column)
    if not on_grid.any():
        raise DataError(
            f"fleet {scorer.header.fleet!r}: no time of column {scorer.header.time!r} is on the grid of "
            f"freq {scorer.forecast.freq!r}"
        )
    moment = grid.times(np.array([index[on_grid].max() + 1]))[0].as_py()
    zone = ZoneInfo(scorer.spec.timezone)
    if isinstance(moment, datetime):
        return moment.astimezone(zone) if moment.tzinfo else moment.replace(tzinfo=zone)
    return datetime(moment.year, moment.month, moment.day, tzinfo=zone)


def _number() -> pa.DataType:
    import pyarrow as pa

    return pa.float64()


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
        # Numbers of a column that held no null in training may hold one now; models get float64 either way, but of the
        # precision that training saw.
        numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
        if pa.types.is_boolean(array.type) and numeric:
            array = array.cast(pa.int8())
        return array.cast(kind if pa.types.is_float32(kind) else pa.float64() if numeric else kind, safe=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as exc:
        raise DataError(f"feature {name!r} does not hold values of type {kind}: {exc}") from exc


def _time_column(frame: pd.DataFrame, header: PackHeader, zone: str) -> pa.Array:
    """The times in the type that training saw; a naive time is wall time in the fleet's timezone where that is an instant."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = schema_of({header.time: header.time_type}).field(header.time).type
    if header.time not in frame.columns:
        return pa.array([datetime(1970, 1, 1, tzinfo=UTC)] * len(frame), pa.timestamp("us", "UTC")).cast(
            kind, safe=False
        )
    try:
        array = pa.array(frame[header.time], from_pandas=True)
        if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
            array = array.cast(pa.timestamp("us"))
        if not pa.types.is_timestamp(array.type):
            array = array.cast(pa.timestamp("us"), safe=False)
        aware = pa.types.is_timestamp(kind) and kind.tz is not None
        if aware and array.type.tz is None:
            array = pc.assume_timezone(array, zone, ambiguous="earliest", nonexistent="latest")
        elif not aware and array.type.tz is not None:
            array = pc.local_timestamp(array.cast(pa.timestamp("us", zone), safe=False))
        return array.cast(kind, safe=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as exc:
        raise DataError(f"time column {header.time!r} does not hold times: {exc}") from exc


def _load_pyfunc(path: str) -> PackModel:
    """What MLflow calls with the folder that was logged."""
    return PackModel(Pack.in_folder(Path(path)))
