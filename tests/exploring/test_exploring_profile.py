"""Samples, what is said of columns and seasons, and what stands out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from modelfleet import Classification, Features, Forecast, Lag, Training
from modelfleet.exploring import sampling
from modelfleet.exploring.findings import findings, summary
from modelfleet.exploring.partitions import measure
from modelfleet.exploring.profile import Profile, look
from modelfleet.exploring.sampling import SERIES, sample_rows, sample_series
from modelfleet.spec import FleetSpec
from prepared_bench import prepared, readings, shops

DAYS = np.arange("2022-01-01", "2024-04-01", dtype="M8[D]")
COLUMNS = ("price", "rain", "category", "copy", "constant", "empty", "rare", "blank")


def sales(shops_count: int = 12, *, seed: int = 3) -> pa.Table:
    """Daily units with a weekly pattern, that sink as the price rises inside each shop, though dear shops sell more."""
    rng = np.random.default_rng(seed)
    parts = []
    for shop in range(shops_count):
        n = len(DAYS)
        weekday = (DAYS.astype(int) + 3) % 7
        price = 10.0 * shop + rng.normal(size=n)
        units = 5.0 * shop - 5 * (price - 10 * shop) + 4 * (weekday >= 5) + rng.normal(size=n)
        parts.append(
            pa.table(
                {
                    "shop": [f"s{shop}"] * n,
                    "day": pa.array(DAYS),
                    "units": units,
                    "price": price,
                    "rain": rng.random(n) < 0.5,
                    "category": [f"c{shop % 3}"] * n,
                    "copy": 2 * units + 1,
                    "constant": np.ones(n),
                    "empty": pa.nulls(n, pa.float64()),
                    "rare": pa.array(rng.normal(size=n), mask=rng.random(n) < 0.4),
                    "blank": pa.array(rng.normal(size=n), mask=np.full(n, shop == 0)),
                }
            )
        )
    return pa.concat_tables(parts)


def spec(**changes: Any) -> FleetSpec:
    past = tuple(Lag(name, 14) for name in COLUMNS if name != "category")
    return shops(**{"features": Features(past=past, static=("category",)), **changes})


@pytest.fixture
def profile() -> Profile:
    return look(prepared(sales(), spec()))


def texts(profile: Profile, level: str | None = None) -> str:
    return "\n".join(f.text for f in findings(profile) if level in (None, f.level))


def test_a_small_table_is_its_own_sample(profile: Profile) -> None:
    expected = sales().to_pandas(date_as_object=False)
    by = ["shop", "day"]
    pd.testing.assert_frame_equal(
        profile.sample.sort_values(by, ignore_index=True), expected.sort_values(by, ignore_index=True)
    )
    assert profile.series.partitions == 12
    assert len(profile.series.index) == profile.rows


def test_samples_are_drawn_evenly_and_alike_whatever_the_buckets() -> None:
    one, many = (prepared(sales(40), spec(), buckets=count) for count in (1, 9))
    drawn = [sample_rows(p, 4_000) for p in (one, many)]
    series = [sample_series(p, measure(p).partitions, 20_000) for p in (one, many)]

    pd.testing.assert_frame_equal(drawn[0], drawn[1])
    pd.testing.assert_frame_equal(series[0].index, series[1].index)
    assert len(drawn[0]) == 4_000
    assert not drawn[0].duplicated(["shop", "day"]).any()
    assert drawn[0]["shop"].value_counts().between(50, 160).all()
    assert stats.kstest((drawn[0]["day"] - pd.Timestamp(DAYS[0])).dt.days / len(DAYS), "uniform").pvalue > 0.001


def test_of_very_many_rows_some_batches_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_BATCHES", 3)
    p = prepared(sales(40), spec(), buckets=9)

    drawn = sample_rows(p, 2_000)

    read = [entry.rows for entry in p.files]
    assert len(drawn) == 2_000
    assert not drawn.duplicated(["shop", "day"]).any()
    assert drawn["shop"].nunique() <= sum(sorted(read)[-3:]) / len(DAYS)


def test_series_are_whole_few_and_the_latest_part_of_long_ones() -> None:
    many = pa.table({"shop": np.repeat(np.arange(500), 3), "day": np.tile(DAYS[-3:], 500), "units": np.ones(1500)})
    p = prepared(many, spec(features=()))
    short = sample_series(p, measure(p).partitions, 100_000)
    p = prepared(sales(3), spec())
    long = sample_series(p, measure(p).partitions, 300)

    assert short.partitions == SERIES
    assert (short.index["partition"].value_counts() == 3).all()
    assert (long.index["partition"].value_counts() == 100).all()
    assert long.index["local"].min() == pd.Timestamp(DAYS[-100])


def test_columns_are_described_by_exact_nulls_and_known_statistics(profile: Profile) -> None:
    rows = sales().to_pandas()
    found = profile.columns.set_index("column")

    assert found["missing"].to_dict() == rows.isna().sum().to_dict()
    assert found.loc[["units", "shop", "day", "price"], "role"].tolist() == ["target", "key", "time", "feature"]
    assert found.loc["price", "pearson"] == pytest.approx(stats.pearsonr(rows["price"], rows["units"]).statistic)
    assert found.loc["price", "spearman"] == pytest.approx(stats.spearmanr(rows["price"], rows["units"]).statistic)
    centred = rows[["price", "units"]] - rows.groupby("shop")[["price", "units"]].transform("mean")
    assert found.loc["price", "within"] == pytest.approx(centred.corr().iloc[0, 1])
    assert found.loc["price", "pearson"] > 0.9 > -0.8 > found.loc["price", "within"], "between and inside differ"
    assert found.loc["category", "explained"] == pytest.approx(0.045, abs=0.03)
    assert found.loc["constant", ["pearson", "within"]].isna().all()
    assert found.loc["blank", "blank"] == 1
    assert found.loc["rain", "type"] == "bool"


def test_nan_counts_as_missing_though_no_footer_knows_of_it() -> None:
    rows = pa.table({"shop": ["a"] * 40, "day": DAYS[-40:], "units": np.ones(40), "price": [float("nan"), 1.0] * 20})
    found = look(prepared(rows, shops())).columns.set_index("column")
    assert found.loc["price", ["missing", "share"]].tolist() == [20, 0.5]


def test_variation_between_partitions_is_told_from_that_inside(profile: Profile) -> None:
    rows = sales().to_pandas()
    means = rows.groupby("shop")["units"].transform("mean")
    expected = ((means - rows["units"].mean()) ** 2).sum() / ((rows["units"] - rows["units"].mean()) ** 2).sum()
    assert profile.between == pytest.approx(expected, rel=1e-9)


def test_outliers_are_those_of_their_own_partition() -> None:
    rows = sales(2).to_pandas()
    rows.loc[5, "units"] = 4_000.0
    found = look(prepared(pa.Table.from_pandas(rows, preserve_index=False), spec()))

    assert found.outlying[["partition", "target"]].to_numpy().tolist() == [["shop=s0", 4_000.0]]
    assert found.outlying_share == pytest.approx(1 / found.rows)


def test_a_weekly_pattern_is_found_by_weekday_and_by_lag(profile: Profile) -> None:
    rows = sales().to_pandas(date_as_object=False)
    weekday, month = profile.patterns
    expected = rows.groupby(rows["day"].dt.weekday)["units"].mean()

    assert (weekday.part, month.part) == ("weekday", "month"), "dates have no hours"
    assert weekday.means == pytest.approx(expected.to_numpy())
    assert 0.05 < weekday.explained < 0.3
    assert month.explained < 0.02
    assert profile.autocorrelation is not None
    assert len(profile.autocorrelation.median) == 28
    assert profile.autocorrelation.partitions == 12


@pytest.mark.parametrize("freq, lag", [("D", 7), ("h", 24)])
def test_the_season_is_the_lag_after_which_series_repeat_themselves(freq: str, lag: int) -> None:
    steps = np.arange(40 * lag)
    unit = "D" if freq == "D" else "h"
    times = np.datetime64("2024-01-01", unit) + steps.astype(f"m8[{unit}]")
    values = np.sin(2 * np.pi * steps / lag) + np.random.default_rng(1).normal(size=len(steps)) / 4
    values[::11] = np.nan
    rows = pa.table(
        {"shop": ["a"] * len(steps), "day": times.astype("M8[us]"), "units": pa.array(values, from_pandas=True)}
    )

    found = look(prepared(rows, spec(features=(), problem=Forecast(target="units", freq=freq, horizon=3))))

    assert found.autocorrelation is not None
    assert found.autocorrelation.season == lag
    assert found.autocorrelation.median[0] == pytest.approx(np.cos(2 * np.pi / lag) / (1 + 2 / 16), abs=0.1)
    assert ("hour" in [p.part for p in found.patterns]) == (freq == "h")


def test_noise_repeats_itself_at_no_lag() -> None:
    values = np.random.default_rng(2).normal(size=len(DAYS) * 5)
    rows = pa.table({"shop": np.repeat(np.arange(5), len(DAYS)), "day": np.tile(DAYS, 5), "units": values})
    found = look(prepared(rows, spec(features=())))
    assert found.autocorrelation is not None
    assert found.autocorrelation.season is None
    assert max(pattern.explained for pattern in found.patterns) < 0.02


def test_what_stands_out_is_said_with_names_and_counts(profile: Profile) -> None:
    assert "column 'empty' without any value" in texts(profile, "problem")
    assert "column 'constant' with one value only" in texts(profile, "warning")
    assert "almost the target itself" not in texts(profile), "of the copy the past alone is seen"
    assert "columns 'empty', 'rare' missing in more" not in texts(profile), "of an empty one it is said already"
    assert "column 'rare' missing in more than 20% of the rows" in texts(profile, "warning")
    assert "column 'blank' always missing in some partitions (up to 1 of 12 sampled)" in texts(profile, "warning")
    assert dict(summary(profile))["partitions"] == "12 by shop"
    assert dict(summary(profile))["rows"] == f"{12 * len(DAYS):,} from 2022-01-01 to 2024-03-31"


def _rows(**columns: Any) -> pa.Table:
    count = len(next(iter(columns.values())))
    return pa.table({"shop": ["a"] * count, "day": DAYS[-count:], "price": np.arange(count, dtype=float), **columns})


HARD = {
    "all targets null": (_rows(units=pa.nulls(40, pa.float64())), "missing in every row: nothing can be trained"),
    "constant target": (_rows(units=[3.0] * 40), "the target 'units' is 3 in every row"),
    "infinite target": (_rows(units=[1.0, 2.0, float("inf")] * 20), "infinite in 20 rows"),
    "mostly zero": (_rows(units=[0.0, 0.0, 5.0] * 20), "zero in 40 of 60 rows (66.7%)"),
    "one partition": (_rows(units=np.arange(60.0)), "one partition only: is partition_by what you mean?"),
    "one row": (_rows(units=[1.0]), "short: fewer than 30 rows with a target"),
    "bool target": (_rows(units=[True, False] * 30), "one partition only"),
    "whole numbers": (_rows(units=list(range(60))), "one partition only"),
    "column of no type": (_rows(units=np.arange(60.0)).set_column(2, "price", pa.nulls(60)), "'price' without any"),
    "texts": (
        _rows(units=np.arange(60.0)).set_column(2, "price", pa.array(["a", "b", None] * 20)),
        "'price' missing in more than 20%",
    ),
    "infinite feature": (
        _rows(units=np.arange(60.0)).set_column(2, "price", pa.array([float("-inf"), 1.0] * 30)),
        "'price' with infinite values",
    ),
    "dates": (_rows(units=np.arange(60.0)).set_column(2, "price", pa.array(DAYS[:60])), "one partition only"),
    "late": (_rows(units=np.arange(60.0)).slice(0, 50), "the last target is of 2024-03-21, 10 days before the end"),
}


@pytest.mark.parametrize("rows, expected", HARD.values(), ids=HARD.keys())
def test_hard_data_is_looked_at_and_its_trouble_named(rows: pa.Table, expected: str) -> None:
    assert expected in texts(look(prepared(rows, shops())))


def test_a_feature_that_is_almost_the_target_is_suspected() -> None:
    rows = sales(3).rename_columns(["shop", "at", *sales(1).column_names[2:]])
    rows = rows.set_column(1, "at", rows.column("at").cast(pa.timestamp("us")))
    found = look(prepared(rows, readings(features=("copy", "rain"))))
    assert "column 'copy': almost the target itself; known when the prediction is made, or a leak?" in texts(found)


def test_duplicates_are_a_problem_of_forecasts_and_a_note_elsewhere() -> None:
    rows = pa.concat_tables([_rows(units=np.arange(60.0)), _rows(units=np.arange(60.0)).slice(10, 2)])
    events = rows.rename_columns(["shop", "at", "price", "units"])
    events = events.set_column(1, "at", events.column("at").cast(pa.timestamp("us")))

    assert "2 rows with the key and time of another row: a forecast needs one row a day" in texts(
        look(prepared(rows, shops())), "problem"
    )
    found = look(prepared(events, readings()))
    assert "2 of 62 rows (3.2%) with the key and time of another row" in texts(found, "note")
    assert "2 of 62 rows (3.2%) equal another row in every column" in texts(found, "warning")


def test_a_classification_is_looked_at_as_the_share_of_its_class() -> None:
    rows = _rows(units=[True, False, None] * 30).rename_columns(["shop", "at", "price", "units"])
    rows = rows.set_column(1, "at", rows.column("at").cast(pa.timestamp("us")))
    found = look(prepared(rows, readings(problem=Classification(target="units"), training=Training())))

    assert found.partitions[["targets", "null_targets", "mean"]].to_numpy().tolist() == [[60, 30, 0.5]]
    assert "they are not trained on" in texts(found)
