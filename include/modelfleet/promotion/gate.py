"""The promotion gate: the model rows of a training, measured by the fleet's rules, become one decision per partition.

Pure: Arrow tables in, an Arrow table out, no I/O. Rules are evaluated set-wise by an in-memory DuckDB without access to
anything outside it, its configuration locked. The gate fails closed:

- NaN and infinity become NULL, in the metrics and wherever a rule's own arithmetic makes them (DuckDB sorts NaN above
  everything: ``mae / baseline.mae >= 0`` is TRUE for 0/0). A rule that raises on a row is NULL there.
- A rule passes only if it IS TRUE, is boolean, and parses as one expression over known names.
- Where the champion could not be evaluated on the holdout it is kept, whatever the rules say.

A challenger that was carried over and is the very model that serves passes without a look at the rules: nothing changes for
it, and a rule such as ``mae < champion.mae`` would count the unchanged part of a fleet as refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from modelfleet.errors import DataError
from modelfleet.promotion.expression import (
    FLEET,
    ROWS,
    Rule,
    compile_rules,
    connect,
    fleet_scope,
    identifier,
    one,
    quoted,
    row_scope,
    shortened,
)
from modelfleet.promotion.rows import finish, load, no_rows, with_model
from modelfleet.rules import FLEET_COUNTS

if TYPE_CHECKING:
    from modelfleet.spec import Gate

Mode: TypeAlias = Literal["enforce", "shadow", "off"]
Total: TypeAlias = float | int | None

DECISIONS = pa.schema(
    [
        pa.field("partition", pa.string(), nullable=False),
        pa.field("decision", pa.string(), nullable=False),
        pa.field("rule", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("mode", pa.string(), nullable=False),
        pa.field("champion_interval", pa.string()),
    ]
)
_PASSED, _UNTRAINED, _CHAMPION_FAILED = -1, -2, -3  # outcomes of a row; from 0 on: the number of the rule that failed
_REASON_LIMIT = 500  # characters, before a note
_SAME = "the champion is this very model, carried over"


@dataclass(frozen=True)
class GateResult:
    """What the gate decided for a training.

    :ivar decisions: schema `DECISIONS`; the challengers in their order, then the partitions only the champion has.
        `champion_interval` is null where the champion has no model.
    :ivar totals: what the decisions add up to. promoted + kept + rejected = trained + skipped + failed = expected: the
        training's partitions; `not_in_training` counts those only the champion has.
    :ivar judged: the totals that the fleet rules saw: there all models that pass every `each` rule count as promoted.
    :ivar passed: False if a fleet rule held everything back (mode enforce).
    :ivar failed_fleet_rule: the first fleet rule that is not true, in mode shadow too.
    """

    decisions: pa.Table
    totals: dict[str, Total]
    judged: dict[str, Total]
    passed: bool
    failed_fleet_rule: str | None


def decide(
    spec_gate: Gate,
    challengers: pa.Table | Iterable[pa.Table],
    champions: pa.Table | None,
    *,
    metrics: Sequence[str],
    key_columns: Sequence[str],
    challenger_interval: str,
    champion_version: int | None = None,
    champion_interval: str | None = None,
) -> GateResult:
    """Decide about every partition of a training, and of the champion fleet.

    A trained challenger that passes every rule of `Gate.each` is promoted, unless a rule of `Gate.fleet` fails: then
    nothing is. Otherwise the champion's model is kept, or the challenger rejected where there is none. In mode shadow
    the rules are recorded and hold nothing back, but a champion that failed on the holdout is still kept; in mode off
    every trained model is promoted.

    :param challengers: the model rows of one training, one per expected partition; a missing metric column is NULL. They may
        come in tables of the same columns, of which one at a time is held.
    :param champions: the champion fleet's index (`partition`, `status`); `trained` means that it has a model. A
        partition that only it has is kept if it has a model, and left out if not. None without a champion.
    :raises SpecError: for a rule that is not one boolean expression over known names.
    :raises DataError: for tables that can't be decided on: no rows, duplicate or null partitions, missing columns.
    """
    if champions is None and champion_version is not None:
        raise DataError(
            f"champion version {champion_version} is named without its index: nothing can be promoted over it",
            hint="read the champion's index from the production registry first",
        )
    mode: Mode = spec_gate.mode
    scope = row_scope(metrics, key_columns)
    named = "the champion" if champion_version is None else f"champion version {champion_version}"
    with connect() as con:
        modelled = with_model(champions)
        each: tuple[Rule, ...] | None = None
        for part in [challengers] if isinstance(challengers, pa.Table) else challengers:
            if part.num_rows:
                load(con, part, modelled, metrics, key_columns, challenger_interval)
                if each is None:
                    each = compile_rules(con, "gate.each", spec_gate.each if mode != "off" else (), scope)
                    _make_judged(con, metrics)
                _judge(con, each, mode, named if champion_interval is None else f"{named} ({champion_interval})")
                _keep_trained(con, metrics)
        if each is None:
            raise no_rows(challenger_interval)
        rows = finish(con, modelled, challenger_interval)
        fleet = _fleet_rules(con, spec_gate.fleet if mode != "off" else (), metrics)
        judged = _totals(con, metrics)
        failed, why = _judge_fleet(con, fleet, judged)
        decisions = _decisions(con, each, mode, failed, why, champion_interval)
    if decisions.num_rows != rows:
        raise DataError(f"the gate made {decisions.num_rows} decisions for {rows} partitions; none of them is used")
    passed = failed is None or mode != "enforce"
    return GateResult(decisions, _final(decisions, judged), judged, passed, failed.text if failed else None)


def _fleet_rules(con: duckdb.DuckDBPyConnection, texts: Sequence[str], metrics: Sequence[str]) -> tuple[Rule, ...]:
    """The rules over totals, and the empty table of the totals they are evaluated on."""
    scope = fleet_scope(metrics)
    types = {**dict.fromkeys(FLEET_COUNTS, "BIGINT"), **dict.fromkeys(scope.names.metrics, "DOUBLE")}
    con.execute(f"CREATE TEMP TABLE {FLEET} ({', '.join(f'{identifier(n)} {kind}' for n, kind in types.items())})")
    return compile_rules(con, "gate.fleet", texts, scope)


def _make_judged(con: duckdb.DuckDBPyConnection, metrics: Sequence[str]) -> None:
    """Make the tables of what is judged: a row per challenger, and the numbers of those that were trained."""
    con.execute("""CREATE TEMP TABLE __mf_judged (partition VARCHAR, has_champion BOOLEAN, outcome INTEGER, same BOOLEAN,
        skipped BOOLEAN, reason VARCHAR, note VARCHAR)""")
    columns = ", ".join(f"{column} DOUBLE" for column in _medians(metrics).values())
    con.execute(f"CREATE TEMP TABLE __mf_trained ({columns or 'none BOOLEAN'})")


def _medians(metrics: Sequence[str]) -> dict[str, str]:
    """The names of the totals that are medians over the trained models, and the columns they are of."""
    return {f"median_{p}{m}": f"{p}m{i}" for p in ("", "baseline_") for i, m in enumerate(metrics)}


def _judge(con: duckdb.DuckDBPyConnection, each: Sequence[Rule], mode: Mode, champion: str) -> None:
    """Judge the challengers in `ROWS`: their outcome, and the reason if they do not pass; keep what totals are made of."""
    held = "FALSE" if mode == "off" else "__mf_status = 'failed'"
    failing = " ".join(f"WHEN {rule.sql} IS NOT TRUE THEN {i}" for i, rule in enumerate(each))
    reasons = " ".join(f"WHEN {i} THEN {rule.why}" for i, rule in enumerate(each))
    con.execute(f"""
        INSERT INTO __mf_judged
        SELECT __mf_partition AS partition, __mf_has_champion AS has_champion, __mf_outcome AS outcome,
            __mf_same AS same, coalesce(__mf_trained_status = 'skipped', FALSE) AS skipped,
            CASE __mf_outcome
                WHEN {_UNTRAINED} THEN 'challenger ' || concat_ws(': ', coalesce(__mf_trained_status, 'without status'),
                    __mf_code, __mf_message)
                WHEN {_CHAMPION_FAILED} THEN {quoted(champion)} || CASE WHEN __mf_seen = 'failed'
                        THEN ' failed on this holdout' ELSE ' has no usable result on this holdout ('
                            || coalesce(left(__mf_seen, 40), 'no champion_status') || ')' END
                    || CASE WHEN __mf_has_champion THEN ': it is kept, whatever the rules say'
                        ELSE ', and has no model here now' END
                {reasons} END AS reason,
            CASE WHEN __mf_same THEN ''
                WHEN __mf_status = 'stored'
                    THEN '; the champion was trained on these rows: its metrics are those of its own training'
                WHEN __mf_status <> 'not_comparable' THEN ''
                WHEN __mf_seen = 'none' THEN '; not compared with the champion, which came after this training'
                ELSE '; not compared with the champion, which was trained on these rows' END AS note
        FROM (SELECT *, CASE WHEN __mf_trained_status IS DISTINCT FROM 'trained' THEN {_UNTRAINED}
                WHEN {held} THEN {_CHAMPION_FAILED} WHEN __mf_same THEN {_PASSED} {failing} ELSE {_PASSED}
                END AS __mf_outcome
            FROM (SELECT *, coalesce(__mf_seen = 'same' AND __mf_has_champion, FALSE) AS __mf_same FROM {ROWS}))""")


def _keep_trained(con: duckdb.DuckDBPyConnection, metrics: Sequence[str]) -> None:
    """Keep the numbers of the challengers in `ROWS` that were trained."""
    columns = ", ".join(_medians(metrics).values())
    con.execute(f"INSERT INTO __mf_trained SELECT {columns or 'TRUE'} FROM __mf_source WHERE status = 'trained'")


def _totals(con: duckdb.DuckDBPyConnection, metrics: Sequence[str]) -> dict[str, Total]:
    """The fleet's totals, with what passes counted as promoted; 0/0 is None."""
    counts = con.execute(f"""
        SELECT count(*), count(*) FILTER (outcome <> {_UNTRAINED}), count(*) FILTER (outcome = {_PASSED}),
            count(*) FILTER (outcome <> {_PASSED} AND has_champion) FROM __mf_judged""").fetchall()[0]
    expected, trained, promoted, kept = (int(c) for c in counts)
    skipped = int(one(con, "SELECT count(*) FROM __mf_judged WHERE skipped"))
    totals: dict[str, Total] = {
        "expected": expected,
        "trained": trained,
        "skipped": skipped,
        "failed": expected - trained - skipped,
        "promoted": promoted,
        "kept": kept,
        "rejected": expected - promoted - kept,
        "not_in_training": int(one(con, "SELECT count(*) FROM __mf_only")),
        "promoted_share": promoted / trained if trained else None,
        "trained_share": trained / expected,
    }
    columns = _medians(metrics)
    if columns:
        medians = ", ".join(f"__mf_finite(median({column}))" for column in columns.values())
        values = con.execute(f"SELECT {medians} FROM __mf_trained").fetchall()[0]
        totals |= dict(zip(columns, values, strict=True))
    return totals


