"""A forecast fleet from its source to the warehouse: every partition gets a forecast, with its true source."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chain_bench import World, copied
from e2e.conftest import enter, fresh
from modelfleet import Candidate, Forecast, Gate, keys, registry, settings
from modelfleet.errors import DataError
from modelfleet.steps import NothingToRetry
from sales_bench import (
    BULK,
    DAYS,
    EXPECTED,
    GAP,
    HEALTHY,
    HORIZON,
    OPENED,
    START,
    TWICE,
    YOUNG,
    days,
    fill_sales,
    partition,
    promoted,
    sales,
    units,
)

pytest_plugins = ["fixtures_mlflow"]
Row = dict[str, Any]
QUANTILES = ["q10", "q50", "q90"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, _fresh_store: Path, _spark_settings: None) -> World:
    """The fleet with a champion, scored on the day of its training and on the two after; not to be changed."""
    world = World(tmp_path_factory.mktemp("sales"), sales())
    fresh(world, _fresh_store)
    fill_sales(world.source)
    with pytest.MonkeyPatch.context() as patch:
        enter(world, patch)
        world.run("ingest", BULK, start=START)
        world.run("train", BULK)
        world.run("promote", BULK)
        world.run("score", BULK)
        for day in DAYS:
            world.run("ingest", day)
            world.run("score", day)
    return world


@pytest.fixture
def shops(served: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same, for tests that only look."""
    enter(served, monkeypatch)
    return served


