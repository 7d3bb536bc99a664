"""What a backtest says of itself: the verdict, whichever way it falls."""

from __future__ import annotations

import math
from typing import Any

import pytest

from modelfleet.backtesting.report import fold_table, overview, verdict
from modelfleet.backtesting.results import FoldSummary, Summary


def summary(**changes: Any) -> Summary:
    fold = FoldSummary("2024-03-31", 9, 1, 0, 63, error=0.2, baseline=0.25, skill=0.2, coverage=0.8)
    given: dict[str, Any] = {
        "metric": "wape",
        "to": "2024-04-14",
        "partitions": 10,
        "compared": 63,
        "error": 0.2,
        "baseline": 0.25,
        "skill": 0.2,
        "better": 0.6,
        "equal": 0.1,
        "worse": 0.3,
        "coverage": 0.79,
        "baseline_coverage": 0.9,
        "claimed": 0.8,
        "folds": (fold,),
        "sources": {"model": 56, "baseline": 7},
        "candidates": {"ridge": 9},
    }
    return Summary(**{**given, **changes})


VERDICTS = {
    "better": (
        {},
        "note",
        "the fleet beats its baseline by 20.0%: median wape 0.2, the baseline's 0.25; better in 60.0%",
    ),
    "worse": ({"error": 0.3, "skill": -0.2}, "problem", "the fleet does not beat its baseline: median wape 0.3"),
    "equal": ({"error": 0.25, "skill": 0.0}, "problem", "the fleet does not beat its baseline"),
    "unknown": ({"error": math.nan, "skill": math.nan}, "problem", "the fleet's wape is not known in any partition"),
}


@pytest.mark.parametrize("changes, level, text", VERDICTS.values(), ids=VERDICTS.keys())
def test_the_verdict_says_plainly_whether_the_baseline_is_beaten(
    changes: dict[str, Any], level: str, text: str
) -> None:
    found = verdict(summary(**changes))
    assert found.level == level
    assert found.text.startswith(text)


def test_what_is_not_known_is_left_out_of_numbers_and_overview() -> None:
    without = summary(coverage=math.nan, claimed=math.nan, baseline_coverage=math.nan)
    assert "coverage" not in without.numbers()
    assert overview(without)["coverage of the outermost quantiles"] == ""
    numbers = summary().numbers()
    assert (numbers["median_wape"], numbers["median_baseline_wape"], numbers["rows_by_model"]) == (0.2, 0.25, 56.0)
    assert overview(summary())["coverage of the outermost quantiles"] == "79.0% of 80.0%"


def test_the_table_of_folds_is_bounded_and_keeps_the_last() -> None:
    one = summary().folds[0]
    many = tuple(FoldSummary(**{**one.__dict__, "fold": f"fold {number}"}) for number in range(50))
    table = fold_table(summary(folds=many))
    assert (len(table.rows), table.more) == (20, 30)
    assert table.rows[-1][0] == "fold 49"
    assert table.rows[0][5:8] == ("0.2", "0.25", "20.0%")
