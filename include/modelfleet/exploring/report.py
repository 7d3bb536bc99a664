"""The report: one HTML file that needs nothing but itself, whose tables are bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from modelfleet.exploring import plots
from modelfleet.exploring.columns import FENCE
from modelfleet.exploring.findings import findings, moment, percent, summary
from modelfleet.exploring.page import PAGE
from modelfleet.exploring.profile import Profile

if TYPE_CHECKING:
    import pandas as pd

LIMIT = 20
_COLUMNS = 30
"""The columns of skrub's table: it plots and compares so many."""


@dataclass(frozen=True)
class Table:
    """At most `LIMIT` rows of text; `more` were left out."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    more: int = 0
    title: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page: prose, tables, and HTML made by plotly and skrub."""

    id: str
    title: str
    prose: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[str, ...] = ()


def render(profile: Profile) -> str:
    """The whole page."""
    from jinja2 import Environment

    p = profile.prepared
    sections = [
        _overview(profile),
        _partitions(profile),
        _time(profile),
        _target(profile),
        _seasons(profile),
        _missing(profile),
        _outliers(profile),
        _correlations(profile),
        _treatments(profile),
        _columns(profile),
        _method(profile),
    ]
    page = Environment(autoescape=True).from_string(PAGE)
    return page.render(
        fleet=p.spec.name,
        interval=p.interval.key,
        attempt=p.attempt,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        kind=p.spec.problem.kind,
        target=p.spec.problem.target,
        committed=p.committed,
        findings=findings(profile),
        sections=sections,
        plotly=plots.script(),
    )


def _overview(p: Profile) -> Section:
    table = Table(("what", "how many"), [(what, text) for what, text in summary(p)])
    return Section("overview", "Overview", tables=(table,))


def _partitions(p: Profile) -> Section:
    found = p.partitions
    middle = found["rows"].median()
    prose = f"A partition has {found['rows'].min():,} to {found['rows'].max():,} rows; half of them have up to {middle:,.0f}."
    listed = [
        ("Fewest rows with a target", found.sort_values(["targets", "rows"], kind="stable")),
        (f"Most {p.clock.step_name}s without a row", found[found["gaps"] > 0].sort_values("gaps", ascending=False)),
        (f"New: begin in the last {p.holdout.words}", p.new.sort_values("first", ascending=False, kind="stable")),
        (f"Ended: no row in the last {p.holdout.words}", p.ended.sort_values("last", kind="stable")),
        ("Problems of their series", found[found["problem"].notna()]),
        ("Most rows at the time of another", found[found["duplicates"] > 0].sort_values("duplicates", ascending=False)),
    ]
    tables = tuple(_partition_table(title, rows) for title, rows in listed if len(rows))
    histogram = plots.div(plots.rows_per_partition(p), "rows-per-partition", 300)
    return Section("partitions", "Partitions", (prose,), tables, (histogram,))


def _partition_table(title: str, found: pd.DataFrame) -> Table:
    names = ("partition", "rows", "targets", "first", "last", "gaps", "longest_gap", "duplicates", "mean", "problem")
    names = names if found["problem"].notna().any() else names[:-1]
    rows = [tuple(_text(getattr(line, name)) for name in names) for line in found.head(LIMIT).itertuples()]
    return Table(tuple(name.replace("_", " ") for name in names), rows, len(found) - len(rows), title)


def _time(p: Profile) -> Section:
    prose = "Over all rows. Means change when partitions come and go, not only when the target does."
    return Section("time", "Over time", (prose,), (), (plots.div(plots.over_time(p), "over-time", 620),))