@pytest.fixture
def own(served: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A copy, for tests that change it."""
    made = copied(served, tmp_path / "home")
    enter(made, monkeypatch)
    return made


def models(world: World) -> dict[str, Row]:
    return {row["partition"]: row for row in world.output("train", BULK, "train", "models").to_pylist()}


def predictions(world: World, interval: str) -> pd.DataFrame:
    return world.warehouse.predictions("sales", interval).to_pandas().sort_values(["partition", "step"])


def test_every_partition_is_one_row_and_its_candidates_are_kept(shops: World) -> None:
    rows = models(shops)
    partitions = {name: row for name, row in rows.items() if row["level"] is None}
    assert set(partitions) == {partition(key) for key in EXPECTED}
    for key in HEALTHY:
        row = rows[partition(key)]
        assert (row["status"], row["n_test"], row["n_folds"]) == ("trained", HORIZON, 2), row
        tried = json.loads(row["candidates"])
        assert [trial["name"] for trial in tried] == [
            "SeasonalNaive",
            "ridge(alpha=1.0)",
            "ridge(alpha=100.0)",
            "boosted",
        ]
        best = min(trial["score"] for trial in tried)
        assert next(t["score"] for t in tried if t["name"] == row["candidate"]) == pytest.approx(best)
    assert (rows[partition(YOUNG)]["status"], rows[partition(YOUNG)]["reason"]) == ("skipped", "too_few_rows")
    twice = rows[partition(TWICE)]
    assert (twice["status"], twice["reason"]) == ("failed", "bad_series")
    assert "2024-03-05" in twice["message"]
    assert "Dedupe" in twice["message"]


def test_failures_of_a_fleet_with_categories_can_be_retried(shops: World) -> None:
    """Of the partitions without a model one is young and one has a day twice: neither could turn out otherwise."""
    with pytest.raises(NothingToRetry, match=r"without a model: .*bad_series 1"):
        shops.open("train", BULK, retry="failed")


def test_a_date_without_a_row_is_filled_and_counted(shops: World) -> None:
    assert (
        models(shops)[partition(HEALTHY[0])]["n_rows"]
        == (date.fromisoformat(BULK) - date.fromisoformat(START)).days + 1
    )
    facts = shops.manifest("train", BULK, "dataset").facts
    assert facts["treated"]["filled_dates"] == 1, GAP


def test_every_partition_gets_the_horizon_with_its_true_source(shops: World) -> None:
    for interval in (BULK, *DAYS):
        made = predictions(shops, interval)
        expected = {*EXPECTED, *((OPENED,) if interval in DAYS else ())}
        assert made.groupby("partition")["step"].apply(list).to_dict() == {
            partition(key): list(range(1, HORIZON + 1)) for key in expected
        }
        first = pd.Timestamp(interval) + pd.Timedelta(days=1)
        assert (pd.to_datetime(made["sold_on"]) == first + pd.to_timedelta(made["step"] - 1, "D")).all()
        assert np.isfinite(made["prediction"]).all()
        assert (made[QUANTILES].diff(axis=1).iloc[:, 1:] >= 0).all().all()
        sources = made.groupby("partition")["source"].agg(lambda s: s.unique().item()).to_dict()
        assert set(sources.values()) <= {"model", "item", "fleet", "baseline"}
        decided = shops.warehouse.decisions("sales", BULK).to_pylist()
        promoted_ones = {row["partition"] for row in decided if row["decision"] == "promoted"}
        assert {name for name, source in sources.items() if source == "model"} == promoted_ones & set(sources)
        if interval in DAYS:
            assert sources[partition(OPENED)] in ("item", "fleet"), "a new store is forecast by its item"


def test_forecasts_know_the_promotions_to_come(shops: World) -> None:
    rows = models(shops)
    learned = [key for key in HEALTHY if rows[partition(key)]["candidate"] != "SeasonalNaive"]
    assert learned, "promotions help, so that partitions chose a candidate that knows them"
    made = predictions(shops, BULK).set_index("partition")
    for key in learned:
        own = made.loc[partition(key)]
        promo = np.array([promoted(pd.Timestamp(day).date()) for day in own["sold_on"]])
        assert promo.any()
        assert own["prediction"].to_numpy()[promo == 1].mean() > 1.2 * own["prediction"].to_numpy()[promo == 0].mean()


def test_latest_forecast_and_actuals_are_views_of_the_warehouse(shops: World) -> None:
    latest = shops.warehouse.forecasts("sales").to_pandas()
    assert not latest.duplicated(["partition", "sold_on"]).any()
    of_last = latest[pd.to_datetime(latest["sold_on"]) > pd.Timestamp(DAYS[-1])]
    assert set(of_last["interval"]) == {DAYS[-1]}
    met = shops.warehouse.forecast_actuals("sales").to_pandas()
    met = met[met["actual"].notna()]
    assert set(pd.to_datetime(met["sold_on"]).dt.strftime("%Y-%m-%d")) == set(DAYS)
    np.testing.assert_allclose(met["error"], met["prediction"] - met["actual"])


def test_a_repeated_issue_keeps_the_earlier_one(own: World) -> None:
    before = own.warehouse.predictions("sales", DAYS[0], latest=False).num_rows
    own.run("score", DAYS[0], force=True)
    after = own.warehouse.predictions("sales", DAYS[0], latest=False)
    assert after.num_rows == 2 * before
    again, first = (
        rows.drop(columns=["attempt", "issued_at"]).sort_values(["partition", "step"]).reset_index(drop=True)
        for _, rows in after.to_pandas().groupby("issued_at", sort=False)
    )
    pd.testing.assert_frame_equal(again, first)


def test_mlflow_model_forecasts_what_the_warehouse_holds(shops: World) -> None:
    import mlflow

    history = shops.output("train", BULK, "dataset", "rows").to_pandas().drop(columns=["_partition", "_problem"])
    calendar = pd.DataFrame({"sold_on": [date.fromisoformat(BULK) + timedelta(n + 1) for n in range(HORIZON)]})
    calendar["promo"] = [promoted(day) for day in calendar["sold_on"]]
    ahead = history[["store", "item", "category"]].drop_duplicates().merge(calendar, how="cross")
    frame = pd.concat([history, ahead]).sample(frac=1.0, random_state=0)
    mlflow.set_tracking_uri(settings.registry_uri("production"))
    mlflow.set_registry_uri(settings.registry_uri("production"))
    answer = mlflow.pyfunc.load_model("models:/sales@champion").predict(frame)
    held = predictions(shops, BULK)
    both = held.merge(answer, on=["partition", "step"], suffixes=("", "_mlflow"))
    sound = both[both["partition"] != partition(TWICE)]
    assert len(sound) == len(held) - HORIZON
    assert (sound["source"] == sound["source_mlflow"]).all()
    for name in ("prediction", *QUANTILES):
        np.testing.assert_allclose(sound[name], sound[f"{name}_mlflow"], rtol=0, atol=1e-9)


def test_a_calendar_that_ends_too_early_is_told_and_the_baseline_serves(own: World) -> None:
    own.execute("DELETE FROM calendar WHERE day > '2024-04-18'")
    own.run("ingest", DAYS[1], force=True)
    facts = own.run("score", DAYS[1], force=True)["score"]
    assert facts["no_model"] == 0
    assert set(facts["sources"]) == {"baseline"}
    assert facts["warning"].startswith("no model predicted: all ")
    told = " ".join(facts["messages"])
    assert len(facts["messages"]) <= 3, "one message stands for all partitions that it was said of"
    assert "known-ahead column 'promo' of table 'calendar'" in told
    assert "2024-04-19" in told
    assert np.isfinite(predictions(own, DAYS[1])["prediction"]).all()


def test_a_category_that_training_has_not_seen_counts_as_unknown_and_is_told(own: World) -> None:
    own.execute(f"UPDATE sales SET category = 'vegetable' WHERE item = 1 AND sold_on >= '{DAYS[1]}'")
    own.run("ingest", DAYS[1], force=True)
    facts = own.run("score", DAYS[1], force=True)["score"]
    assert facts["messages"][0].startswith("column 'category': ")
    assert facts["messages"][0].endswith("rows hold a category that training has not seen")
    assert (facts["failed"], facts["no_model"]) == (0, 0)
    assert np.isfinite(predictions(own, DAYS[1])["prediction"]).all()


def test_horizon_longer_than_the_data_skips_every_partition_and_says_so(own: World) -> None:
    long = own.with_spec(
        problem=Forecast(target="units", freq="D", horizon=400, missing="zero"), features=(), name="far"
    )
    long = long.with_spec(
        candidates=(Candidate("statsforecast.models:Naive"),),
        training=sales().training.model_copy(update={"fallback": ("baseline",), "folds": 1}),
    )
    long.run("ingest", BULK, start=START)
    facts = long.run("train", BULK)["train"]
    assert facts["trained"] == 0
    assert facts["reasons"]["no_rows_before_cutoff"] == len(HEALTHY)


def test_a_frequency_that_does_not_match_fails_each_partition_with_the_remedy(own: World) -> None:
    weekly = own.with_spec(
        problem=Forecast(target="units", freq="W-MON", horizon=2, missing="zero"),
        features=(),
        candidates=(Candidate("statsforecast.models:Naive"),),
        name="weekly",
        training=sales().training.model_copy(update={"fallback": ("baseline",), "folds": 1, "min_rows": 5}),
    )
    weekly.run("ingest", BULK, start=START)
    weekly.run("train", BULK)
    rows = weekly.output("train", BULK, "train", "models").to_pylist()
    assert {(row["status"], row["reason"]) for row in rows if row["n_rows"] > 5} == {("failed", "bad_series")}
    assert "not on the grid of freq 'W-MON'" in rows[0]["message"]


def test_a_candidate_that_always_fails_leaves_the_partition_to_the_next(own: World) -> None:
    broken = own.with_spec(
        candidates=(Candidate("sales.models:never"), Candidate("sales.models:ridge")),
        training=sales().training.model_copy(update={"fallback": ("baseline",)}),
        name="broken",
    )
    broken.run("ingest", BULK, start=START)
    facts = broken.run("train", BULK)["train"]
    assert facts["candidates"] == {"ridge": len(HEALTHY)}
    rows = broken.output("train", BULK, "train", "models").to_pylist()
    tried = json.loads(next(row["candidates"] for row in rows if row["status"] == "trained"))
    assert "out of order" in tried[0]["failed"]["0"]
    only = broken.with_spec(candidates=(Candidate("sales.models:never"),))
    facts = only.run("train", BULK)["train"]
    assert (facts["trained"], facts["reasons"]["fit_raised"]) == (0, len(HEALTHY))


def test_a_missing_known_ahead_column_names_the_fleet_and_the_table(own: World) -> None:
    wrong = own.with_spec(features=sales().features.model_copy(update={"known_ahead": ("price",)}), name="wrong")
    wrong.run("ingest", BULK, start=START)
    with pytest.raises(DataError, match=r"fleet 'wrong', table 'sales': no column 'price'"):
        wrong.run("train", BULK)


def test_every_row_of_a_month_with_a_fifth_of_new_partitions_has_its_true_source(own: World) -> None:
    """Four weekly issues cover May; two of ten partitions open in it, one of an item that others sell, one of a new item."""
    new = (("e", 2), ("f", 9))
    known = [key for key in EXPECTED if key != TWICE] + [OPENED]
    issues = ("2024-04-30", "2024-05-07", "2024-05-14", "2024-05-21")
    rows = [
        (*key, "fruit", f"{day}", units(key, day))
        for day in days("2024-04-17", issues[-1])
        for key in (*known, *(new if f"{day}" > issues[0] else ()))
    ]
    listed = ", ".join(f"('{s}', {i}, '{c}', '{d}', {u})" for s, i, c, d, u in rows)
    calendar = ", ".join(f"('{day}', {promoted(day)})" for day in days("2024-04-26", "2024-06-01"))
    own.execute(f"INSERT INTO sales VALUES {listed}", f"INSERT INTO calendar VALUES {calendar}")
    start = "2024-04-17"
    for issue in issues:
        own.run("ingest", issue, start=start)
        start = f"{date.fromisoformat(issue) + timedelta(days=1)}"
        facts = own.run("score", issue)["score"]
        assert facts["no_model"] == 0
    with_model = {
        row["partition"] for row in own.warehouse.decisions("sales", BULK).to_pylist() if row["decision"] == "promoted"
    }
    groups = {
        row["partition"]
        for row in own.output("promote", BULK, "decide", "decisions").to_pylist()
        if row["decision"] == "promoted" and "store" not in row["partition"]
    }
    made = pd.concat([predictions(own, issue) for issue in issues])
    assert len(made) == HORIZON * (len(known) + 1) * len(issues) + HORIZON * len(new) * (len(issues) - 1)
    assert np.isfinite(made[["prediction", *QUANTILES]].to_numpy()).all()
    sources = made.groupby(["partition"])["source"].agg(set).to_dict()
    for name in with_model - groups:
        assert sources[name] == {"model"}
    expected_new = "item" if keys.encode(["item"], [2]) in groups else "fleet" if "fleet" in groups else "baseline"
    assert sources[partition(new[0])] == {expected_new}
    assert sources[partition(new[1])] == ({"fleet"} if "fleet" in groups else {"baseline"})
    assert groups, "the gate promoted models of coarser levels"


def test_a_known_ahead_column_in_two_tables_is_refused(own: World) -> None:
    own.execute("ALTER TABLE sales ADD COLUMN promo BIGINT")
    twice = own.with_spec(name="twice")
    twice.run("ingest", BULK, start=START)
    with pytest.raises(
        DataError, match=r"fleet 'twice': known-ahead column 'promo' is in the table 'sales' and in 'calendar'"
    ):
        twice.run("train", BULK)


def test_levels_that_pass_are_published_though_no_partition_does(own: World) -> None:
    levels = own.with_spec(name="levels", gate=Gate(each=(f"n_test > {HORIZON}",)))  # a partition's is the horizon
    levels.run("ingest", BULK, start=START)
    levels.run("train", BULK)

    facts = levels.run("promote", BULK)

    assert facts["decide"]["promoted"] == 0
    assert facts["decide"]["promoted_levels"] > 0
    assert registry.champion("levels") is not None
    levels.run("score", BULK)
    sources = set(levels.warehouse.predictions("levels", BULK).to_pandas()["source"])
    assert sources & {"item", "fleet"}
    assert "model" not in sources
