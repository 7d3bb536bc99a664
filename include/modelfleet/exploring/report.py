"""The report: one HTML file that needs nothing but itself, whose tables are bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelfleet.exploring import plots
from modelfleet.exploring.columns import FENCE
from modelfleet.exploring.findings import WORDS, findings, moment, percent, summary
from modelfleet.exploring.page import render_page
from modelfleet.exploring.parts import LIMIT, Section, Table, cell, number, pairs, top_rows
from modelfleet.exploring.profile import Profile

if TYPE_CHECKING:
    import pandas as pd

_TWO_YEARS = 730
_COLUMNS = 30
"""The columns of skrub's table: it plots and compares so many."""


def render(profile: Profile) -> str:
    """The whole page."""
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
    return render_page(
        title=f"{p.spec.name} {p.interval.key}: the data",
        heading=f"{p.spec.name}: the data up to {p.interval.key}",
        sub=f"{p.spec.problem.kind} of {p.spec.problem.target}; the prepared rows as a training sees them",
        findings=findings(profile),
        sections=sections,
    )


def _overview(p: Profile) -> Section:
    table = Table(("what", "how many"), [(what, text) for what, text in summary(p)])
    return Section("overview", "Overview", tables=(table,))


def _partitions(p: Profile) -> Section:
    found = p.partitions
    low, middle, high = int(found["rows"].min()), found["rows"].median(), int(found["rows"].max())
    prose = f"A partition has {low:,} to {high:,} rows; half of them have up to {middle:,.0f}."
    listed = [
        ("Fewest rows with a target", found.sort_values(["targets", "rows"], kind="stable")),
        (f"Most {p.clock.step_name}s without a target", found[found["gaps"] > 0].sort_values("gaps", ascending=False)),
        (
            f"New: first target in the last {p.holdout.words}",
            p.new.sort_values("first", ascending=False, kind="stable"),
        ),
        (f"Ended: no target in the last {p.holdout.words}", p.ended.sort_values("last", kind="stable")),
        ("Problems of their series", p.troubled),
        ("Most rows at the time of another", found[found["duplicates"] > 0].sort_values("duplicates", ascending=False)),
    ]
    tables = tuple(_partition_table(title, rows) for title, rows in listed if len(rows))
    shown = (plots.div(plots.rows_per_partition(p), "rows-per-partition", 300),) if low < high else ()
    prose = prose if low < high else f"Every partition has {low:,} rows."
    return Section("partitions", "Partitions", (prose,), tables, shown)


def _partition_table(title: str, found: pd.DataFrame) -> Table:
    names: tuple[str, ...] = (
        "partition",
        "rows",
        "targets",
        "first",
        "last",
        "gaps",
        "longest_gap",
        "duplicates",
        "mean",
        "problem",
    )
    names = names if found["problem"].notna().any() else names[:-1]
    rows = [tuple(cell(getattr(line, name)) for name in names) for line in top_rows(found)]
    return Table(tuple(name.replace("_", " ") for name in names), rows, len(found) - len(rows), title)


def _time(p: Profile) -> Section:
    prose = "Over all rows. Means change when partitions come and go, not only when the target does."
    return Section("time", "Over time", (prose,), (), (plots.div(plots.over_time(p), "over-time", 620),))


def _target(p: Profile) -> Section:
    target, known = p.prepared.spec.problem.target, p.count("targets")
    lines = {
        "rows with a target": f"{known:,} of {p.rows:,}",
        "zero": f"{p.count('zero_targets'):,}",
        "least": cell(p.partitions["low"].min()),
        "greatest": cell(p.partitions["high"].max()),
        "partitions where it never changes": f"{len(p.constant):,}",
        "variation between partitions": percent(p.between),
    }
    lines = {what: text for what, text in lines.items() if text}
    prose: tuple[str, ...] = (
        "Some of the sampled series, from those with the most rows to those with the fewest; at most their latest 2,000 rows.",
        "Of the target's variation, the share between partitions is what their means alone explain; models explain the rest.",
    )
    prose = prose if known else ("No row has one.",)
    shown = (plots.div(plots.examples(p), "examples", plots.examples_height(p)),) if known else ()
    return Section("target", f"The target: {target}", prose, (pairs(lines),), shown)


def _seasons(p: Profile) -> Section:
    target = p.prepared.spec.problem.target
    young = (p.partitions["last"].max() - p.partitions["first"].min()).days < _TWO_YEARS
    prose = [
        f"The {pattern.part} explains {percent(pattern.explained)} of a partition's variation (median of those sampled)"
        + (
            ", where a trend may look the same: there are less than two years."
            if pattern.part == "month" and young
            else "."
        )
        for pattern in p.patterns
        if pattern.explained == pattern.explained
    ]
    shown = [plots.div(plots.calendar(pattern, target), f"by-{pattern.part}", 280) for pattern in p.patterns]
    if p.autocorrelation is not None:
        found = p.autocorrelation
        lag = found.season
        echo = (
            f"The target repeats itself after {p.clock.steps_in_words(lag)}."
            if lag
            else "The target does not repeat itself at any lag."
        )
        prose.append(f"{echo} Autocorrelation by {p.clock.step_name}, of {found.partitions:,} sampled partitions.")
        shown.append(plots.div(plots.autocorrelation(found, p.clock.step_name), "autocorrelation", 320))
    return Section(
        "seasons", "Seasonality", tuple(prose) or ("There is too little to see a pattern in.",), (), tuple(shown)
    )


