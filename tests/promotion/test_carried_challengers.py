"""The gate and models that were carried over: one that serves already passes; beside another champion rules decide."""

from __future__ import annotations

import pytest

from promotion_bench import champion_fleet, judge, model_rows, only

SAME = {"champion_status": "same", "champion_mae": 1.0, "champion_r2": 0.5}


@pytest.mark.parametrize("mode", ["enforce", "shadow", "off"])
def test_very_model_that_serves_passes_whatever_the_rules_say(mode: str) -> None:
    champions = champion_fleet(p0="trained")
    decided = only(judge(model_rows(SAME), "mae < champion.mae", "mae < 0", champions=champions, mode=mode))

    assert (decided["decision"], decided["rule"]) == ("promoted", None)
    assert decided["reason"] == "the champion is this very model, carried over"


def test_it_counts_as_promoted_so_that_few_changes_do_not_look_like_few_promotions() -> None:
    rows = model_rows(SAME, SAME, SAME, {"champion_status": "compared", "champion_mae": 0.5, "champion_r2": 0.5})
    champions = champion_fleet(p0="trained", p1="trained", p2="trained", p3="trained")
    result = judge(rows, "mae < champion.mae", fleet=("promoted_share >= 0.75",), champions=champions)

    assert result.passed
    assert result.decisions.column("decision").to_pylist() == ["promoted"] * 3 + ["kept"]


def test_fleet_rule_that_fails_keeps_it_like_all_others() -> None:
    result = judge(model_rows(SAME), fleet=("trained > 5",), champions=champion_fleet(p0="trained"))

    assert not result.passed
    assert only(result)["decision"] == "kept"
    assert "trained > 5" in only(result)["reason"]


def test_where_the_champion_has_no_model_by_now_rules_decide() -> None:
    decided = only(judge(model_rows(SAME), "mae < 0", champions=champion_fleet(p0="skipped")))

    assert (decided["decision"], decided["rule"]) == ("rejected", "mae < 0")
