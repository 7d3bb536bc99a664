"""The report of a backtest: one HTML file that needs nothing but itself; its tables and plots are bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from modelfleet import settings
from modelfleet.backtesting import plots
from modelfleet.backtesting.results import Results, Summary
from modelfleet.backtesting.sums import ratio
from modelfleet.errors import ConfigurationError
from modelfleet.exploring.findings import Finding, percent
from modelfleet.exploring.page import render_page
from modelfleet.exploring.parts import LIMIT, Section, Table, cell, top_rows
from modelfleet.exploring.plots import div

if TYPE_CHECKING:
    import pandas as pd

PAGE = "report/backtest.html"
"""Where in its attempt's folder the lake has the report."""
WIDE = 0.05
"""Coverage that far from what is claimed is a warning."""
_MANY_EQUAL = 0.2


def render(found: Results) -> str:
    """The whole page."""
    spec, summary = found.spec, found.summary
    sections = [
        _overview(found),
        _folds(found),
        _steps(found),
        *([_coverage(found)] if found.quantiles else []),
        _partitions(found),
        *(_segment(found, name) for name in spec.partition_by),
        _worst(found),
        _chosen(found),
        _method(found),
    ]
    return render_page(
        title=f"{spec.name} {summary.to}: backtest",
        heading=f"{spec.name}: backtest up to {summary.to}",
        sub=f"{spec.problem.kind} of {spec.problem.target}; {len(summary.folds)} folds, each trained on what was known then",
        findings=list(findings(found)),
        sections=sections,
    )


def write_report(found: Results, file: Path | None = None) -> Path:
    """Write the report, as the lake has it, to a file of one's own.

    :param file: default: ``reports/<fleet>-backtest-<to>.html`` in the home.
    :raises ConfigurationError: when it can't be written there.
    """
    name = f"{found.spec.name}-backtest-{found.summary.to}.html"
    target = (file or settings.home() / "reports" / name).absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(found.lake.read(found.attempt.path(PAGE)))
    except OSError as exc:
        raise ConfigurationError(
            f"the report can't be written to {target}: {exc.strerror}", hint="name another file: --out"
        ) from exc
    return target


def findings(found: Results) -> Iterator[Finding]:
    """What stands out, the verdict first."""
    s = found.summary
    yield verdict(s)
    yield from _why(found)
    if s.coverage == s.coverage and s.claimed == s.claimed:
        text = f"the quantiles cover {percent(s.coverage)} of what came, and claim {percent(s.claimed)}"
        far = abs(s.coverage - s.claimed) > WIDE
        yield Finding("warning" if far else "note", text)
    others = sum(count for name, count in s.sources.items() if name != "model")
    if others:
        listed = ", ".join(f"{name} {count:,}" for name, count in s.sources.items() if name != "model")
        yield Finding("note", f"{percent(others / s.compared)} of the rows came from no model of their own: {listed}")
    failed = [fold for fold in s.folds if fold.failed]
    if failed:
        most = max(failed, key=lambda fold: fold.failed)
        yield Finding("warning", f"models failed in {len(failed)} folds; most in {most.fold}: {most.failed:,}")
    lost = [fold for fold in s.folds if fold.error > fold.baseline]
    if lost and s.beats:
        yield Finding("note", f"in {len(lost)} of {len(s.folds)} folds the baseline was better: {lost[0].fold} first")


def _why(found: Results) -> Iterator[Finding]:
    """What helps to understand the verdict: how much there was to improve, and who improved it."""
    s = found.summary
    exact = ratio(found.total, "base_exact", "n")
    if exact > _MANY_EQUAL:
        left = "" if s.beats else ": little is left for a model to do better"
        yield Finding("note", f"the baseline was exactly right in {percent(exact)} of the rows{left}")
    other = s.better + s.worse
    if s.equal > _MANY_EQUAL and other:
        yield Finding(
            "note",
            f"in {percent(s.equal)} of partitions and folds the fleet forecasts as well as the baseline, often the same; of "
            f"the others it is better in {percent(s.better / other)}",
        )
    own = found.paired[found.paired["source"] == "model"]
    for name, rows in own.groupby("candidate"):
        error, base = float(rows["error"].median()), float(rows["base"].median())
        if error > base * (1 + WIDE) and len(rows) > WIDE * len(found.paired):
            yield Finding(
                "warning",
                f"where {name} was chosen ({len(rows):,} times) it was worse than the baseline: median {s.metric} {error:.4g}, "
                f"the baseline's {base:.4g}: a rule of the gate, more training.folds or fewer candidates may help",
            )


