"""What serves after a promotion: composed set-wise, and one row after the other, it is the same."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelfleet import keys, pack
from modelfleet.group_models import CANDIDATE
from modelfleet.promotion import serving

KEY_FIELDS = (pa.field("store", pa.int64()),)
TEXT = st.sampled_from([None, "a", "b"])
Rows = list[dict[str, Any]]
Decisions = dict[str, str]


# The plain way


def plain_serving(row: dict[str, Any], decision: str, forecasts: bool) -> dict[str, Any]:
    if decision == "promoted":
        return row
    otherwise = "baseline" if forecasts or row["baseline_value"] is not None else "none"
    without = {**row, pack.MODEL: None, "model_digest": None, "shared": None}
    return {**without, "serves": otherwise if row["serves"] == "model" else row["serves"]}


def plain_rows(challengers: pa.Table, champions: pa.Table | None, decisions: Decisions, *, forecasts: bool) -> pa.Table:
    chosen = [plain_serving(row, decisions[row["partition"]], forecasts) for row in challengers.to_pylist()]
    if champions is not None:
        keep = [row for row in champions.to_pylist() if decisions.get(row["partition"]) == "kept"]
        kept = {row["partition"] for row in keep}
        chosen = [row for row in chosen if row["partition"] not in kept] + keep
        known = {row["partition"] for row in chosen}
        chosen += [row for row in champions.to_pylist() if row["partition"] not in known]
    chosen.sort(key=lambda row: (row[pack.HASH], row["partition"]))
    schema = challengers.schema
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in chosen], schema=schema)


def plain_groups(
    ours: pa.Table | None, theirs: pa.Table | None, decisions: Decisions, shared: set[str]
) -> pa.Table | None:
    listed: dict[tuple[str, str, str], dict[str, Any]] = {}
    for table, wanted, otherwise in ((ours, "promoted", "rejected"), (theirs, "kept", "kept")):
        for row in [] if table is None else table.to_pylist():
            decision = decisions.get(row["partition"], otherwise)
            serves = row["model_digest"] in shared if row["level"] == CANDIDATE else decision == wanted
            if row["model_digest"] is not None and serves:
                name = row["model_digest"] if row["level"] == CANDIDATE else ""
                listed.setdefault((row["level"], row["partition"], name), row)
    if not listed:
        return None
    schema = (ours if ours is not None else theirs).schema  # type: ignore[union-attr]
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in schema.names} for _, row in sorted(listed.items())], schema=schema
    )


# Random packs


def table_of(rows: Rows, metrics: tuple[str, ...]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=pack.row_schema(KEY_FIELDS, metrics))


@st.composite
def model_rows(draw: st.DrawFn, stores: list[int], metrics: tuple[str, ...], *, bare: bool = False) -> pa.Table:
    """Rows of partitions, by hash; some have no model, some a reference to a shared one, some no baseline."""
    rows = []
    for store in stores:
        key = f"store={store}"
        serves = draw(st.sampled_from(["baseline", "none"] if bare else ["model", "model", "baseline", "none"]))
        model = draw(st.binary(max_size=3)) if serves == "model" else None
        rows.append(
            {
                pack.HASH: keys.hash_of(key) // (1 << 60) << 60,  # so that hashes repeat
                "partition": key,
                "store": store,
                "serves": serves,
                "code": draw(TEXT),
                "shared": draw(TEXT) if serves == "model" else None,
                "n_rows": draw(st.none() | st.integers(0, 9)),
                "baseline_value": draw(st.none() | st.floats(-1, 1)),
                pack.MODEL: model,
                "model_digest": None if model is None else pack.header_digest(model),
                **{name: draw(st.none() | st.floats(allow_nan=False)) for name in metrics},
            }
        )
    return table_of(sorted(rows, key=lambda row: (row[pack.HASH], row["partition"])), metrics)


STORES = st.lists(st.integers(0, 12), unique=True, max_size=9)
METRICS = st.sampled_from([("mae",), ("mae", "own"), ("other", "mae")])


@st.composite
def promotions(draw: st.DrawFn) -> tuple[pa.Table, pa.Table | None, Decisions, bool]:
    """Challengers, champions, and decisions as the gate makes them: kept only where the champion has a model."""
    mixed = st.sampled_from(["promoted", "other"])
    outcome = draw(st.sampled_from([mixed, mixed, st.just("promoted"), st.just("other")]))
    challengers = draw(STORES.flatmap(lambda stores: model_rows(stores, draw(METRICS), bare=draw(st.booleans()))))
    champions = draw(st.none() | STORES.flatmap(lambda stores: model_rows(stores, draw(METRICS))))
    served = [] if champions is None else champions.select(["partition", "serves"]).to_pylist()
    with_model = {row["partition"] for row in served if row["serves"] == "model"}
    decisions = dict.fromkeys(with_model, "kept")
    for row in challengers.select(["partition", "serves"]).to_pylist():
        promoted = row["serves"] == "model" and draw(outcome) == "promoted"
        decisions[row["partition"]] = (
            "promoted" if promoted else "kept" if row["partition"] in with_model else "rejected"
        )
    return challengers, champions, decisions, draw(st.booleans())


def about(rows: pa.Table, decisions: Decisions) -> pa.ChunkedArray:
    return pa.chunked_array([[decisions[key] for key in rows.column("partition").to_pylist()]], pa.string())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(promotions())
def test_rows_are_those_of_the_plain_way(given: tuple[pa.Table, pa.Table | None, Decisions, bool]) -> None:
    challengers, champions, decisions, forecasts = given
    outcome = about(challengers, decisions)
    expected = plain_rows(challengers, champions, decisions, forecasts=forecasts)
    stay = None if champions is None else champions.filter(serving.kept(champions, challengers, outcome))
    assert serving.rows(challengers, outcome, stay, forecasts=forecasts).equals(expected)
    if serving.stay_as_they_are(challengers, outcome) and (stay is None or stay.num_rows == 0):
        assert expected.equals(challengers)


@settings(max_examples=300, deadline=None)
@given(promotions(), st.integers(1, 4))
def test_rows_of_ranges_together_are_those_of_all(
    given: tuple[pa.Table, pa.Table | None, Decisions, bool], buckets: int
) -> None:
    challengers, champions, decisions, forecasts = given
    found = []
    for bucket in range(buckets):
        low, high = keys.bucket_range(bucket, buckets)
        ours, theirs = (
            None
            if table is None
            else table.filter(pa.array([low <= h < high for h in table.column(pack.HASH).to_pylist()], pa.bool_()))
            for table in (challengers, champions)
        )
        outcome = about(ours, decisions)
        stay = None if theirs is None else theirs.filter(serving.kept(theirs, ours, outcome))
        found.append(serving.rows(ours, outcome, stay, forecasts=forecasts))
    assert pa.concat_tables(found).equals(plain_rows(challengers, champions, decisions, forecasts=forecasts))


@st.composite
def group_rows(draw: st.DrawFn, metrics: tuple[str, ...]) -> pa.Table:
    names = draw(
        st.lists(
            st.tuples(st.sampled_from(["item", "fleet", CANDIDATE]), st.sampled_from("xyz"), st.binary(max_size=1)),
            unique_by=lambda row: row if row[0] == CANDIDATE else row[:2],
        )
    )
    rows = [
        {
            pack.HASH: number,
            "partition": f"{level}={value}",
            "level": level,
            "serves": "model",
            pack.MODEL: model,
            "model_digest": None if number % 5 == 4 else pack.header_digest(model),
            **dict.fromkeys(metrics, 0.5),
        }
        for number, (level, value, model) in enumerate(names)
    ]
    return table_of(rows, metrics)


@settings(max_examples=300, deadline=None)
@given(
    st.none() | METRICS.flatmap(group_rows),
    st.none() | METRICS.flatmap(group_rows),
    st.dictionaries(
        st.sampled_from([f"{level}={value}" for level in ("item", "fleet") for value in "xyz"]),
        st.sampled_from(["promoted", "kept", "rejected"]),
    ),
    st.sets(st.binary(max_size=1).map(pack.header_digest)),
)
def test_groups_are_those_of_the_plain_way(
    ours: pa.Table | None, theirs: pa.Table | None, decisions: Decisions, shared: set[str]
) -> None:
    listed = {"partition": pa.array(decisions, pa.string()), "decision": pa.array(decisions.values(), pa.string())}
    found = serving.groups(ours, theirs, pa.table(listed), pa.array(sorted(shared), pa.string()))
    expected = plain_groups(ours, theirs, decisions, shared)
    assert (found is None) == (expected is None)
    assert found is None or found.equals(expected)