def _target(p: Profile) -> Section:
    target, known = p.prepared.spec.problem.target, p.count("targets")
    lines = {
        "rows with a target": f"{known:,} of {p.rows:,}",
        "zero": f"{p.count('zero_targets'):,}",
        "least, greatest": f"{_text(p.partitions['low'].min())}, {_text(p.partitions['high'].max())}",
        "partitions where it never changes": f"{len(p.constant):,}",
        "variation between partitions": percent(p.between),
    }
    prose = (
        "Of the target's variation, the share between partitions is what their means alone explain; models explain the rest.",
    )
    shown = (plots.div(plots.examples(p), "examples", plots.examples_height(p)),) if known else ()
    return Section("target", f"The target: {target}", prose, (_pairs(lines),), shown)


def _seasons(p: Profile) -> Section:
    target = p.prepared.spec.problem.target
    prose = [
        f"The {pattern.part} explains {percent(pattern.explained)} of a partition's variation (median of those sampled)."
        for pattern in p.patterns
        if pattern.explained == pattern.explained
    ]
    shown = [plots.div(plots.calendar(pattern, target), f"by-{pattern.part}", 280) for pattern in p.patterns]
    if p.autocorrelation is not None:
        found = p.autocorrelation
        lag = found.strongest
        echo = f"The target repeats itself most after {lag} steps." if lag else "The target does not repeat itself at any lag."
        prose.append(f"{echo} Autocorrelation by {p.clock.step_name}, of {found.partitions:,} sampled partitions.")
        shown.append(plots.div(plots.autocorrelation(found, p.clock.step_name), "autocorrelation", 320))
    return Section("seasons", "Seasonality", tuple(prose) or ("There is too little to see a pattern in.",), (), tuple(shown))


def _missing(p: Profile) -> Section:
    found = p.columns[p.columns["share"] > 0].sort_values("share", ascending=False, kind="stable")
    head = ("column", "role", "type", "missing", "share", "always missing in")
    rows = [
        (c.column, c.role, c.type, _text(c.missing), percent(c.share), f"{c.blank} of {p.series.partitions} partitions")
        for c in found.head(LIMIT).itertuples()
    ]
    prose = (
        f"{len(p.columns) - len(found)} of {len(p.columns)} columns are complete.",
        "Nulls are counted in all rows, NaN in the sample; partitions are those sampled.",
    )
    return Section("missing", "Missing values", prose, (Table(head, rows, len(found) - len(rows)),) if rows else ())


def _outliers(p: Profile) -> Section:
    found = p.columns[p.columns["outliers"] > 0].sort_values("outliers", ascending=False, kind="stable")
    columns = Table(
        ("column", "role", "outliers", "expected from", "to", "least", "median", "greatest"),
        [
            (c.column, c.role, percent(c.outliers), *map(_text, (c.below, c.above, c.low, c.median, c.high)))
            for c in found.head(LIMIT).itertuples()
        ],
        max(len(found) - LIMIT, 0),
        "Columns, over all partitions",
    )
    rows = p.outlying.head(LIMIT)
    targets = Table(
        ("partition", "time", "target", "its median", "distance"),
        [
            (r.partition, moment(r.local), _text(r.target), _text(r.median), f"{r.distance:.1f} x")
            for r in rows.itertuples()
        ],
        len(p.outlying) - len(rows),
        f"Targets far from the others of their partition: {percent(p.outlying_share)} of the sampled series' rows",
    )
    prose = (f"More than {FENCE:g} interquartile ranges below the lower or above the upper quartile, in the sample.",)
    return Section("outliers", "Outliers", prose, tuple(table for table in (columns, targets) if table.rows))


def _correlations(p: Profile) -> Section:
    names = ["pearson", "spearman", "within", "explained"]
    found = p.columns[p.columns[names].notna().any(axis=1)]
    found = found.assign(top=found[names].abs().max(axis=1)).sort_values("top", ascending=False, kind="stable")
    rows = [
        (c.column, c.type, *(_number(getattr(c, name)) for name in ("pearson", "spearman", "within")), percent(c.explained))
        for c in found.head(LIMIT).itertuples()
    ]
    head = ("column", "type", "Pearson", "Spearman", "inside partitions", "explained")
    prose = (
        "Pearson and Spearman over all sampled rows; inside partitions after each partition's mean is taken off, which is what "
        "its own model can use. Of texts: the share of the target's variation between their values.",
    )
    return Section("correlation", "Correlation with the target", prose, (Table(head, rows, len(found) - len(rows)),))


