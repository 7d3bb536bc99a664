"""The promotion gate on one partition: every decision, every way to fail closed, and DuckDB's traps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from modelfleet.errors import DataError, SpecError
from promotion_bench import BETTER, COMPARED, INF, NAN, champion_fleet, judge, model_rows, only


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
            {**COMPARED, "champion_status": "stored"},
            (BETTER,),
            True,
            "promoted",
            None,
            f"{BETTER} is true; the champion was trained on these rows: its metrics are those of its own training",
            id="champion by its own training",
        ),
        pytest.param(
            {**COMPARED, "champion_status": "stored", "champion_mae": 0.5},
            ("mae <= 1.02 * champion.mae",),
            True,
            "kept",
            "mae <= 1.02 * champion.mae",
            "mae <= 1.02 * champion.mae is false: mae=1, champion.mae=0.5",
            id="champion better in its own training",
        ),
        pytest.param(
            {"champion_status": "stored"},
            ("champion.status = 'not_comparable'",),
            True,
            "promoted",
            None,
            "is true; not compared with the champion, which was trained on these rows",
            id="champion without one metric of its own",
        ),
        pytest.param(
            {"fallback_status": "item", "fallback_mae": 0.9},
            ("mae < fallback.mae",),
            False,
            "rejected",
            "mae < fallback.mae",
            "mae < fallback.mae is false: mae=1, fallback.mae=0.9",
            id="no better than its fallback",
        ),
        pytest.param(
            {"fallback_status": "item"},
            ("fallback.status = 'item' AND mae < fallback.mae",),
            False,
            "promoted",
            None,
            "is true",
            id="better than its fallback",
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


@pytest.mark.parametrize(
    "change, rule",
    [
        pytest.param({"r2": NAN}, "r2 >= 0.5", id="NaN sorts above everything"),
        pytest.param({"r2": INF}, "r2 >= 0.5", id="infinity"),
        pytest.param({"mae": -INF}, "mae <= 1", id="minus infinity"),
        pytest.param({"r2": None}, "r2 >= 0.5", id="null"),
        pytest.param({**COMPARED, "champion_mae": NAN}, "mae <= 1.02 * champion.mae", id="champion's NaN"),
        pytest.param({"baseline_mae": NAN}, "mae < baseline.mae", id="baseline's NaN"),
        pytest.param({"fallback_mae": None}, "mae < fallback.mae", id="fallback's null"),
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