def _judge_fleet(
    con: duckdb.DuckDBPyConnection, fleet: Sequence[Rule], judged: Mapping[str, Total]
) -> tuple[Rule | None, str]:
    """The first fleet rule that is not true, and why."""
    values = {name: value for name, value in judged.items() if name != "not_in_training"}
    columns, marks = ", ".join(map(identifier, values)), ", ".join("?" * len(values))
    con.execute(f"INSERT INTO {FLEET} ({columns}) VALUES ({marks})", list(values.values()))
    for rule in fleet:
        passed, why = con.execute(f"SELECT {rule.sql}, 'fleet rule ' || {rule.why} FROM {FLEET}").fetchall()[0]
        if passed is not True:
            return rule, str(why)
    return None, ""


def _decisions(
    con: duckdb.DuckDBPyConnection,
    each: Sequence[Rule],
    mode: Mode,
    failed: Rule | None,
    why: str,
    champion_interval: str | None,
) -> pa.Table:
    """The table `GateResult.decisions`; `failed` is the fleet rule that is not true, for the reason `why`."""
    promoted = {
        "enforce": "FALSE" if failed else f"outcome = {_PASSED}",
        "shadow": f"outcome NOT IN ({_UNTRAINED}, {_CHAMPION_FAILED})",
        "off": f"outcome = {_PASSED}",
    }[mode]
    prefix = "shadow: would not be promoted: " if mode == "shadow" else ""
    passing = prefix + why if failed else "the gate is off" if mode == "off" else _all_true(each)
    rule_texts = " ".join(f"WHEN {i} THEN {quoted(rule.text)}" for i, rule in enumerate(each))
    rule_of_passing = quoted(failed.text) if failed else "NULL"
    interval = "NULL" if champion_interval is None else quoted(champion_interval)
    query = f"""
        SELECT partition,
            CASE WHEN promoted THEN 'promoted' WHEN has_champion THEN 'kept' ELSE 'rejected' END AS decision,
            CASE outcome WHEN {_PASSED} THEN {rule_of_passing} {rule_texts} END AS rule,
            left(CASE WHEN same AND promoted THEN {quoted(_SAME)}
                WHEN outcome = {_PASSED} THEN {quoted(passing)} WHEN promoted THEN {quoted(prefix)} || reason
                ELSE reason END, {_REASON_LIMIT}) || CASE WHEN promoted THEN note ELSE '' END AS reason,
            {quoted(mode)} AS mode, CASE WHEN has_champion THEN {interval} END AS champion_interval
        FROM (SELECT *, {promoted} AS promoted FROM __mf_judged)
        UNION ALL
        SELECT partition, 'kept', NULL, 'not in this training', {quoted(mode)}, {interval} FROM __mf_only"""
    return con.sql(query).to_arrow_table().cast(DECISIONS)


def _all_true(each: Sequence[Rule]) -> str:
    if not each:
        return "no rules"
    return f"all {len(each)} rules are true" if len(each) > 1 else f"{shortened(each[0].text, 200)} is true"


def _final(decisions: pa.Table, judged: Mapping[str, Total]) -> dict[str, Total]:
    """The totals of what was decided: equal to `judged`, but where a fleet rule or the mode made a difference."""
    counts = {v["values"]: v["counts"] for v in pc.value_counts(decisions.column("decision")).to_pylist()}
    promoted, rejected, trained = counts.get("promoted", 0), counts.get("rejected", 0), judged["trained"]
    kept = counts.get("kept", 0) - (judged["not_in_training"] or 0)
    share = promoted / trained if trained else None
    return {**judged, "promoted": promoted, "kept": kept, "rejected": rejected, "promoted_share": share}
