"""What selection costs over the fits it can't do without: 3 candidates x 4 folds on daily series of five years.

``python bench/selection.py [--series 500]``. One process, one thread, the same matrices; CPU seconds, which a busy machine
changes little. First the trainer of a bucket, which makes the features, fits, predicts and measures each fold, measures the
baseline and pickles the model; then the fits alone, in a plain loop: every candidate before every fold, and the chosen one
on all rows.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from modelfleet import Candidate, Data, Features, FleetSpec, Forecast, Lag, Rolling, SqlTable, Training, keys, slices
from modelfleet.dataset import Columns
from modelfleet.forecast_model import ForecastModel
from modelfleet.training import BucketTrainer, TrainingPlan, author_code

DAYS = 5 * 365
START = datetime(2019, 1, 1, tzinfo=UTC)


def spec() -> FleetSpec:
    """Daily sales, 28 days ahead."""
    return FleetSpec(
        name="selection",
        owner="bench",
        data=Data(SqlTable("none", "none", time="day")),
        partition_by=("store",),
        problem=Forecast(target="units", freq="D", horizon=28, missing="zero"),
        features=Features(past=(Lag("units", 28, 35, 42, 364), Rolling("units", "28D", "mean")), calendar=("weekday",)),
        candidates=(
            Candidate("sklearn.linear_model:Ridge"),
            Candidate("statsforecast.models:AutoETS", params={"season_length": 7, "model": "ANA"}),
            Candidate("sklearn.ensemble:HistGradientBoostingRegressor", params={"max_iter": 20}),
        ),
        training=Training(folds=4),
    )


def bucket(series: int) -> pa.Table:
    """Sales with a week's pattern and a trend, in the order of the keys' hashes."""
    draw = np.random.default_rng(0)
    stores = sorted((f"{n}" for n in range(series)), key=lambda s: keys.hash_of(keys.encode(["store"], [s])))
    days = np.arange(DAYS)
    level = draw.uniform(10, 100, size=(series, 1))
    units = level * (1 + 0.3 * np.sin(2 * np.pi * days / 7) + 0.0002 * days) + draw.normal(scale=5, size=(series, DAYS))
    codes = np.repeat(np.arange(series, dtype=np.int32), DAYS)
    partition = pa.DictionaryArray.from_arrays(
        pa.array(codes), pa.array([keys.encode(["store"], [store]) for store in stores])
    )
    moments = [(START + timedelta(days=int(day))).date() for day in days]
    return pa.table(
        {
            "store": pa.array(stores).take(pa.array(codes)),
            "day": pa.array(moments * series, pa.date32()),
            "units": units.ravel(),
            slices.PARTITION: partition,
        }
    )


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=500)
    options = parser.parse_args()
    fleet, rows = spec(), bucket(options.series)
    end = START + timedelta(days=DAYS)
    plan = TrainingPlan.of(fleet, Columns.of(fleet, with_target=True), end=end, interval="bench", attempt="bench")
    codes = author_code(plan)
    trainer = BucketTrainer(plan, codes)

    trainer.rows(rows.slice(0, DAYS), (pa.field("store", pa.string()),))  # imports, first calls
    began = time.process_time()
    trained = trainer.rows(rows, (pa.field("store", pa.string()),))
    whole = time.process_time() - began
    chosen = trained.column("candidate").to_pylist()

    from modelfleet.matrices import Bucket

    shared = Bucket(rows, "day", ("store", "day"))
    alone = 0.0
    for position, (key, _, _) in enumerate(shared.bounds):
        sample = trainer.sample(shared, position)
        for learner in plan.learners:
            view = sample.view(plan.inputs, codes[learner.name])
            view.matrix(plan.forecast.blocks[-1][1]), view.known(), sample.y
            cuts = [sample.span(fold)[0] for fold in range(sample.folds)]
            for upto in [*cuts, *([len(sample.y)] if learner.name == chosen[position] else [])]:
                began = time.process_time()
                ForecastModel.fit(codes[learner.name], keys.seed_of(key), view, plan.forecast, upto=upto)
                alone += time.process_time() - began
    counts = {name: chosen.count(name) for name in sorted(set(chosen))}
    print(
        json.dumps(
            {
                "series": options.series,
                "rows": rows.num_rows,
                "fits_alone_seconds": round(alone, 2),
                "selection_seconds": round(whole, 2),
                "ratio": round(whole / alone, 3),
                "chosen": counts,
            }
        )
    )


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
