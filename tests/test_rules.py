"""The language of gate rules: what is in it, what is refused and how that is said."""

from __future__ import annotations

import os

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfleet.rules import RuleError, check_rule, each_names, fleet_names, parse_rule

EACH = each_names("regression", ("pinball",), ("carrier", "Origin", "intl", "odd name"))
FLEET = fleet_names("classification")

ALLOWED = [
    "n_test >= 30",
    "mae < baseline.mae",
    "champion.mae IS NULL OR mae <= 1.02 * champion.mae",
    "mae < fallback.mae",
    "fallback.status = 'baseline' OR mae <= 0.98 * Fallback.MAE",
    "champion.status = 'stored'",
    "champion.status = 'none' OR champion.status IN ('failed', 'compared')",
    "mae BETWEEN 1 AND 2 AND bias NOT BETWEEN -1 AND 1",
    "CASE WHEN carrier = 'AA' THEN mae < 1 ELSE mae < 2 END",
    "coalesce(mae < champion.mae, false)",
    "abs(bias) <= 0.1 * round(baseline.mae, 2)",
    "(mae < 1) IS TRUE",
    "mae < 1 IS NOT TRUE",
    "MAE < Baseline.MAE and origin = 'JFK'",
    "\"odd name\" <> 'it''s; -- no comment'",
    "intl AND NOT (pinball > 3)",
    "carrier LIKE 'A%' or carrier not ilike 'b_'",
    "Origin >= DATE '2013-01-01'",
    "mae\n <\t1",
    "(" * 400 + "mae < 1" + ")" * 400,
    " AND ".join(["mae < 1"] * 80),
    " + ".join(["mae"] * 20) + " < 1",
    "true",
]

REFUSED = [
    ("", "is empty"),
    ("mae <= 1) or (true", "is not one SQL expression"),
    ("mae < 1 and", "is not one SQL expression"),
    ("1 < mae < 2", "Chained comparisons"),
    ("mae < 1; DROP TABLE x", "comments and ';'"),
    ("mae < 1;", "comments and ';'"),
    ("mae < 1 -- or more", "comments and ';'"),
    ("mae /* x */ < 1", "comments and ';'"),
    ("mae <= 1) or (select 1)=1 --", "comments and ';'"),
    ("mae\x00 < 1", "control characters"),
    ("mae < 1" + " " * 1000, "at most 1000"),
    ("- " * 400 + "mae < 1", "nested too deeply"),
    ("NOT " * 40 + "mae < 1", "nested too deeply"),
    ("((mae BETWEEN 1 AND 2) BETWEEN true AND true) IS TRUE", "nested too deeply"),
    ("mae < 1, mae < 2", "is not one expression"),
    ("mae < 1 AS passed", "is not one SQL expression"),
    ("mae < 1 FROM t", "clauses such as FROM"),
    ("mae < 1 WHERE true", "clauses such as FROM"),
    ("mae < 1 UNION SELECT true", "clauses such as FROM"),
    ("mae < 1 ORDER BY 1", "clauses such as FROM"),
    ("mae < 1 LIMIT 0", "clauses such as FROM"),
    ("mae < 1 QUALIFY true", "clauses such as FROM"),
    ("mae < 1 USING SAMPLE 1", "clauses such as FROM"),
    ("DISTINCT mae < 1", "clauses such as FROM"),
    ("ALL mae < 1", "is not one SQL expression"),
    ("(SELECT 1) = 1", "subquery is not allowed"),
    ("(FROM t)", "subquery is not allowed"),
    ("EXISTS (SELECT 1)", "subquery is not allowed"),
    ("mae < ANY ([1, 2])", "subquery is not allowed"),
    ("*", "star is not allowed"),
    ("columns('.*') < 1", "star is not allowed"),
    ("sum(mae) OVER () > 1", "window aggregate is not allowed"),
    ("count(*) > 1", "'count_star' is not allowed"),
    ("unnest([true, true])", "'unnest' is not allowed"),
    ("random() < 1", "'random' is not allowed"),
    ("current_setting('threads') = '1'", "'current_setting' is not allowed"),
    ("getenv('HOME') = ''", "'getenv' is not allowed"),
    ("list_transform([1], x -> x) = [1]", "is not allowed"),
    ("mae < $1", "parameter is not allowed"),
    ("mae < ?", "parameter is not allowed"),
    ("#1 < 2", "positional reference is not allowed"),
    ("mae[1] < 1", "array extract is not allowed"),
    ("try(mae) < 1", "try is not allowed"),
    ("carrier = 'a' COLLATE nocase", "collate is not allowed"),
    ("(mae < 1, mae < 2)", "'row' is not allowed"),
    ("main.abs(mae) < 1", "plain arguments only"),
    ("abs(DISTINCT mae) < 1", "plain arguments only"),
    ("abs(mae) FILTER (WHERE true) < 1", "plain arguments only"),
    ("mae::int < 1", "a cast is not allowed"),
    ("TRY_CAST(carrier AS int) < 1", "a cast is not allowed"),
    ("ln(mae) < 1", "'ln' is not allowed"),
    ("least(mae, 1) <= 1", "skips NULL, so a missing metric would pass"),
    ("mae", "the whole is not true or false"),
    ("intl", "the whole is not true or false"),
    ("mae + 1", "the whole is not true or false"),
    ("NULL", "the whole is not true or false"),
    ("'true'", "the whole is not true or false"),
    ("mae AND true", "AND, OR and NOT take"),
    ("NOT n_test", "AND, OR and NOT take"),
    ("mae < 'high'", "Could not convert string 'high'"),
    ("mae < 1 AND (mae > 5 OR mae < 'high')", "Could not convert string 'high'"),
    ("coalesce(mae, 'none') < 3", "Could not convert string 'none'"),
    ("champion.status < 3", "Cannot compare"),
    ("mae < 1 AND champion.status IS TRUE", "a cast is not allowed"),
    ("current_date = '2013-01-01'", "unknown name 'current_date'"),
    ("maee < 1", r"unknown name 'maee'; allowed: mae, rmse, .* and \d+ more \(did you mean 'mae'\?\)"),
    ("baseline.maee < 1", "did you mean 'baseline.mae'"),
    ("champion IS NULL", "write champion.status"),
    ("fallback IS NULL", "write fallback.status"),
    ("fallback.maee < 1", "did you mean 'fallback.mae'"),
    ("fallback.status < 3", "Cannot compare"),
    ("champion.mae.x < 1", "unknown name 'champion.mae.x'"),
    ("mae = infinity", "NaN and infinity are NULL"),
    ("accuracy > 0.5", "unknown name 'accuracy'"),
    ("promoted_share > 0.5", "unknown name 'promoted_share'"),
]