def verdict(s: Summary) -> Finding:
    """Whether the fleet beats its baseline, in one sentence."""
    both = f"median {s.metric} {s.error:.4g}, the baseline's {s.baseline:.4g}"
    shares = f"better in {percent(s.better)}, equal in {percent(s.equal)}, worse in {percent(s.worse)} of partitions and folds"
    if s.error != s.error:
        return Finding("problem", f"the fleet's {s.metric} is not known in any partition: nothing can be said of it")
    if not s.beats:
        return Finding("problem", f"the fleet does not beat its baseline: {both}; {shares}")
    return Finding("note", f"the fleet beats its baseline by {percent(s.skill)}: {both}; {shares}")


def _overview(found: Results) -> Section:
    lines = [(what, text) for what, text in overview(found.summary).items() if text]
    return Section("overview", "Overview", tables=(Table(("what", "how much"), lines),))


def overview(s: Summary) -> dict[str, str]:
    """The summary in words and numbers; empty where there is none."""
    return {
        "folds": f"{len(s.folds)}, cutoffs {s.folds[0].fold} to {s.folds[-1].fold}",
        "partitions": f"{s.partitions:,}",
        "rows compared": f"{s.compared:,}",
        f"median {s.metric}": cell(s.error),
        f"the baseline's median {s.metric}": cell(s.baseline),
        "skill: 1 - the one over the other": percent(s.skill),
        "better, equal, worse than the baseline": f"{percent(s.better)}, {percent(s.equal)}, {percent(s.worse)}",
        "coverage of the outermost quantiles": f"{percent(s.coverage)} of {percent(s.claimed)}"
        if s.coverage == s.coverage
        else "",
        "the baseline's coverage": percent(s.baseline_coverage),
        "rows by source": ", ".join(f"{name} {count:,}" for name, count in s.sources.items()),
    }


def fold_table(s: Summary) -> Table:
    """One row for each of the last folds."""
    head = [
        "cutoff",
        "trained",
        "skipped",
        "failed",
        "rows",
        f"median {s.metric}",
        "the baseline's",
        "skill",
        "coverage",
    ]
    rows = [
        (
            fold.fold,
            *(f"{number:,}" for number in (fold.trained, fold.skipped, fold.failed, fold.compared)),
            *(cell(value) for value in (fold.error, fold.baseline)),
            percent(fold.skill),
            percent(fold.coverage),
        )
        for fold in s.folds[-LIMIT:]
    ]
    return Table(tuple(head), rows, max(len(s.folds) - LIMIT, 0))


def _folds(found: Results) -> Section:
    prose = "A fold is named by its cutoff, the last day or hour that was known. Medians are over partitions."
    return Section(
        "folds", "By fold", (prose,), (fold_table(found.summary),), (div(plots.by_fold(found), "plot-by-fold", 320),)
    )


def _steps(found: Results) -> Section:
    word = plots.step_word(found)
    prose = f"Of all rows of a {word} together: {plots.step_metric(found)}."
    return Section("steps", f"By {word}", (prose,), (), (div(plots.by_step(found), "plot-by-step", 320),))


def _coverage(found: Results) -> Section:
    prose = (
        "The share of what came that lies between the outermost quantiles, ends included. Where what came often equals the "
        "forecast exactly, shares at or below a quantile, and coverage with them, lie above what is claimed.",
    )
    rows = [
        (
            name,
            f"{int(s.get('banded', 0)):,}",
            percent(ratio(s, "inside", "banded")),
            percent(ratio(s, "base_inside", "base_banded")),
        )
        for name, s in sorted(found.sums["source"].items(), key=lambda item: -item[1]["n"])[:LIMIT]
    ]
    by_candidate = found.lines[found.lines["source"] == "model"].groupby("candidate")["coverage"]
    chosen = [
        (name, f"{len(values):,}", percent(float(values.mean())))
        for name, values in sorted(((str(n), v) for n, v in by_candidate), key=lambda item: -len(item[1]))[:LIMIT]
    ]
    tables = (
        Table(("source", "rows with quantiles", "coverage", "the baseline's there"), rows, title="By source"),
        Table(("candidate", "partitions and folds", "mean coverage"), chosen, title="By chosen candidate"),
    )
    shown = [div(plots.calibration(found), "plot-calibration", 320)]
    if len(found.quantiles) > 1:
        shown.insert(0, div(plots.coverage(found), "plot-coverage", 320))
    return Section("coverage", "Coverage of the quantiles", prose, tables, tuple(shown))


