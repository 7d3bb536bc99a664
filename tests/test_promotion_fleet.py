"""The promotion gate on a fleet: totals, fleet rules, modes, bounded reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from modelfleet.errors import DataError
from modelfleet.promotion import DECISIONS, GateResult
from promotion_bench import COMPARED, NAN, champion_fleet, judge, model_rows, only


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


def test_rows_in_several_tables_are_decided_on_like_those_of_one() -> None:
    rows = model_rows(*({"mae": mae, **COMPARED} for mae in (1.0, 9.0, NAN, 1.5)), {"status": "skipped"})
    champions = champion_fleet(p1="trained", p4="trained", gone="trained")
    fleet = ("promoted >= 2", "median_mae < 2")
    whole = judge(rows, "mae < baseline.mae", fleet=fleet, champions=champions)
    parts = [rows.slice(0, 2), rows.slice(2, 0), rows.slice(2, 1), rows.slice(3)]
    split = judge(iter(parts), "mae < baseline.mae", fleet=fleet, champions=champions)
    assert whole.decisions.equals(split.decisions)
    assert (whole.totals, whole.judged, whole.passed) == (split.totals, split.judged, split.passed)
    with pytest.raises(DataError, match="1 partitions appear more than once: 'p0'"):
        judge([rows, rows.slice(0, 1)], champions=champions)
