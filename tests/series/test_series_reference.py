"""Whole buckets against one plain computation per partition, over gaps, ties, nulls, clock changes and all frequencies."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from series_cases import NAIVE, UTC_US, bucket, calendar, on_clock, plan, reference

from modelfleet import slices
from modelfleet.series import AHEAD, PROBLEM, Lookup, SeriesPlan, regularize
from modelfleet.spec import Dedupe

CHANGES = {
    "Europe/Berlin": ("2013-03-31", "2013-10-27"),
    "America/New_York": ("2013-03-10", "2013-11-03"),
    "Australia/Lord_Howe": ("2013-10-06", "2013-04-07"),
    "Asia/Kathmandu": ("2013-04-01",),
}
SPANS = {"15min": "4h", "h": "16h", "6h": "4D", "D": "14D", "W-WED": "98D", "MS": "400D", "QS": "1200D", "YS": "5000D"}
"""How far the steps of a test reach to both sides of a clock change."""
KINDS = {"date": pa.date32(), "naive": NAIVE, "aware": UTC_US}
CASES = [(f, name) for f in SPANS for name in KINDS if name != "date" or not f.endswith(("min", "h"))]


@dataclass(frozen=True)
class Case:
    """A bucket as pandas sees it: rows per store in order, the steps around, the first one of the future, and the plan."""

    stores: dict[str, pd.DataFrame]
    steps: pd.DatetimeIndex
    promo: dict[pd.Timestamp, int]
    cutoff: pd.Timestamp
    plan: SeriesPlan
    kind: pa.DataType

    def table(self, *stores: str) -> pa.Table:
        frames = [self.stores[store].assign(store=store) for store in stores or self.stores]
        rows = [row for frame in frames for row in frame.to_dict("records")]
        return bucket([{**row, "day": timed(row["t"], self.kind)} for row in rows], **kinds(self.kind))


def kinds(kind: pa.DataType) -> dict[str, pa.DataType]:
    numbers = {"visitors": pa.float64(), "units": pa.float64()}
    return {"store": pa.string(), "day": kind, "category": pa.string(), "promo": pa.int64(), **numbers}


def timed(moment: pd.Timestamp, kind: pa.DataType) -> Any:
    return moment.date() if kind == pa.date32() else moment.to_pydatetime()


VALUES = {
    "category": st.sampled_from(["x", "y", None]),
    "promo": st.sampled_from([1, 2, None]),
    "visitors": st.sampled_from([5.0, None]),
    "units": st.sampled_from([1.0, 2.5, 0.0, None, math.nan]),
}


@st.composite
def cases(draw: st.DrawFn, freq: str, kind: pa.DataType) -> Case:
    zone = draw(st.sampled_from(sorted(CHANGES)))
    change = pd.Timestamp(draw(st.sampled_from(CHANGES[zone])))
    span = pd.Timedelta(SPANS[freq])
    steps = calendar(freq, kind, zone, str(change - span), str(change + span))
    instants = steps if steps.tz else on_clock(steps, zone)
    end = instants[draw(st.integers(2, len(steps) - 6))] - pd.Timedelta(draw(st.sampled_from([0, 1, 29])), "min")
    cutoff = steps[instants >= end][0]
    off = pd.Timedelta(1, "D") if kind == pa.date32() else pd.Timedelta(7, "min")
    moments = st.tuples(st.integers(0, len(steps) - 1), st.sampled_from([0, 0, 0, 0, 1]))
    stores = {}
    for store in draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True)):
        at = sorted(draw(st.lists(moments, min_size=1, max_size=25)))
        times = [
            steps[place] + (off if jitter and (freq != "D" or kind != pa.date32()) else off * 0) for place, jitter in at
        ]
        columns = {name: draw(st.lists(v, min_size=len(at), max_size=len(at))) for name, v in VALUES.items()}
        frame = pd.DataFrame({"t": times, **{name: pd.Series(v, dtype=object) for name, v in columns.items()}})
        stores[store] = frame.sort_values("t", kind="stable", ignore_index=True)
    promo = draw(st.dictionaries(st.sampled_from(list(steps)), st.integers(7, 9), max_size=len(steps)))
    table = pa.table(
        {"at": pa.array([timed(t, kind) for t in promo], kind), "promo": pa.array(list(promo.values()), pa.int64())}
    )
    made = plan(
        frequency=freq,
        timezone=zone,
        static=("category",),
        known_ahead=("promo",),
        missing=draw(st.sampled_from(["reject", "zero", "previous"])),
        end=end.to_pydatetime(),
        future=draw(st.sampled_from([0, 1, 4])),
        treatments=draw(st.sampled_from([(), (Dedupe("sum"),)])),
        lookups=(Lookup("calendar", table, "at", (), ("promo",)),),
    )
    return Case(stores, steps, promo, cutoff, made, kind)


def expected(case: Case, store: str) -> tuple[pd.DataFrame, str | None]:
    numbers = dict.fromkeys(("units", "promo", "visitors"), float)
    rows, made = case.stores[store].astype(numbers), case.plan
    rows = rows[rows.t < case.steps[case.steps >= case.cutoff][made.future]]
    if made.treatments:
        sums = rows.groupby("t").units.sum(min_count=1)
        rows = rows.drop_duplicates("t", keep="first").assign(units=lambda r: sums.loc[r.t].to_numpy())
    found, wrong = reference(
        rows.assign(promo=rows.promo.fillna(rows.t.map(case.promo))),
        case.steps,
        cutoff=case.cutoff,
        future=made.future,
        missing=made.missing,
    )
    found["promo"] = found.promo.fillna(found.t.map(case.promo))
    wrong["ahead"] = list(found.t[(found.t >= case.cutoff) & found.promo.isna()])
    return found, problem(case, wrong)


def problem(case: Case, wrong: dict[str, list[Any]]) -> str | None:
    """The text that says what is wrong with a partition."""
    freq, zone = case.plan.frequency, case.plan.timezone
    unit = "time" if freq.endswith(("h", "min")) else "date"

    def time(moment: pd.Timestamp, *, day: bool, offset: bool) -> str:
        local = moment.tz_convert(zone) if moment.tzinfo else moment
        form = "%Y-%m-%d" if day else "%Y-%m-%d %H:%M:%S%z" if offset else "%Y-%m-%d %H:%M:%S"
        return local.strftime(form)

    def listed(found: list[Any], **form: bool) -> str:
        return ", ".join(time(m, **form) for m in found[:3]) + (", ..." if len(found) > 3 else "")

    row = {"day": case.kind == pa.date32(), "offset": True}
    step = {"day": unit == "date", "offset": freq != "6h"}
    several = {name: len(found) > 1 for name, found in wrong.items()}
    counted = {name: f"{len(found)} {unit}{'s have' if several[name] else ' has'}" for name, found in wrong.items()}
    texts = {
        "ahead": f"{AHEAD} 'promo' of table 'calendar' has no value for {listed(wrong['ahead'], **step)} "
        f"({len(wrong['ahead'])} of {case.plan.future} future {unit}s); extend the table, or lower the horizon",
        "off": f"{len(wrong['off'])} {'rows are' if several['off'] else 'row is'} not on the grid of freq {freq!r}: "
        f"{listed(wrong['off'], **row)}; aggregate them in prepare, or correct freq",
        "repeated": f"{counted['repeated']} several rows: {listed(wrong['repeated'], **step)}; aggregate in prepare, or "
        "add Dedupe to treatments",
        "missing": f"{counted['missing']} no row or no target: {listed(wrong['missing'], **step)}; allowed: every {unit}, "
        "or missing='zero' / 'previous' in Forecast",
        "empty": f"no row before {listed(wrong['empty'], **step)} has a target",
    }
    text = "; ".join(text for name, text in texts.items() if wrong[name])
    return None if not text else text if len(text) <= 500 else f"{text[:497]}..."


def plain(values: list[Any]) -> list[Any]:
    return [None if value is None or pd.isna(value) else value for value in values]


@pytest.mark.parametrize("freq, kind", CASES, ids=[f"{freq} {kind}" for freq, kind in CASES])
@settings(max_examples=30)
@given(data=st.data())
def test_series_are_those_of_a_plain_computation_per_partition(freq: str, kind: str, data: st.DataObject) -> None:
    case = data.draw(cases(freq, KINDS[kind]))
    rows = case.table()
    found, _ = regularize(rows, case.plan)
    assert found.schema.names == [*rows.schema.names, PROBLEM]
    assert [found.schema.field(name).type for name in rows.schema.names] == [field.type for field in rows.schema]
    made = {key.removeprefix("store="): part for key, part in slices.cut(found)}
    wanted = {store: expected(case, store) for store in case.stores}
    assert list(made) == [store for store, (frame, _) in wanted.items() if len(frame)]
    for store, part in made.items():
        frame, text = wanted[store]
        assert part.column("day").to_pylist() == [timed(t, case.kind) for t in frame.t]
        assert set(part.column("store").to_pylist()) == {store}
        for name in ("units", "visitors", "promo", "category"):
            assert plain(part.column(name).to_pylist()) == plain(frame[name].tolist()), name
        assert set(part.column(PROBLEM).to_pylist()) == {text}


@settings(max_examples=40)
@given(data=st.data(), case=st.sampled_from(CASES).flatmap(lambda c: cases(c[0], KINDS[c[1]])))
def test_series_of_a_partition_does_not_depend_on_the_others(data: st.DataObject, case: Case) -> None:
    store = data.draw(st.sampled_from(list(case.stores)))
    alone, counts = regularize(case.table(store), case.plan)
    among, all_counts = regularize(case.table(), case.plan)
    mine = dict(slices.cut(among)).get(f"store={store}", among.slice(0, 0))
    assert mine.to_pylist() == alone.to_pylist() or str(mine.to_pylist()) == str(alone.to_pylist())
    assert all(all_counts[label] >= number for label, number in counts.items())


@settings(max_examples=40)
@given(data=st.data(), case=st.sampled_from(CASES).flatmap(lambda c: cases(c[0], KINDS[c[1]])))
def test_targets_at_or_after_the_end_show_nowhere(data: st.DataObject, case: Case) -> None:
    other = {}
    for store, rows in case.stores.items():
        units = [data.draw(VALUES["units"]) if t >= case.cutoff else u for t, u in zip(rows.t, rows.units, strict=True)]
        other[store] = rows.assign(units=pd.Series(units, dtype=object))
    found, counts = regularize(case.table(), case.plan)
    again, same_counts = regularize(replace(case, stores=other).table(), case.plan)
    assert found.equals(again)
    assert counts == same_counts


@settings(max_examples=40)
@given(case=st.sampled_from(CASES).flatmap(lambda c: cases(c[0], KINDS[c[1]])), size=st.integers(1, 5))
def test_series_do_not_depend_on_how_rows_are_chunked(case: Case, size: int) -> None:
    rows = case.table()
    chunks = pa.Table.from_batches(rows.to_batches(max_chunksize=size), schema=rows.schema)
    assert regularize(chunks, case.plan)[0].equals(regularize(rows, case.plan)[0])


@settings(max_examples=40)
@given(case=st.sampled_from(CASES).flatmap(lambda c: cases(c[0], KINDS[c[1]])))
def test_regular_series_stay_as_they_are(case: Case) -> None:
    """Filled history, made regular again, is the same, and nothing is left to fill."""
    first, _ = regularize(case.table(), replace(case.plan, missing="zero", future=0, treatments=()))
    clean = first.filter(pa.compute.is_null(first.column(PROBLEM))).drop_columns([PROBLEM])
    again, counts = regularize(clean, replace(case.plan, future=0, treatments=()))
    assert again.drop_columns([PROBLEM]).equals(clean)
    assert set(counts) <= {"static category varies"}
