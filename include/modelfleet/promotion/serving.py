"""What serves after a promotion, set-wise: promoted challengers, kept champions, baselines for the rest. Pure, no I/O.

Tables are a bucket's: rows of a pack whose keys' hashes lie in one range, the challengers in the order of the hashes. None
of their columns is read in Python.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from modelfleet import pack
from modelfleet.group_models import CANDIDATE


def stay_as_they_are(challengers: pa.Table, decisions: pa.ChunkedArray) -> bool:
    """Whether every challenger serves with the row it has: it is promoted, or has no model to lose."""
    without = pc.and_(pc.is_null(challengers.column("model_digest")), pc.is_null(challengers.column("shared")))
    no_model = pc.and_(without, pc.fill_null(pc.not_equal(challengers.column("serves"), "model"), True))
    return bool(pc.all(pc.or_(pc.equal(decisions, "promoted"), no_model), min_count=0).as_py())


def kept(champions: pa.Table, challengers: pa.Table, decisions: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which of the champion's rows serve on: those that the gate kept, and those of partitions that left the data.

    Such a partition without a model keeps its baseline.

    :param champions: rows with `partition`, of the same range of hashes.
    :param decisions: those about `challengers`, in their order.
    """
    return pc.fill_null(pc.equal(decisions.take(_place(champions, challengers)), "kept"), True)


def rows(challengers: pa.Table, decisions: pa.ChunkedArray, champions: pa.Table | None, *, forecasts: bool) -> pa.Table:
    """The rows that serve from now on, in the order of the keys' hashes and with the challengers' columns.

    :param champions: those that are `kept`, whole.
    :param forecasts: whether a baseline serves without a number of its own.
    """
    own = _without_models(challengers, pc.equal(decisions, "promoted"), forecasts)
    if champions is None or champions.num_rows == 0:
        return own
    stays = pc.invert(pc.is_in(own.column("partition"), value_set=champions.column("partition").combine_chunks()))
    every = pa.concat_tables([own.filter(stays), _with_columns_of(champions, own.schema)])
    return every.take(pc.sort_indices(every, sort_keys=[(pack.HASH, "ascending"), ("partition", "ascending")]))


def groups(
    challengers: pa.Table | None, champions: pa.Table | None, decisions: pa.Table, shared: pa.Array
) -> pa.Table | None:
    """The models over many partitions to come, None without any: levels that were promoted or kept, and what is referred to.

    :param decisions: `partition` and `decision` of the levels. The champion's that it does not name are kept.
    :param shared: the digests that a serving model refers to.
    """
    given = [
        _serving_groups(table, decisions, shared, wanted=wanted, otherwise=otherwise)
        for table, wanted, otherwise in ((challengers, "promoted", "rejected"), (champions, "kept", "kept"))
        if table is not None
    ]
    if not given:
        return None
    every = pa.concat_tables([_with_columns_of(table, given[0].schema) for table in given])
    # The same bytes may be a level's model too: of shared ones each serves, of a level's the first.
    names = pc.if_else(pc.equal(every.column("level"), CANDIDATE), every.column("model_digest"), "")
    order = ("level", "partition", "name")
    named = every.select(["level", "partition"]).append_column("name", names)
    named = named.append_column("at", pa.array(range(every.num_rows), pa.int64()))
    first = named.group_by(list(order)).aggregate([("at", "min")]).sort_by([(name, "ascending") for name in order])
    return every.take(first.column("at_min")) if first.num_rows else None


def _place(rows: pa.Table, among: pa.Table) -> pa.ChunkedArray:
    """Where the partition of each row stands in `among`; null where it does not."""
    return pc.index_in(rows.column("partition"), value_set=among.column("partition").combine_chunks())


def _without_models(rows: pa.Table, promoted: pa.ChunkedArray, forecasts: bool) -> pa.Table:
    """The rows as they serve: without their model where that is not promoted. A forecast's baseline needs no number."""
    if pc.all(promoted, min_count=0).as_py():
        return rows
    for name in (pack.MODEL, "model_digest", "shared"):
        field = rows.schema.field(name)
        rows = _replaced(rows, name, pc.if_else(promoted, rows.column(name), pa.scalar(None, field.type)))
    number = pc.or_(pc.is_valid(rows.column("baseline_value")), pa.scalar(forecasts))
    serves = rows.column("serves")
    loses = pc.and_(pc.invert(promoted), pc.equal(serves, "model"))
    return _replaced(rows, "serves", pc.if_else(loses, pc.if_else(number, "baseline", "none"), serves))


def _serving_groups(table: pa.Table, decisions: pa.Table, shared: pa.Array, *, wanted: str, otherwise: str) -> pa.Table:
    found = decisions.column("decision").take(_place(table, decisions))
    by_gate = pc.equal(pc.fill_null(found, otherwise), wanted)
    referred = pc.is_in(table.column("model_digest"), value_set=shared)
    serves = pc.if_else(pc.equal(table.column("level"), CANDIDATE), referred, by_gate)
    return table.filter(pc.and_(serves, pc.is_valid(table.column("model_digest"))))


def _with_columns_of(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with the columns of `schema`: null where they lack one, such as a metric that is new."""
    columns = [
        rows.column(field.name).cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _replaced(rows: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, rows.schema.field(name), values)