def _partitions(found: Results) -> Section:
    prose = [
        "Each point is a partition's mean over the folds; below the line the fleet is better. The outermost 1% is cut off.",
        "Skill is 1 - the fleet's error over the baseline's: 0 is as good, 1 perfect, below 0 worse.",
    ]
    if len(found.by_partition) > plots.POINTS:
        prose.append(f"{plots.POINTS:,} of {len(found.by_partition):,} partitions are drawn.")
    if found.by_partition.empty:
        return Section("partitions", "Fleet against baseline", ("No partition has both errors.",))
    shown = (
        div(plots.against_baseline(found), "plot-against-baseline", 460),
        div(plots.skills(found), "plot-skills", 300),
    )
    return Section("partitions", "Fleet against baseline", tuple(prose), (), shown)


def _segment(found: Results, name: str) -> Section:
    """The values of one key column: the worst and, where they are many, the best."""
    groups = found.paired.assign(_value=found.paired[name].map(cell)).groupby("_value")
    table = groups[["error", "base", "skill"]].median()
    table["partitions"] = groups["partition"].nunique()
    table = table.sort_values("error", ascending=False, kind="stable")
    title = f"By {name}"
    if table.empty:
        return Section(f"by-{name}", title, ("No partition has both errors.",))
    worst, best = table.head(LIMIT), table.iloc[LIMIT:].tail(LIMIT)
    tables = [_segment_table(worst, f"The {len(worst)} worst of {len(table):,}" if len(best) else "", found.metric)]
    if len(best):
        tables.append(_segment_table(best.iloc[::-1], f"The {len(best)} best", found.metric))
    height = 110 + 28 * len(worst)
    prose = f"Medians over partitions and folds; of {len(table):,} values."
    return Section(
        f"by-{name}",
        title,
        (prose,),
        tuple(tables),
        (div(plots.segments(worst, found.metric), f"plot-segment-{name}", height),),
    )


def _segment_table(rows: pd.DataFrame, title: str, metric: str) -> Table:
    head = ("value", "partitions", f"median {metric}", "the baseline's", "median skill")
    listed = [(str(r.Index), f"{r.partitions:,}", cell(r.error), cell(r.base), _skill(r.skill)) for r in top_rows(rows)]
    return Table(head, listed, title=title)


def _skill(value: float) -> str:
    return "below -100%" if value < -1 else percent(value)


def _worst(found: Results) -> Section:
    rows = found.by_partition.head(LIMIT)
    title = f"The {len(rows)} worst partitions"
    if rows.empty:
        return Section("worst", title, ("No partition has both errors.",))
    names = [str(name) for name in rows.index]
    head = ("partition", "folds", f"mean {found.metric}", "the baseline's")
    listed = [(str(r.Index), str(r.folds), cell(r.error), cell(r.base)) for r in top_rows(rows)]
    figure = plots.worst(found, found.rows_of(names), names)
    prose = "By their mean error over the folds; what was predicted, and what came."
    shown = (div(figure, "plot-worst-partitions", plots.worst_height(names)),)
    return Section("worst", title, (prose,), (Table(head, listed, len(found.by_partition) - len(rows)),), shown)


def _chosen(found: Results) -> Section:
    s = found.summary
    total = max(sum(s.candidates.values()), 1)
    candidates = [(name, f"{count:,}", percent(count / total)) for name, count in list(s.candidates.items())[:LIMIT]]
    sources = [(name, f"{count:,}", percent(count / s.compared)) for name, count in s.sources.items()]
    tables = (
        Table(("candidate", "partitions and folds", "share"), candidates, max(len(s.candidates) - LIMIT, 0)),
        Table(("source", "rows", "share"), sources, title="Who served"),
    )
    shown: tuple[Table, ...] = tables
    reasons: Counter[str] = sum((Counter(fold.facts["reasons"]) for fold in found.folds), Counter())
    if reasons:
        listed = [(reason, f"{count:,}") for reason, count in reasons.most_common(LIMIT)]
        shown = (*tables, Table(("reason", "partitions and folds"), listed, title="Without a model of their own"))
    return Section("chosen", "What was chosen", (), shown, (div(plots.chosen(found), "plot-chosen", 340),))


def _method(found: Results) -> Section:
    forecast = found.spec.problem.kind == "forecast"
    lines = {
        "then": "training and scoring at a cutoff saw the ingests that had ended by then; of a bulk load that goes beyond, "
        "the rows up to then. What was restated by re-ingesting an interval is as it is today",
        "now": "what came is as it is known today, late and restated rows included"
        + ("" if forecast else "; so are the scored rows themselves"),
        "selection": "as in training: candidates compete on the folds before the cutoff, and the best one is fitted again",
        "left out": "no champion and no gate: every trained model serves. Quality checks are not made",
        "baseline": f"{found.spec.problem.baseline}, on the same rows, from what was known at the cutoff",
        "attempt": found.attempt.id,
    }
    return Section("method", "How this was made", (), (Table(("what", "how"), list(lines.items())),))