def _missing(p: Profile) -> Section:
    found = p.columns[p.columns["share"] > 0].sort_values("share", ascending=False, kind="stable")
    head = ("column", "role", "type", "missing", "share", "always missing in")
    rows = [
        (c.column, c.role, c.type, cell(c.missing), percent(c.share), f"{c.blank} of {p.series.partitions} partitions")
        for c in top_rows(found)
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
            (c.column, c.role, percent(c.outliers), *map(cell, (c.below, c.above, c.low, c.median, c.high)))
            for c in top_rows(found)
        ],
        max(len(found) - LIMIT, 0),
        "Columns, over all partitions",
    )
    rows = top_rows(p.outlying)
    targets = Table(
        ("partition", "time", "target", "its median", "distance"),
        [(r.partition, moment(r.local), cell(r.target), cell(r.median), f"{r.distance:.1f} x") for r in rows],
        len(p.outlying) - len(rows),
        f"Targets far from the others of their partition: {percent(p.outlying_share)} of the sampled series' rows",
    )
    prose = (f"More than {FENCE:g} interquartile ranges below the lower or above the upper quartile, in the sample.",)
    tables = tuple(table for table in (columns, targets) if table.rows)
    return Section("outliers", "Outliers", prose if tables else (f"None. {prose[0]}",), tables)


def _correlations(p: Profile) -> Section:
    names = ["pearson", "spearman", "within", "explained"]
    found = p.columns[p.columns[names].notna().any(axis=1)]
    found = found.assign(top=found[names].abs().max(axis=1)).sort_values("top", ascending=False, kind="stable")
    rows = [
        (c.column, c.type, *map(number, (c.pearson, c.spearman, c.within)), percent(c.explained))
        for c in top_rows(found)
    ]
    head = ("column", "type", "Pearson", "Spearman", "inside partitions", "explained (texts)")
    prose = (
        "Pearson and Spearman over all sampled rows; inside partitions after each partition's mean is taken off, which is what "
        "its own model can use. Of texts: the share of the target's variation between their values.",
    )
    tables = (Table(head, rows, len(found) - len(rows)),) if rows else ()
    return Section(
        "correlation", "Correlation with the target", prose if rows else ("There is nothing to compare.",), tables
    )


def _treatments(p: Profile) -> Section:
    """What was done to the rows before they were looked at, and which of them are double."""
    lines = {
        "rows with the key and time of another": p.count("duplicates"),
        "rows equal in every column": p.measured.identical,
    }
    tables = [Table(("what", "rows"), [(name, f"{count:,}") for name, count in lines.items()], title="Duplicates left")]
    if p.treated:
        shown = [(f"{count:,}", WORDS.get(what, what)) for what, count in list(p.treated.items())[:LIMIT]]
        title = "What the treatments did to the rows, and what making the series regular did"
        tables.append(Table(("how many", "what"), shown, len(p.treated) - len(shown), title))
    declared = p.prepared.spec.treatments
    prose = (
        ()
        if declared
        else ("The fleet declares no treatments: Drop, Clip, Fill and Dedupe are applied where it does.",)
    )
    return Section("treatments", "Duplicates and treatments", prose, tuple(tables))


def _columns(p: Profile) -> Section:
    from skrub import TableReport  # type: ignore[import-untyped]

    shown = _most_telling(p)
    finite = p.sample[shown].replace([float("inf"), float("-inf")], float("nan"))
    html = TableReport(finite, verbose=0, title="Sampled rows", open_tab="distributions").html_snippet()
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
    source = (
        "the training in force" if p.prepared.committed else "a dataset made for this report; the next training uses it"
    )
    lines = {
        "rows": f"{p.rows:,}, of {source} (attempt {p.prepared.attempt})",
        "counted in all rows": "rows, gaps, duplicates, nulls, first and last, target by partition, day, weekday, month, hour",
        "sampled rows": f"{len(p.sample):,}, for distributions, outliers, correlations",
        "sampled series": f"{p.series.partitions:,} partitions with {len(p.series.index):,} rows, for autocorrelation and "
        "what is said of the inside of partitions",
        "a gap": f"a {p.clock.step_name} without a target between a partition's first and last; so are first and last meant",
        "times": f"wall time in {p.prepared.spec.timezone}",
    }
    listed: list[str] = list(p.prepared.facts.get("notes") or [])
    tables = [pairs(lines)]
    if listed:
        tables.append(
            Table(("notes of the dataset step",), [(n,) for n in listed[:LIMIT]], max(len(listed) - LIMIT, 0))
        )
    return Section("method", "How this was made", (), tuple(tables))
