"""statsforecast's models as candidates of a fleet forecast what statsforecast itself does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from statsforecast import StatsForecast
from statsforecast.models import AutoETS, HistoricAverage, RandomWalkWithDrift, SeasonalNaive, Theta

from modelfleet import Candidate, Data, FleetSpec, Forecast, SqlTable, Training, keys, pack, slices
from modelfleet.dataset import Columns
from modelfleet.scoring import Scorer, predict_table
from modelfleet.series import SeriesPlan, regularize
from modelfleet.training import BucketTrainer, TrainingPlan, author_code

SERIES, HORIZON, SEASON = 200, 10, 7
START = date(2020, 1, 1)
DAYS = 84
END = datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(days=DAYS)
QUANTILES = (0.1, 0.5, 0.9)


def spec(model: str, params: dict[str, object]) -> FleetSpec:
    return FleetSpec(
        name="many",
        owner="tests",
        data=Data(SqlTable("none", "none", time="day")),
        partition_by=("store",),
        problem=Forecast(target="y", freq="D", horizon=HORIZON, quantiles=QUANTILES),
        candidates=(Candidate(f"statsforecast.models:{model}", params=params),),
        training=Training(min_rows=20),
    )


def series() -> pd.DataFrame:
    """Levels, trends, seasons and noise of many sizes, daily."""
    draw = np.random.default_rng(7)
    days = np.arange(DAYS)
    made = []
    for number in range(SERIES):
        level, trend, season = draw.uniform(-100, 1000), draw.normal(scale=2), draw.uniform(0, 50)
        y = level + trend * days + season * np.sin(2 * np.pi * days / SEASON) + draw.normal(scale=10, size=DAYS)
        made.append(pd.DataFrame({"unique_id": f"s{number}", "ds": pd.date_range(START, periods=DAYS), "y": y}))
    return pd.concat(made, ignore_index=True)


def bucket(frame: pd.DataFrame) -> pa.Table:
    """The rows as the dataset step groups them."""
    stores = sorted(frame["unique_id"].unique(), key=lambda s: keys.hash_of(keys.encode(["store"], [s])))
    ordered = frame.assign(place=frame["unique_id"].map({s: n for n, s in enumerate(stores)})).sort_values(
        ["place", "ds"]
    )
    partition = pa.DictionaryArray.from_arrays(
        pa.array(ordered["place"].to_numpy(np.int32)), pa.array([keys.encode(["store"], [s]) for s in stores])
    )
    return pa.table(
        {
            "store": pa.array(ordered["unique_id"]),
            "day": pa.array(ordered["ds"].dt.date, pa.date32()),
            "y": pa.array(ordered["y"]),
            slices.PARTITION: partition,
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, params, model",
    [
        ("AutoETS", {"season_length": SEASON}, AutoETS(season_length=SEASON)),
        ("Theta", {"season_length": SEASON}, Theta(season_length=SEASON)),
        ("SeasonalNaive", {"season_length": SEASON}, SeasonalNaive(season_length=SEASON)),
        ("RandomWalkWithDrift", {}, RandomWalkWithDrift()),
        ("HistoricAverage", {}, HistoricAverage()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fleet_forecasts_what_statsforecast_does(name: str, params: dict[str, object], model: object) -> None:
    fleet, frame = spec(name, params), series()
    columns = Columns.of(fleet, with_target=True)
    settled = TrainingPlan.of(fleet, columns, end=END, interval="2020-03-24", attempt="a")
    rows, _ = regularize(bucket(frame), SeriesPlan.of(fleet, end=END, future=0))
    packed = BucketTrainer(settled, author_code(settled)).rows(rows, (pa.field("store", pa.string()),)).to_pylist()
    assert [row["status"] for row in packed] == ["trained"] * SERIES
    header = pack.make_header(
        fleet,
        key_types={"store": "string"},
        time_type="date32[day]",
        feature_types={},
        inputs={settled.inputs.id: settled.inputs.to_json()},
        code=[learner.path for learner in fleet.learners],
        files=(),
        digest="",
    )
    ahead, _ = regularize(bucket(frame), SeriesPlan.of(fleet, end=END, future=HORIZON))
    made, outcomes = predict_table(Scorer(header), {row["partition"]: row for row in packed}, ahead)
    assert set(outcomes.column("outcome").to_pylist()) == {"scored"}

    own = StatsForecast(models=[model], freq="D").forecast(df=frame, h=HORIZON, level=[80])
    both = made.to_pandas().rename(columns={"store": "unique_id"}).assign(ds=lambda f: pd.to_datetime(f["day"]))
    both = both.merge(own, on=["unique_id", "ds"])
    assert len(both) == SERIES * HORIZON
    for ours, theirs in (("prediction", f"{model}"), ("q10", f"{model}-lo-80"), ("q90", f"{model}-hi-80")):
        np.testing.assert_allclose(both[ours], both[theirs], rtol=1e-9, atol=1e-9)