def _treatments(p: Profile) -> Section:
    """What was done to the rows before they were looked at, and which of them are double."""
    facts, declared = p.prepared.facts, p.prepared.spec.treatments
    lines = {"rows with the key and time of another": p.count("duplicates"), "rows equal in every column": p.measured.identical}
    tables = [Table(("what", "rows"), [(name, f"{count:,}") for name, count in lines.items()], title="Duplicates left")]
    for name, title in (("treatments", "What the treatments did"), ("series", "What making the series regular found")):
        counts: Mapping[str, int] = facts.get(name) or {}
        if counts:
            shown = [(what, f"{count:,}") for what, count in list(counts.items())[:LIMIT]]
            tables.append(Table(("what", "how many"), shown, len(counts) - len(shown), title))
    prose = () if declared else ("The fleet declares no treatments: Drop, Clip, Fill and Dedupe are applied where it does.",)
    return Section("treatments", "Duplicates and treatments", prose, tuple(tables))


def _columns(p: Profile) -> Section:
    from skrub import TableReport  # type: ignore[import-untyped]

    shown = _most_telling(p)
    html = TableReport(p.sample[shown], verbose=0, title="Sampled rows", open_tab="distributions").html_snippet()
    left = len(p.columns) - len(shown)
    prose = f"Distributions, statistics and associations of {len(p.sample):,} sampled rows; scroll sideways for more."
    prose += f" {left:,} columns are left out: those that go least with the target." if left else ""
    return Section("columns", "Every column", (prose,), (), (str(html),))


def _most_telling(p: Profile) -> list[str]:
    """At most `_COLUMNS` columns: target, time and keys, then features, those that go most with the target first."""
    ranks = {"target": 0, "time": 1, "key": 2, "weight": 3, "feature": 4}
    found = p.columns.assign(
        rank=p.columns["role"].map(ranks).fillna(5),
        strength=-p.columns[["pearson", "spearman", "explained"]].abs().max(axis=1).fillna(0),
    )
    return list(found.sort_values(["rank", "strength"], kind="stable")["column"].head(_COLUMNS))


def _method(p: Profile) -> Section:
    source = "the training in force" if p.prepared.committed else "a dataset made for this report; the next training uses it"
    lines = {
        "rows": f"{p.rows:,}, of {source} (attempt {p.prepared.attempt})",
        "counted in all rows": "rows, gaps, duplicates, nulls, first and last, target by partition, day, weekday, month, hour",
        "sampled rows": f"{len(p.sample):,}, for distributions, outliers, correlations",
        "sampled series": f"{p.series.partitions:,} partitions with {len(p.series.index):,} rows, for autocorrelation and "
        "what is said of the inside of partitions",
        "a gap": f"a {p.clock.step_name} without a row between a partition's first and last",
        "times": f"wall time in {p.prepared.spec.timezone}",
    }
    notes: Iterable[str] = p.prepared.facts.get("notes") or []
    listed = list(notes)
    tables = [_pairs(lines)]
    if listed:
        tables.append(Table(("notes of the dataset step",), [(n,) for n in listed[:LIMIT]], max(len(listed) - LIMIT, 0)))
    return Section("method", "How this was made", (), tuple(tables))


def _pairs(lines: Mapping[str, str]) -> Table:
    return Table(("what", "how many"), list(lines.items()))


def _text(value: Any) -> str:
    """A cell: counts with separators, numbers short, wall times, nothing for what is missing."""
    import pandas as pd

    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, pd.Timestamp):
        return moment(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _number(correlation: float) -> str:
    return "" if correlation != correlation else f"{correlation:.2f}"