@pytest.mark.parametrize("rule", ALLOWED)
def test_rule_in_the_language_is_accepted(rule: str) -> None:
    assert parse_rule(rule, EACH).text == rule
    parse_rule(rule)


@pytest.mark.parametrize("rule, message", REFUSED, ids=[rule[:40] for rule, _ in REFUSED])
def test_rule_outside_the_language_is_refused(rule: str, message: str) -> None:
    with pytest.raises(RuleError, match=message) as caught:
        check_rule(rule, EACH)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).startswith("rule ")


def test_rule_gives_the_names_it_uses_as_they_are_declared() -> None:
    assert set(parse_rule("MAE < champion.MAE or ORIGIN = 'JFK'", EACH).names) == {"mae", "champion.mae", "Origin"}


@pytest.mark.parametrize(
    "rule", ["promoted_share >= 0.6", "trained + skipped + failed = expected", "median_brier < median_baseline_brier"]
)
def test_fleet_rule_uses_totals(rule: str) -> None:
    check_rule(rule, FLEET)


@pytest.mark.parametrize(
    "rule", ["mase < 1 AND mase < baseline.mase", "pinball < fallback.pinball", "coverage BETWEEN 0.75 AND 0.85"]
)
def test_rules_of_a_forecast_use_its_metrics(rule: str) -> None:
    check_rule(rule, each_names("forecast"))
    with pytest.raises(RuleError, match="unknown name"):
        check_rule(rule, each_names("classification"))


@pytest.mark.parametrize("rule", ["accuracy > 0.5", "champion.accuracy > 0.5", "fallback.mae < 1", "median_mae < 1"])
def test_fleet_rule_does_not_use_metrics_of_one_model(rule: str) -> None:
    with pytest.raises(RuleError, match="unknown name"):
        check_rule(rule, FLEET)


def test_dotted_key_column_is_not_taken_for_a_metric_of_the_champion() -> None:
    names = each_names("regression", (), ("champion.depth",))
    check_rule("\"champion.depth\" = 'x'", names)
    with pytest.raises(RuleError, match="unknown name"):
        check_rule("champion.depth = 'x'", names)


def test_forked_process_parses_with_a_database_of_its_own() -> None:
    check_rule("mae < 1", EACH)
    child = os.fork()
    if child == 0:
        try:
            check_rule("mae < baseline.mae", EACH)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


SIMPLE = [
    "mae < 1",
    "n_test >= 30",
    "mae IS NULL",
    "champion.status = 'x'",
    "champion.mae / mae IN (1, 2)",
    "abs(-mae) > 0",
]
TRUTHS = st.recursive(
    st.sampled_from(SIMPLE),
    lambda inner: st.tuples(
        inner,
        inner,
        st.sampled_from(
            ["{} AND {}", "({}) OR {}", "NOT ({}) AND ({})", "CASE WHEN {} THEN {} END", "coalesce({}, {})"]
        ),
    ).map(lambda parts: parts[2].format(parts[0], parts[1])),
    max_leaves=5,
)
HOSTILE = """||)|(|) OR (true|--|/*|;|'|"|,|$$|*| AS x| x| FROM rows| WHERE false|, rows| UNION ALL SELECT true
    |SELECT | LIMIT 1    |unnest([true, false]) AND |DISTINCT |random() < 1 OR
    |(SELECT true) AND | ORDER BY mae| IS TRUE"""


@pytest.fixture(scope="module")
def three_rows() -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(":memory:", config={"threads": 1})
    database.execute(
        "CREATE TABLE rows AS SELECT mae::DOUBLE AS mae, 30::BIGINT AS n_test, "
        "{mae: mae::DOUBLE, status: 'compared'} AS champion FROM (VALUES (1.5), (NULL), (0.0)) t(mae)"
    )
    return database


@settings(deadline=None)
@given(truth=TRUTHS, hostile=st.sampled_from(HOSTILE.split("|")), place=st.floats(0, 1))
def test_accepted_rule_gives_one_truth_per_row_wherever_it_is_pasted(
    three_rows: duckdb.DuckDBPyConnection, truth: str, hostile: str, place: float
) -> None:
    cut = round(place * len(truth))
    rule = truth[:cut] + hostile + truth[cut:]
    try:
        check_rule(rule, EACH)
    except RuleError:
        assert hostile, "a rule of allowed parts was refused"
        return
    pasted = three_rows.execute(f"SELECT ({rule}) IS TRUE, 7 FROM rows").fetchall()
    assert len(pasted) == 3
    assert all(isinstance(passed, bool) and seven == 7 for passed, seven in pasted)
