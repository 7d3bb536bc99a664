"""The promotion gate against a plain evaluator of its rules, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from promotion_bench import BETTER, INF, NAN, TYPES, champion_fleet, judge, model_rows

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
    "champion.status = 'stored' OR mae < fallback.mae": lambda r: either(
        r["champion_status"] == "stored", negation(ordered(r["fallback_mae"], r["mae"]))
    ),
    "r2 BETWEEN 0 AND 1": lambda r: None if r["r2"] is None else 0 <= r["r2"] <= 1,
    "CASE WHEN mae IS NULL THEN n_test = 0 ELSE mae <= 1 END": lambda r: (
        ordered(r["mae"], 1) if r["mae"] is not None else ordered(r["n_test"], 0)
    ),
}
ROWS = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["trained", "trained", "skipped", "failed"]),
        "champion_status": st.sampled_from(["none", "compared", "stored", "not_comparable", "failed"]),
        "n_test": st.none() | st.sampled_from([0, 29, 30]),
        **dict.fromkeys(TYPES, VALUES),
    }
)


def plain_decision(given_row: Row, each: list[str], has_champion: bool) -> tuple[str, str | None]:
    row = {name: finite(value) if name in TYPES else value for name, value in given_row.items()}
    fallback = "kept" if has_champion else "rejected"
    if row["status"] != "trained" or row["champion_status"] == "failed":
        return fallback, None
    unknown = row["champion_mae"] is None and row["champion_r2"] is None
    if row["champion_status"] == "compared" and unknown:
        return fallback, None
    if (row["champion_status"] == "stored" and unknown) or (row["champion_status"] == "none" and has_champion):
        row["champion_status"] = "not_comparable"
    if row["champion_status"] not in ("compared", "stored"):
        row |= {"champion_mae": None, "champion_r2": None}
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
