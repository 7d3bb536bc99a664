"""The promotion gate: every decision, every way to fail closed, and DuckDB's traps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.errors import DataError, SpecError
from modelfleet.promotion import DECISIONS, GateResult, decide
from modelfleet.spec.gate import Gate

NAN, INF = math.nan, math.inf
BETTER = "champion.mae IS NULL OR mae <= 1.02 * champion.mae"
DEFAULT = {
    "carrier": "AA",
    "status": "trained",
    "reason": None,
    "message": None,
    "n_train": 100,
    "n_test": 50,
    "n_rows": 150,
    "mae": 1.0,
    "r2": 0.5,
    "baseline_mae": 2.0,
    "baseline_r2": 0.0,
    "baseline_status": "ok",
    "champion_mae": None,
    "champion_r2": None,
    "champion_status": "none",
}
TYPES = dict.fromkeys(("mae", "r2", "baseline_mae", "baseline_r2", "champion_mae", "champion_r2"), pa.float64())
COMPARED = {"champion_status": "compared", "champion_mae": 1.0, "champion_r2": 0.5}


def model_rows(*changes: dict[str, Any], **columns: Any) -> pa.Table:
    """Model rows that pass usual rules but for `changes`; partitions are p0, p1 ... unless given."""
    rows = [{"partition": f"p{i}", **DEFAULT, **change} for i, change in enumerate(changes)]
    texts = dict.fromkeys(("partition", "carrier", "status", "reason", "message", "baseline_status", "champion_status"))
    types = {name: TYPES.get(name, pa.string() if name in texts else pa.int64()) for name in rows[0]}
    return pa.table({name: pa.array([row[name] for row in rows], types[name]) for name in rows[0]})


def champion_fleet(**status: str) -> pa.Table:
    return pa.table({"partition": list(status), "status": list(status.values())})


def judge(
    challengers: pa.Table, *each: str, fleet: tuple[str, ...] = (), champions: pa.Table | None = None, **others: Any
) -> GateResult:
    mode = others.pop("mode", "enforce")
    options: dict[str, Any] = {
        "metrics": ("mae", "r2"),
        "key_columns": ("carrier",),
        "challenger_interval": "2013-09-30",
    }
    if champions is not None:
        options |= {"champion_version": 3, "champion_interval": "2013-08-31"}
    # model_construct: the gate checks rules itself, whatever the spec let through.
    gate = Gate.model_construct(each=each, fleet=fleet, mode=mode)
    return decide(gate, challengers, champions, **{**options, **others})


def only(result: GateResult) -> dict[str, Any]:
    rows = result.decisions.to_pylist()
    assert len(rows) == 1
    return dict(rows[0])


# --- one partition


@pytest.mark.parametrize(
    "change, each, has_champion, decision, rule, reason",
    [
        pytest.param({}, (), False, "promoted", None, "no rules", id="no rules"),
        pytest.param({}, ("mae < 2",), False, "promoted", None, "mae < 2 is true", id="one rule true"),
        pytest.param({}, ("mae < 2", BETTER), False, "promoted", None, "all 2 rules are true", id="all rules true"),
        pytest.param(
            {"mae": 12.3, "baseline_mae": 11.9},
            ("n_test >= 30", "mae < baseline.mae", "r2 > 1"),
            False,
            "rejected",
            "mae < baseline.mae",
            "mae < baseline.mae is false: mae=12.3, baseline.mae=11.9",
            id="the first rule that fails decides",
        ),
        pytest.param({}, ("mae < 1",), True, "kept", "mae < 1", "mae < 1 is false: mae=1", id="champion kept"),
        pytest.param(
            {"n_test": 0, "mae": None},
            ("mae < 10 AND n_test > 0 OR mae < 5",),
            False,
            "rejected",
            "mae < 10 AND n_test > 0 OR mae < 5",
            "mae < 10 AND n_test > 0 OR mae < 5 is NULL: mae is missing, n_test=0",
            id="values in the order of the rule, once",
        ),
        pytest.param(
            {"status": "skipped", "reason": "too_few_rows", "message": "3 rows, 30 needed"},
            (),
            True,
            "kept",
            None,
            "challenger skipped: too_few_rows: 3 rows, 30 needed",
            id="skipped with champion",
        ),
        pytest.param(
            {"status": "failed", "reason": "fit_raised"},
            ("mae < 2",),
            False,
            "rejected",
            None,
            "challenger failed: fit_raised",
            id="failed without champion, whose metrics would pass",
        ),
        pytest.param({"status": None}, (), False, "rejected", None, "challenger without status", id="no status"),
        pytest.param(
            {"champion_status": "failed"},
            ("mae < 2",),
            True,
            "kept",
            None,
            "champion version 3 (2013-08-31) failed on this holdout: it is kept, whatever the rules say",
            id="champion failed",
        ),
        pytest.param(
            {"champion_status": "not_comparable"},
            (BETTER,),
            True,
            "promoted",
            None,
            f"{BETTER} is true; not compared with the champion, which was trained on these rows",
            id="champion not comparable",
        ),
        pytest.param(
            {"champion_status": "none"},
            ("champion.status = 'not_comparable'",),
            True,
            "promoted",
            None,
            "'not_comparable' is true; not compared with the champion, which came after this training",
            id="champion came after the training",
        ),
        pytest.param(
            {}, ("champion.status = 'none'",), False, "promoted", None, "is true", id="no champion is a status"
        ),
        pytest.param(COMPARED, ("champion.status = 'compared'",), True, "promoted", None, "is true", id="compared"),
        pytest.param(
            {}, ("baseline.status = 'ok' AND carrier LIKE 'A%'",), False, "promoted", None, "true", id="texts and keys"
        ),
        pytest.param({}, ("MAE < Baseline.MAE",), False, "promoted", None, "is true", id="case does not matter"),
        pytest.param(
            {"carrier": "x" * 99},
            ("CARRIER = 'B6'",),
            False,
            "rejected",
            "CARRIER = 'B6'",
            f"CARRIER = 'B6' is false: carrier={'x' * 40}",
            id="a long value is cut",
        ),
    ],
)
def test_one_partition_gets_its_decision(
    change: dict[str, Any], each: tuple[str, ...], has_champion: bool, decision: str, rule: str | None, reason: str
) -> None:
    champions = champion_fleet(p0="trained") if has_champion else None
    got = only(judge(model_rows(change), *each, champions=champions))
    assert (got["decision"], got["rule"]) == (decision, rule)
    assert got["reason"].endswith(reason)
    assert got["champion_interval"] == ("2013-08-31" if has_champion else None)


# --- failing closed


@pytest.mark.parametrize(
    "change, rule",
    [
        pytest.param({"r2": NAN}, "r2 >= 0.5", id="NaN sorts above everything"),
        pytest.param({"r2": INF}, "r2 >= 0.5", id="infinity"),
        pytest.param({"mae": -INF}, "mae <= 1", id="minus infinity"),
        pytest.param({"r2": None}, "r2 >= 0.5", id="null"),
        pytest.param({**COMPARED, "champion_mae": NAN}, "mae <= 1.02 * champion.mae", id="champion's NaN"),
        pytest.param({"baseline_mae": NAN}, "mae < baseline.mae", id="baseline's NaN"),
        pytest.param({"mae": NAN}, "NOT mae > 5", id="negation of NULL"),
        pytest.param({"mae": 0.0, "baseline_mae": 0.0}, "mae / baseline.mae >= 0", id="0/0 of the rule's own"),
        pytest.param({"baseline_mae": 0.0}, "mae / baseline.mae >= 0", id="1/0 of the rule's own"),
        pytest.param({"mae": 1e308}, "mae * 10 - mae * 10 >= 0", id="overflow of the rule's own"),
        pytest.param({"mae": 0.0}, "1 % mae >= 0", id="remainder of zero"),
        pytest.param({"mae": 1e308}, "abs(mae * 10) >= 0", id="overflow inside a function"),
        pytest.param({"n_test": 2**62}, "n_test + n_test > n_rows", id="an integer overflow raises in DuckDB"),
        pytest.param({}, "NULL IS NOT NULL", id="constant"),
        pytest.param({"carrier": None}, "carrier <> 'AA'", id="null key"),
    ],
)
def test_a_rule_that_is_not_true_promotes_nothing(change: dict[str, Any], rule: str) -> None:
    got = only(judge(model_rows(change), rule))
    assert (got["decision"], got["rule"]) == ("rejected", rule)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"champion_status": "failed"}, id="failed"),
        pytest.param({"champion_status": "failed", "champion_mae": 9.0}, id="failed with a leftover metric"),
        pytest.param({**COMPARED, "champion_mae": NAN, "champion_r2": NAN}, id="compared without one usable metric"),
        pytest.param({"champion_status": None}, id="no status though there is a champion"),
        pytest.param({"champion_status": "Compared", "champion_mae": 9.0}, id="unknown status"),
    ],
)
@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_champion_that_could_not_be_evaluated_is_kept(change: dict[str, Any], mode: str) -> None:
    got = only(judge(model_rows(change), BETTER, champions=champion_fleet(p0="trained"), mode=mode))
    assert (got["decision"], got["rule"]) == ("kept", None)
    assert got["reason"].startswith("champion version 3 (2013-08-31) ")
    assert got["reason"].endswith("it is kept, whatever the rules say")


def test_champion_that_failed_and_is_gone_holds_the_challenger_back() -> None:
    got = only(judge(model_rows({"champion_status": "failed"}), "mae < 2"))
    assert got["decision"] == "rejected"
    assert got["reason"] == "the champion failed on this holdout, and has no model here now"


def test_metric_column_that_is_missing_is_null() -> None:
    got = only(judge(model_rows({}), "own < 1 OR champion.own < 1", metrics=("mae", "own")))
    assert got["reason"].endswith("is NULL: own is missing, champion.own is missing")


@pytest.mark.parametrize(
    "rule",
    [
        "mae <= 1) or (true",
        "mae <= 1; DROP TABLE __mf_source",
        "unnest([true, true])",
        "random() < 2",
        "current_setting('threads') = '1'",
        "(SELECT true)",
        "EXISTS (SELECT 1 FROM __mf_source)",
        "mae <= 1, true",
        "true AS promoted",
        "true FROM __mf_source",
        "true WHERE true",
        "mae <= 1 -- and n_test > 30",
        "count(*) > 0",
        "max(mae) OVER () > 0",
        "read_text('/etc/passwd') IS NOT NULL",
        "getenv('HOME') <> ''",
        "__mf_has_champion OR true",
        "__mf_finite(mae) < 9",
        "partition = 'p0'",
        "champion IS NULL",
        "other < 1",
        "mae",
        "1",
        "'true'",
        "",
        " ",
        "mae <",
        "mae = 'x'",
        "mae <= $1",
        "mae <= 1 \x00",
    ],
)
@pytest.mark.parametrize("part", ["each", "fleet"])
def test_rule_that_is_not_one_expression_of_the_language_promotes_nothing(rule: str, part: str) -> None:
    with pytest.raises(SpecError, match=rf"gate\.{part}\[1\]: got (.|\n)*nothing was promoted") as caught:
        judge(
            model_rows({}), *(("true", rule) if part == "each" else ()), fleet=("true", rule) if part == "fleet" else ()
        )
    assert not caught.value.retryable


def test_values_with_quotes_stay_values() -> None:
    text = "o'Hare\"); DROP TABLE x; --"
    rows = model_rows({"partition": text, "carrier": text, "status": "failed", "message": text})
    assert only(judge(rows, "carrier = 'it''s'"))["reason"] == f"challenger failed: {text}"
    got = only(judge(model_rows({"carrier": text}), "carrier = 'it''s'"))
    assert got["reason"] == f"carrier = 'it''s' is false: carrier={text}"
    assert got["rule"] == "carrier = 'it''s'"


def test_names_with_quotes_stay_names() -> None:
    rows = model_rows({}).append_column('a"; b', pa.array(["x"]))
    assert only(judge(rows, '"a""; b" = \'x\'', key_columns=('a"; b',)))["decision"] == "promoted"


@pytest.mark.parametrize(
    "make, match",
    [
        pytest.param(lambda: judge(model_rows({}).slice(0, 0)), "training of 2013-09-30 has no model rows", id="empty"),
        pytest.param(
            lambda: judge(model_rows({"partition": "a"}, {"partition": "b"}, {"partition": "a"})),
            "1 partitions appear more than once: 'a'",
            id="duplicate partitions",
        ),
        pytest.param(
            lambda: judge(model_rows({"partition": None})), "1 of 1 rows have no partition", id="no partition"
        ),
        pytest.param(
            lambda: judge(
                model_rows({}), champions=pa.table({"partition": ["p", "p"], "status": ["trained", "failed"]})
            ),
            "champion index: 1 partitions appear more than once",
            id="duplicate champions",
        ),
        pytest.param(
            lambda: judge(model_rows({}), champions=pa.table({"partition": ["p"]})),
            "champion index: 0 columns named 'status'",
            id="champions without status",
        ),
        pytest.param(
            lambda: judge(model_rows({}).drop_columns(["status"])), "0 columns named 'status'", id="rows without status"
        ),
        pytest.param(
            lambda: judge(model_rows({}), key_columns=("dest",)), "0 columns named 'dest'", id="key column missing"
        ),
        pytest.param(
            lambda: judge(model_rows({}).append_column("own", pa.array(["low"])), metrics=("own",)),
            "column 'own' is of type string",
            id="metric that is text",
        ),
        pytest.param(
            lambda: judge(model_rows({}), metrics=("mae", "MAE")), "names ignore case: 'MAE', 'mae'", id="case"
        ),
        pytest.param(
            lambda: judge(model_rows({}), key_columns=("Champion",)), "clash in rules", id="key named champion"
        ),
        pytest.param(
            lambda: judge(model_rows({}), champion_version=3),
            "champion version 3 is named without its index",
            id="no index",
        ),
    ],
)
def test_tables_that_cannot_be_decided_on_are_refused(make: Callable[[], object], match: str) -> None:
    with pytest.raises(DataError, match=match):
        make()


# --- the fleet


def fleet_of_five(**options: Any) -> GateResult:
    rows = model_rows(
        {}, {"mae": 9.0}, {"mae": NAN, **COMPARED}, {"status": "skipped"}, {"status": "failed", "mae": None}
    )
    champions = champion_fleet(p2="trained", p3="trained", p4="skipped", gone="trained", never="failed")
    return judge(rows, "mae < baseline.mae", champions=champions, **options)


COUNTS = {"expected": 5, "trained": 3, "skipped": 1, "failed": 1, "not_in_training": 1}


def test_totals_add_up_and_partitions_only_the_champion_has_are_kept() -> None:
    result = fleet_of_five(
        fleet=("promoted = 1 AND kept = 2 AND rejected = 2 AND median_mae = 5 AND trained_share = 0.6",)
    )
    assert result.passed
    assert result.totals == result.judged
    shares = {"promoted_share": 1 / 3, "trained_share": 0.6}
    medians = {"median_mae": 5.0, "median_r2": 0.5, "median_baseline_mae": 2.0, "median_baseline_r2": 0.0}
    assert result.totals == {**COUNTS, "promoted": 1, "kept": 2, "rejected": 2, **shares, **medians}
    assert result.decisions.schema == DECISIONS
    decided = dict(zip(*(result.decisions.column(c).to_pylist() for c in ("partition", "decision")), strict=True))
    assert decided == {"p0": "promoted", "p1": "rejected", "p2": "kept", "p3": "kept", "p4": "rejected", "gone": "kept"}
    assert result.decisions.to_pylist()[-1]["reason"] == "not in this training"


@pytest.mark.parametrize(
    "rule, values",
    [
        ("promoted_share >= 0.6", "is false: promoted_share=0.33333333"),
        ("median_mae < median_baseline_mae", "is false: median_mae=5, median_baseline_mae=2"),
        ("failed = 0", "is false: failed=1"),
    ],
)
def test_fleet_rule_that_fails_promotes_nothing(rule: str, values: str) -> None:
    result = fleet_of_five(fleet=("trained > 0", rule))
    assert (result.passed, result.failed_fleet_rule) == (False, rule)
    assert (result.totals["promoted"], result.judged["promoted"]) == (0, 1)
    first, second = result.decisions.to_pylist()[:2]
    assert (first["decision"], first["rule"]) == ("rejected", rule)
    assert first["reason"] == f"fleet rule {rule} {values}"
    assert second["rule"] == "mae < baseline.mae"
    assert "promoted" not in result.decisions.column("decision").to_pylist()


def test_fleet_rule_over_nothing_trained_fails_closed() -> None:
    result = judge(model_rows({"status": "failed"}), fleet=("promoted_share >= 0 OR median_mae >= 0",))
    assert (result.totals["promoted_share"], result.totals["median_mae"], result.passed) == (None, None, False)


def test_fleet_rule_that_fails_keeps_the_champion() -> None:
    champions = champion_fleet(p0="trained")
    assert only(judge(model_rows(COMPARED), fleet=("promoted > 1",), champions=champions))["decision"] == "kept"


def test_shadow_records_what_rules_say_and_promotes_what_is_trained() -> None:
    result = fleet_of_five(fleet=("promoted_share >= 0.6",), mode="shadow")
    assert (result.passed, result.failed_fleet_rule) == (True, "promoted_share >= 0.6")
    assert (result.totals["promoted"], result.judged["promoted"]) == (3, 1)
    rows = result.decisions.to_pylist()
    assert [row["decision"] for row in rows] == ["promoted", "promoted", "promoted", "kept", "rejected", "kept"]
    assert [row["rule"] for row in rows] == ["promoted_share >= 0.6", *["mae < baseline.mae"] * 2, None, None, None]
    prefix = "shadow: would not be promoted: "
    assert rows[0]["reason"] == f"{prefix}fleet rule promoted_share >= 0.6 is false: promoted_share=0.33333333"
    assert rows[1]["reason"] == f"{prefix}mae < baseline.mae is false: mae=9, baseline.mae=2"
    assert {row["mode"] for row in rows} == {"shadow"}


def test_off_evaluates_no_rule_and_promotes_what_is_trained() -> None:
    result = fleet_of_five(fleet=("not even SQL",), mode="off")
    rows = result.decisions.to_pylist()
    assert [row["decision"] for row in rows] == ["promoted", "promoted", "promoted", "kept", "rejected", "kept"]
    assert {row["rule"] for row in rows} == {None}
    assert rows[0]["reason"] == "the gate is off"
    assert (result.passed, result.failed_fleet_rule) == (True, None)


def test_off_promotes_over_a_champion_that_failed() -> None:
    rows = model_rows({"champion_status": "failed"})
    assert only(judge(rows, champions=champion_fleet(p0="trained"), mode="off"))["decision"] == "promoted"


def test_reasons_are_bounded() -> None:
    rows = model_rows({"status": "failed", "message": "x" * 5000})
    assert len(only(judge(rows))["reason"]) == 500
    long = " AND ".join(["mae < 0.123456789"] * 40)
    got = only(judge(model_rows({}), long))
    assert got["rule"] == long
    assert len(got["reason"]) < 300
    names = [f"m{i}" for i in range(20)]
    wide = only(judge(model_rows({}), " + ".join(names) + " < 1", metrics=names))
    assert wide["reason"].endswith("m7 is missing, and 12 more")


@pytest.mark.parametrize(
    "values, rule",
    [
        pytest.param(pa.array(["AA", None]).dictionary_encode(), "carrier <> 'ZZ'", id="dictionary"),
        pytest.param(pa.array([2**62, None]), "carrier = 4611686018427387904", id="int"),
        pytest.param(pa.array([True, None]), "carrier = true", id="bool"),
        pytest.param(pa.array([0, None], pa.int32()).cast(pa.date32()), "carrier = DATE '1970-01-01'", id="date"),
        pytest.param(pa.array(["AA", None], pa.large_string()), "carrier IN ('AA', 'B6')", id="large string"),
        pytest.param(pa.nulls(2), "carrier = 'AA' OR n_test > 10 AND mae < 2 AND partition_is <> 'x'", id="all null"),
    ],
)
def test_key_columns_of_every_type_can_be_named(values: pa.Array, rule: str) -> None:
    rule = rule.replace(" AND partition_is <> 'x'", "")
    rows = model_rows({}, {}).drop_columns(["carrier"]).append_column("carrier", values)
    decided = judge(rows, rule).decisions.column("decision").to_pylist()
    assert decided == (["promoted"] * 2 if pa.types.is_null(values.type) else ["promoted", "rejected"])


# --- against a plain evaluator

VALUES = st.sampled_from([None, NAN, INF, -INF, 0.0, 1.0, 2.0, 1e308, -1e308]) | st.floats(0, 3)
Row = dict[str, Any]
Truth = bool | None


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def ordered(left: float | None, right: float | None) -> Truth:
    return None if left is None or right is None else left <= right


def ratio(left: float | None, right: float | None) -> float | None:
    return None if left is None or not right else finite(left / right)


def either(left: Truth, right: Truth) -> Truth:
    return True if True in (left, right) else None if None in (left, right) else False


def negation(value: Truth) -> Truth:
    return None if value is None else not value


def times(factor: float, value: float | None) -> float | None:
    return None if value is None else finite(factor * value)


RULES: dict[str, Callable[[Row], Truth]] = {
    "mae <= baseline.mae": lambda r: ordered(r["mae"], r["baseline_mae"]),
    BETTER: lambda r: either(r["champion_mae"] is None, ordered(r["mae"], times(1.02, r["champion_mae"]))),
    "NOT baseline.mae <= mae": lambda r: negation(ordered(r["baseline_mae"], r["mae"])),
    "mae / baseline.mae >= 0.5": lambda r: ordered(0.5, ratio(r["mae"], r["baseline_mae"])),
    "30 <= n_test OR r2 >= 0.5": lambda r: either(ordered(30, r["n_test"]), ordered(0.5, r["r2"])),
    "champion.status IN ('none', 'compared')": lambda r: r["champion_status"] in ("none", "compared"),
    "r2 BETWEEN 0 AND 1": lambda r: None if r["r2"] is None else 0 <= r["r2"] <= 1,
    "CASE WHEN mae IS NULL THEN n_test = 0 ELSE mae <= 1 END": lambda r: (
        ordered(r["mae"], 1) if r["mae"] is not None else ordered(r["n_test"], 0)
    ),
}
ROWS = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["trained", "trained", "skipped", "failed"]),
        "champion_status": st.sampled_from(["none", "compared", "not_comparable", "failed"]),
        "n_test": st.none() | st.sampled_from([0, 29, 30]),
        **dict.fromkeys(TYPES, VALUES),
    }
)


def plain_decision(given_row: Row, each: list[str], has_champion: bool) -> tuple[str, str | None]:
    row = {name: finite(value) if name in TYPES else value for name, value in given_row.items()}
    fallback = "kept" if has_champion else "rejected"
    if row["status"] != "trained" or row["champion_status"] == "failed":
        return fallback, None
    if row["champion_status"] == "compared" and row["champion_mae"] is None and row["champion_r2"] is None:
        return fallback, None
    if row["champion_status"] != "compared":
        row |= {"champion_mae": None, "champion_r2": None}
    if row["champion_status"] == "none" and has_champion:
        row["champion_status"] = "not_comparable"
    failing = next((rule for rule in each if RULES[rule](row) is not True), None)
    return (fallback, failing) if failing else ("promoted", None)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(ROWS, st.booleans()), min_size=1, max_size=24),
    st.lists(st.sampled_from(sorted(RULES)), max_size=3, unique=True),
)
def test_decisions_equal_those_of_a_plain_evaluator(rows: list[tuple[Row, bool]], each: list[str]) -> None:
    champions = champion_fleet(**{f"p{i}": "trained" for i, (_, has_champion) in enumerate(rows) if has_champion})
    result = judge(model_rows(*(row for row, _ in rows)), *each, champions=champions)
    got = [(row["decision"], row["rule"]) for row in result.decisions.to_pylist()]
    assert got == [plain_decision(row, each, has_champion) for row, has_champion in rows]
    assert sum(result.totals[name] or 0 for name in ("promoted", "kept", "rejected")) == len(rows)


def test_a_hundred_thousand_rows_keep_their_order() -> None:
    n = 100_000
    mae, base = np.random.default_rng(7).random((2, n))
    mae[::100] = NAN
    partitions = pa.array([f"carrier=C{i % 50}/dest=D{i}" for i in range(n)])
    rows = pa.table({"partition": partitions, "status": ["trained"] * n, "mae": mae, "baseline_mae": base})
    champions = pa.table({"partition": partitions[::2], "status": ["trained"] * (n // 2)})
    rows = rows.append_column("champion_status", pa.array(["not_comparable"] * n))
    result = judge(rows, "mae < baseline.mae", champions=champions, metrics=("mae",), key_columns=())
    assert result.decisions.column("partition").combine_chunks().equals(partitions)
    promoted = mae < base
    fallback = np.where(np.arange(n) % 2 == 0, "kept", "rejected")
    assert (result.decisions.column("decision").to_numpy() == np.where(promoted, "promoted", fallback)).all()
    assert result.totals["promoted"] == int(promoted.sum())
