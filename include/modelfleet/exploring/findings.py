"""What stands out in a profile, in words, what matters most first; and the summary for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from modelfleet.errors import bounded
from modelfleet.exploring.profile import Profile
from modelfleet.spec.problem import Forecast

if TYPE_CHECKING:
    import pandas as pd

_SUSPECT = 0.98
_MANY_MISSING = 0.2
_MANY_OUTLIERS = 0.01
_MANY_ZEROS = 0.5
_NAMED = 5
WORDS = {
    "leading": "rows were left out, since their series has no target yet",
    "missing_dates": "dates of series have no row or no target",
    "filled_dates": "dates of series had no row or no target and were filled",
    "off_grid": "rows are not on the grid of the series' freq",
    "duplicates": "rows have the time of another row of their series",
    "beyond_horizon": "rows lie beyond the horizon and were left out",
}
"""What the dataset step's counts of series mean; those of treatments are named by the treatment: drop units."""
_LEVELS = ("problem", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """A sentence. `problem`: partitions or columns are of no use as they are; `warning`: look at it; `note`: good to know."""

    level: Literal["problem", "warning", "note"]
    text: str


def findings(profile: Profile) -> list[Finding]:
    """Everything that stands out, problems first."""
    found = [*_of_target(profile), *_of_partitions(profile), *_of_rows(profile), *_of_columns(profile)]
    return sorted(found, key=lambda finding: _LEVELS.index(finding.level))


def _of_target(p: Profile) -> Iterator[Finding]:
    problem, rows, count = p.prepared.spec.problem, p.rows, p.count
    target = problem.target
    known = count("targets")
    if known == 0:
        yield Finding("problem", f"the target {target!r} is missing in every row: nothing can be trained")
        return
    if count("infinite_targets"):
        yield Finding("problem", f"the target {target!r} is infinite in {_n(count('infinite_targets'), 'row')}")
    if count("null_targets"):
        text = f"the target {target!r} is missing in {_share(count('null_targets'), rows, 'row')}"
        policy = (
            f"are dealt with by missing={problem.missing!r}" if isinstance(problem, Forecast) else "are not trained on"
        )
        yield Finding("warning", f"{text}; they {policy}")
    if p.partitions["low"].min() == p.partitions["high"].max():
        yield Finding("problem", f"the target {target!r} is {p.partitions['low'].min():g} in every row that has one")
        return
    if problem.kind != "classification" and count("zero_targets") > _MANY_ZEROS * known:
        yield Finding(
            "note", f"the target is zero in {_share(count('zero_targets'), known, 'row')}: mape says little here"
        )


def _of_partitions(p: Profile) -> Iterator[Finding]:
    least, total = p.prepared.spec.training.min_rows, len(p.partitions)
    silent = p.partitions[p.partitions["targets"] == 0]
    short = p.short[p.short["targets"] > 0]
    if len(silent) and len(silent) < total:
        yield Finding("problem", f"{_share(len(silent), total, 'partition')} without any target: {_named(silent)}")
    if len(p.troubled):
        one = p.troubled.iloc[0]
        text = (
            f"{_share(len(p.troubled), total, 'partition')} with a problem in their series, such as {one['partition']}:"
        )
        yield Finding("problem", f"{text} {one['problem']}")
    if len(short):
        text = f"{_share(len(short), total, 'partition')} short: fewer than {least} rows with a target, so no model of"
        yield Finding("warning", f"{text} their own: {_named(short)}")
    if len(p.new):
        text = (
            f"{_share(len(p.new), total, 'partition')} new: their first target lies in the last {p.holdout.words}, the"
        )
        yield Finding("warning", f"{text} holdout, so there is none to fit on: {_named(p.new)}")
    if len(p.ended):
        text = f"{_share(len(p.ended), total, 'partition')} ended: no target in the last {p.holdout.words}, the holdout, so"
        yield Finding("warning", f"{text} there is none to measure a model on: {_named(p.ended)}")
    if len(p.constant) and len(p.constant) < total:
        text = f"{_share(len(p.constant), total, 'partition')} with a target that never changes: {_named(p.constant)}"
        yield Finding("warning", text)
    if total == 1:
        yield Finding("note", "there is one partition only: is partition_by what you mean?")


def _of_rows(p: Profile) -> Iterator[Finding]:
    gaps, twins = p.count("gaps"), p.count("duplicates")
    late = p.holdout.end - 1 - int(p.partitions["last_step"].max())
    if late > 0 and p.count("targets"):
        last = moment(p.partitions["last"].max())
        text = f"the last target is of {last}, {p.clock.steps_in_words(late)} before the end of the interval"
        yield Finding("warning", text)
    with_gaps = p.partitions[p.partitions["gaps"] > 0].sort_values("gaps", ascending=False, kind="stable")
    if p.is_forecast and gaps:
        text = f"{p.clock.steps_in_words(gaps)} without a target in {_share(len(with_gaps), len(p.partitions), 'partition')}"
        yield Finding("warning", f"{text}: {_named(with_gaps)}")
    if p.is_forecast and twins:
        text = (
            f"{_n(twins, 'row')} with the key and time of another row: a forecast needs one row a {p.clock.step_name}"
        )
        yield Finding("problem", f"{text}; declare a Dedupe")
    elif twins:
        yield Finding("note", f"{_share(twins, p.rows, 'row')} with the key and time of another row")
    if p.measured.identical:
        yield Finding("warning", f"{_share(p.measured.identical, p.rows, 'row')} equal another row in every column")
    for what, count in p.treated.items():
        if count and what in WORDS:
            yield Finding("note", f"{count:,} {WORDS[what]}")


def _of_columns(p: Profile) -> Iterator[Finding]:
    used = p.columns[p.columns["role"].isin(["feature", "weight"])]
    empty = used[used["distinct"] == 0]
    if len(empty):
        yield Finding("problem", f"{_columns(empty)} without any value")
    infinite = used[used["infinite"] > 0]
    if len(infinite):
        yield Finding("problem", f"{_columns(infinite)} with infinite values")
    constant = used[(used["distinct"] == 1) & (used["share"] == 0)]
    if len(constant):
        yield Finding("warning", f"{_columns(constant)} with one value only")
    blank = used[(used["blank"] > 0) & (used["distinct"] > 0)]
    if len(blank):
        worst = int(blank["blank"].max())
        text = f"{_columns(blank)} always missing in some partitions (up to {worst} of {p.series.partitions} sampled)"
        yield Finding("warning", text)
    missing = used[(used["share"] > _MANY_MISSING) & (used["distinct"] > 0)]
    if len(missing):
        yield Finding("warning", f"{_columns(missing)} missing in more than {_MANY_MISSING:.0%} of the rows")
    declared = p.prepared.spec.declared
    seen = used[used["column"].isin([*declared.known_ahead, *declared.static])]  # of others models see the past only
    suspect = seen[(seen[["pearson", "spearman", "within"]].abs().max(axis=1) > _SUSPECT)]
    if len(suspect):
        text = f"{_columns(suspect)}: almost the target itself; known when the prediction is made, or a leak?"
        yield Finding("warning", text)
    wild = p.columns[(p.columns["outliers"] > _MANY_OUTLIERS) & p.columns["role"].isin(["feature", "target"])]
    if len(wild):
        yield Finding("note", f"{_columns(wild)} with more than {_MANY_OUTLIERS:.0%} of outliers")


def summary(profile: Profile) -> list[tuple[str, str]]:
    """The figures for the terminal: what, and how many."""
    p = profile
    least = p.prepared.spec.training.min_rows
    first, last = p.partitions["first"].min(), p.partitions["last"].max()
    gaps, missing = int((p.partitions["gaps"] > 0).sum()), p.clock.steps_in_words(p.count("gaps"))
    return [
        ("rows", f"{p.rows:,} from {moment(first)} to {moment(last)}"),
        ("partitions", f"{len(p.partitions):,} by {', '.join(p.prepared.spec.partition_by)}"),
        ("short", f"{len(p.short):,} with fewer than {least} rows with a target"),
        ("new", f"{len(p.new):,} whose first target lies in the last {p.holdout.words}"),
        ("ended", f"{len(p.ended):,} without a target in the last {p.holdout.words}"),
        ("gaps", f"{missing} without a target, in {gaps:,} partitions" if gaps else "none"),
        ("no target", _share(p.count("null_targets"), p.rows, "row")),
        (
            "duplicates",
            f"{_n(p.count('duplicates'), 'row')} with the key and time of another; {p.measured.identical:,} equal",
        ),
    ]


def moment(value: object) -> str:
    """A wall time for people: the day alone, where it is midnight."""
    import pandas as pd

    stamp = pd.Timestamp(value)  # type: ignore[arg-type]
    return f"{stamp:%Y-%m-%d}" if stamp == stamp.normalize() else f"{stamp:%Y-%m-%d %H:%M}"


def percent(share: float) -> str:
    """A share for people; nothing where there is none (NaN)."""
    if share != share:
        return ""
    return "< 0.1%" if 0 < share < 0.001 else f"{share:.1%}"


def _n(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _share(count: int, total: int, noun: str) -> str:
    return f"{count:,} of {_n(total, noun)} ({percent(count / total)})" if total else _n(count, noun)


def _named(partitions: pd.DataFrame) -> str:
    named = partitions["partition"].head(_NAMED).tolist()
    more = len(partitions) - len(named)
    return ", ".join(named) + (f", and {more:,} more" if more else "")


def _columns(found: pd.DataFrame) -> str:
    names = bounded((repr(name) for name in found["column"]), limit=_NAMED)
    return f"column {names}" if len(found) == 1 else f"columns {names}"
