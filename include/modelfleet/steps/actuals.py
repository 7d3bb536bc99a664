"""What was observed of a Forecast's series, for the warehouse: the interval's own steps, and what its late data restate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from modelfleet import dataset, slices
from modelfleet import interval as intervals
from modelfleet.errors import DataError
from modelfleet.steps import preparing

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.steps.runner import Context


def load(ctx: Context) -> int:
    """Merge the interval's actuals into the warehouse; gives how many rows. Other problems than a Forecast have none.

    Dates that the platform filled count as observed: `missing` says what they mean.
    """
    columns = preparing.columns(ctx)
    if columns.target is None:
        return 0
    issuer = ctx.maker("dataset")
    return ctx.warehouse.load_actuals(
        ctx.spec.name,
        ctx.interval,
        issuer.id,
        datetime.fromisoformat(issuer.created_at),
        _observed(ctx, columns.keys, columns.time, columns.target),
        key_columns=columns.keys,
        time_column=columns.time,
        target=columns.target,
    )


def _observed(ctx: Context, keys: tuple[str, ...], time: str, target: str) -> pa.RecordBatchReader:
    import pyarrow as pa
    import pyarrow.compute as pc

    prepared = ctx.step("dataset")
    if not preparing.are_there(ctx.lake, prepared):
        raise DataError(
            f"fleet {ctx.spec.name!r}, score of {ctx.interval}: its prepared rows are gone or were written by an earlier version",
            hint=f"score it again: modelfleet run {ctx.spec.name} --interval {ctx.interval} --step score",
        )
    entries = prepared.files["rows"]
    names = [*dict.fromkeys((*keys, time)), target, slices.PARTITION]
    stored = dataset.schema_of_bucket(ctx.lake, entries[0])
    schema = pa.schema([*(stored.field(name) for name in names[:-1]), pa.field("partition", pa.string())])
    first, end = slices.wall_moment(stored.field(time).type, _since(ctx)), ctx.attempt.interval.end

    def batches() -> Iterator[pa.RecordBatch]:
        for entry in entries:
            rows = dataset.read_bucket(ctx.lake, entry, names)
            times = slices.wall_times(rows.column(time))
            inside = (times >= first) & (times < slices.wall_moment(stored.field(time).type, end))
            rows = rows.filter(pc.and_(pa.array(inside), pc.is_valid(rows.column(target)).combine_chunks()))
            rows = rows.rename_columns([*names[:-1], "partition"])
            yield from rows.cast(schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _since(ctx: Context) -> datetime:
    """The interval's start, or as far before it as a table's late rows are read again."""
    late = [getattr(table, "late", None) for table in ctx.spec.data.tables.values()]
    back = max((intervals.duration(text) for text in late if text is not None), default=timedelta())
    start = ctx.attempt.interval.start
    return (start.astimezone(UTC) - back).astimezone(start.tzinfo)
