"""Forecast fleets: what their problem, training, tables and columns say of each other."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from spec_cases import DEMAND_AS_YAML, demand, series

from modelfleet import (
    Candidate,
    Clip,
    Data,
    Dedupe,
    Difference,
    Drop,
    Expanding,
    Features,
    Fill,
    FleetSpec,
    Forecast,
    Holidays,
    Lag,
    LakeTable,
    Rolling,
    SqlTable,
    Training,
)
from modelfleet.errors import SpecError
from modelfleet.spec.problem import quantile_name

SALES = SqlTable("pos", "sales", time="sold_on")


def problem(**changes: Any) -> Forecast:
    return Forecast(**{"target": "units", "freq": "D", "horizon": 7, **changes})


REFUSED: list[tuple[dict[str, Any], str, str, str]] = [
    # training
    ({"training": Training(holdout="14D")}, "training.holdout", "'14D'", "the horizon, 7 steps of 'D'\nHint: leave it"),
    ({"training": Training(holdout="36h")}, "training.holdout", "'36h'", "the horizon, 7 steps of 'D'"),
    (
        {"problem": problem(freq="MS", horizon=1), "training": Training(holdout="31D"), "features": ()},
        "training.holdout",
        "'31D'",
        "the horizon, 1 steps of 'MS'",
    ),
    (
        {"training": Training(gap="36h")},
        "training.gap",
        "'36h'",
        "a whole number of steps of 'D', so a multiple of '1D'",
    ),
    (
        {"problem": problem(freq="W-MON", horizon=1), "training": Training(gap="10D")},
        "training.gap",
        "'10D'",
        "a multiple of '7D'",
    ),
    (
        {"problem": problem(freq="6h"), "training": Training(gap="1h")},
        "training.gap",
        "'1h'",
        "a whole number of steps of '6h', so a multiple of '6h'",
    ),
    (
        {"problem": problem(freq="QS", horizon=1), "training": Training(gap="90D"), "features": ()},
        "training.gap",
        "'90D'",
        "none with freq 'QS', whose steps differ in length; leave it out",
    ),
    ({"training": Training(window="7D")}, "training.window", "'7D'", "longer than the horizon, 7 steps of 'D'"),
    (
        {"training": Training(window="28D", folds=4)},
        "training.window",
        "'28D'",
        "longer than 4 times the horizon, 7 steps of 'D'",
    ),
    (
        {"training": Training(window="30D", folds=4, gap="2D")},
        "training.window",
        "'30D'",
        "longer than 4 times the horizon, 7 steps of 'D' and the gap",
    ),
    ({"training": Training(weight="units")}, "training.weight", "'units'", "not the target"),
    ({"training": Training(select_by="coverage")}, "training.select_by", "'coverage'", "mase, pinball"),
    ({"training": Training(select_by="log_loss")}, "training.select_by", "'log_loss'", "mae, rmse"),
    (
        {"training": Training(select_by="pinball")},
        "training.select_by",
        "'pinball'",
        "with quantiles, whose error it is",
    ),
    (
        {"problem": problem(quantiles=(0.5,), intervals="residuals"), "training": Training(select_by="pinball")},
        "training.select_by",
        "'pinball'",
        "with intervals='model'\nHint: residuals follow",
    ),
    # columns
    ({"id_columns": ("order",)}, "id_columns", "('order',)", "none with a Forecast\nHint: its rows are dates to come"),
    ({"features": Features(calendar=("weekday", "hour"))}, "features.calendar", "('hour',)", "with freq 'D'"),
    ({"features": Features(cyclic=("minute",))}, "features.cyclic", "('minute',)", "with freq 'D'"),
    ({"features": ("sold_on",)}, "features", "'sold_on'", "go into calendar or cyclic"),
    ({"features": ("units",)}, "features", "'units'", "other than the target"),
    ({"features": Features(static=("item",))}, "features", "'item'", "other than those of partition_by"),
    ({"problem": problem(time="units")}, "problem.target", "'units'", "other than the time column"),
    ({"problem": problem(time="step")}, "problem.time", "'step'", "tables do not use"),
    ({"data": Data(SqlTable("pos", "sales", time="Issued_at"))}, "data.data.time", "'Issued_at'", "tables do not use"),
    (
        {"problem": problem(quantiles=(0.025,)), "partition_by": ("store", "q2_5")},
        "partition_by",
        "'q2_5'",
        "tables do not use",
    ),
    # tables
    (
        {"data": Data(SALES)},
        "features.known_ahead",
        "('price',)",
        r"of a table with `ahead`, or of rows that prepare makes\nHint: .* Features\(past=",
    ),
    ({"data": Data(SALES), "features": ("price",)}, "features", "('price',)", "of a table with `ahead`"),
    (
        {"data": Data(sales=SALES, plan=LakeTable("plan", time="day", ahead="6D"))},
        "data.plan.ahead",
        "'6D'",
        "at least the horizon, 7 steps of 'D'",
    ),
    (
        {"problem": problem(freq="W-MON", horizon=2), "features": ("price",)},
        "data.data.ahead",
        "'7D'",
        "at least the horizon, 2 steps of 'W-MON'",
    ),
    (
        {
            "data": Data(
                sales=SqlTable("pos", "sales", time="sold_on", columns=("sold_on", "store", "item", "units")),
                plan=SqlTable("pos", "plan", time="day", ahead="7D", columns=("day", "item", "promo")),
            )
        },
        "features",
        "'price'",
        "the columns of the tables: sold_on, store, item, units, day, promo",
    ),
    (
        {
            "data": Data(
                sales=SqlTable("pos", "sales", time="sold_on", columns=("sold_on", "item", "units")),
                plan=LakeTable("plan", time="day", ahead="7D"),
            )
        },
        "partition_by",
        "'store'",
        "the columns of the tables: sold_on, item, units",
    ),
    ({"treatments": (Fill("store", value="?"),)}, "treatments[0].column", "'store'", "those of partition_by"),
    ({"treatments": (Clip("sold_on", 0),)}, "treatments[0].column", "'sold_on'", "the time column"),
]


@pytest.mark.parametrize(
    "changes, field, got, allowed", REFUSED, ids=[f"{f}-{n}" for n, (_, f, _, _) in enumerate(REFUSED)]
)
def test_bad_forecast_is_refused(changes: dict[str, Any], field: str, got: str, allowed: str) -> None:
    with pytest.raises(SpecError, match=allowed) as caught:
        series(**changes)
    (failure,) = [each for each in caught.value.failures if each.field == field]
    assert failure.got == got


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("holdout as long as the horizon", {"training": Training(holdout="168h")}),
    ("gap of whole steps", {"training": Training(gap="48h", folds=3)}),
    ("gap of weeks", {"problem": problem(freq="W-SUN", horizon=1), "training": Training(gap="14D")}),
    ("window just long enough", {"training": Training(window="31D", folds=4, gap="2D")}),
    ("weight that is a feature too", {"training": Training(weight="price")}),
    ("pinball with quantiles", {"problem": problem(quantiles=(0.1, 0.9)), "training": Training(select_by="pinball")}),
    ("mase", {"training": Training(select_by="mase")}),
    ("own metric", {"training": Training(select_by="cost", metrics=("cost",))}),
    ("hours", {"problem": problem(freq="h"), "features": Features(calendar=("hour",), cyclic=("minute",))}),
    ("known ahead by prepare", {"data": Data(SALES, prepare="a.b:c")}),
    ("known ahead by a joined table", {"data": Data(sales=SALES, plan=LakeTable("plan", time="day", ahead="8D"))}),
    ("nothing known ahead", {"data": Data(SALES), "features": Features(past=(Lag("units", 7),), static=("size",))}),
    ("no features", {"data": Data(SALES), "features": ()}),
    ("grid", {"model": None, "candidates": [Candidate("a:b", grid={"x": (1, 2)})]}),
    ("halving", {"training": Training(folds=2, halving=True)}),
    ("fallbacks", {"training": Training(fallback=("item", "store", "fleet", "baseline"))}),
    ("fallback of a single key", {"partition_by": ("item",), "training": Training(fallback=("fleet", "baseline"))}),
    ("treatments", {"treatments": (Drop("units", below=0), Clip("units", 0, 500), Fill("units", value=0), Dedupe("sum"))}),
    ("columns of a table that is joined", {
        "data": Data(
            sales=SqlTable("pos", "sales", time="sold_on", columns=("sold_on", "store", "item", "units")),
            plan=LakeTable("plan", time="day", ahead="7D"),
        )
    }),
    ("time of its own", {"problem": problem(time="week_start")}),
    ("global candidates", {"model": None, "candidates": [Candidate("a:b", scope="fleet"), Candidate("a:c")]}),
]  # fmt: skip


@pytest.mark.parametrize("changes", [changes for _, changes in ACCEPTED], ids=[name for name, _ in ACCEPTED])
def test_good_forecast_is_accepted_and_survives_json_and_pickle(changes: dict[str, Any]) -> None:
    spec = series(**changes)
    for copy in (FleetSpec.from_json(spec.to_json()), pickle.loads(pickle.dumps(spec))):
        assert copy == spec
        assert (copy.digest, hash(copy)) == (spec.digest, hash(spec))
    assert FleetSpec.model_validate(spec.content()).digest == spec.digest


def test_large_fleet_of_the_design_has_the_same_digest_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "demand.yaml"
    file.write_text(DEMAND_AS_YAML)
    spec = FleetSpec.load(file)
    assert spec == demand()
    assert (spec.digest, hash(spec)) == (demand().digest, hash(demand()))
    assert FleetSpec.from_json(spec.to_json()) == spec


def test_large_fleet_of_the_design_says_what_competes_and_what_is_read() -> None:
    spec = demand()
    assert [(each.name, dict(each.params)) for each in spec.learners] == [
        ("ridge", {"alpha": 1.0}),
        ("boost(max_depth=3)", {"max_depth": 3}),
        ("boost(max_depth=6)", {"max_depth": 6}),
        ("AutoETS", {"season_length": 7}),
    ]
    assert spec.columns == ("price", "promo", "category", "w")
    assert (spec.levels, spec.select_by, spec.time_column) == (("item",), "wape", "sold_on")
    assert (spec.problem.blocks, spec.problem.season_length) == (((1, 28),), 7)  # type: ignore[union-attr]


YAML_OF_PARTS: list[tuple[str, Any]] = [
    ("{kind: lag, column: units, steps: [7, 14]}", Lag("units", 7, 14)),
    ("{kind: difference, column: units, steps: [7]}", Difference("units", 7)),
    (
        "{kind: rolling, column: units, window: 14, statistic: std, min_count: 3}",
        Rolling("units", 14, "std", min_count=3),
    ),
    ("{kind: expanding, column: units, statistic: mean}", Expanding("units", "mean")),
]


@pytest.mark.parametrize("text, part", YAML_OF_PARTS, ids=[part.kind for _, part in YAML_OF_PARTS])
def test_derived_feature_is_the_same_from_yaml(text: str, part: Any, tmp_path: Path) -> None:
    file = tmp_path / "demand.yaml"
    week = DEMAND_AS_YAML.replace("horizon: 28", "horizon: 7").replace("holdout: 28D", "holdout: 7D")
    file.write_text(week.replace("{kind: lag, column: units, steps: [28, 35]}", text))
    spec = FleetSpec.load(file)
    assert spec.declared.past[0] == part
    assert hash(spec.declared.past[0]) == hash(part)


def test_holidays_and_treatments_are_the_same_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "demand.yaml"
    file.write_text(
        DEMAND_AS_YAML.replace("  calendar:", "  holidays: {country: DE, subdivision: BY}\n  calendar:")
        + "treatments:\n  - {kind: drop, column: units, below: 0, null: true}\n  - {kind: clip, column: units, upper: 500}\n"
        "  - {kind: fill, column: promo, value: false}\n  - {kind: fill, column: price, previous: true}\n"
        "  - {kind: dedupe, keep: sum}\n"
    )
    spec = FleetSpec.load(file)
    assert spec.declared.holidays == Holidays("DE", "BY")
    assert spec.treatments == (
        Drop("units", below=0, null=True),
        Clip("units", upper=500),
        Fill("promo", value=False),
        Fill("price", previous=True),
        Dedupe("sum"),
    )
    assert spec.treatments[2].value is False  # type: ignore[union-attr]


def test_country_alone_is_a_holidays() -> None:
    assert Features(holidays="DE") == Features(holidays=Holidays("DE"))  # type: ignore[arg-type]


BLOCKS: list[tuple[dict[str, Any], tuple[tuple[int, int], ...]]] = [
    ({}, ((1, 7),)),
    ({"steps_per_model": 7}, ((1, 7),)),
    ({"steps_per_model": 3}, ((1, 3), (4, 6), (7, 7))),
    ({"steps_per_model": 1, "horizon": 2}, ((1, 1), (2, 2))),
    ({"strategy": "recursive"}, ((1, 1),)),
]


@pytest.mark.parametrize("changes, blocks", BLOCKS, ids=[str(blocks) for _, blocks in BLOCKS])
def test_direct_models_share_the_horizon(changes: dict[str, Any], blocks: tuple[tuple[int, int], ...]) -> None:
    assert problem(**changes).blocks == blocks


@pytest.mark.parametrize("freq, season, given", [("D", 7, None), ("h", 24, None), ("MS", 12, None), ("D", 365, 365)])
def test_season_is_the_usual_one_unless_given(freq: str, season: int, given: int | None) -> None:
    assert problem(freq=freq, season=given).season_length == season


@pytest.mark.parametrize(
    "quantile, name", [(0.1, "q10"), (0.5, "q50"), (0.025, "q2_5"), (0.9999, "q99_99"), (0.07, "q7")]
)
def test_quantile_names_a_column(quantile: float, name: str) -> None:
    assert quantile_name(quantile) == name


def test_names_of_all_quantiles_differ() -> None:
    quantiles = tuple(step / 10_000 for step in range(1, 10_000))
    assert problem(quantiles=quantiles).quantiles == quantiles
    assert len({quantile_name(each) for each in quantiles}) == len(quantiles)


def test_default_metric_to_select_by_depends_on_the_problem() -> None:
    assert series().select_by == "wape"
    assert series(training=Training(select_by="rmse")).select_by == "rmse"


def test_names_of_the_platforms_columns_are_reserved() -> None:
    from modelfleet import pack
    from modelfleet.spec.reserved import RESERVED
    from modelfleet.warehouse import schema

    tables = {*pack.row_schema([], ()).names, *schema.ISSUED, *schema.DECISIONS.columns.keys()}
    assert tables - RESERVED == set()
