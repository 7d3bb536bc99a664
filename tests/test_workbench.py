"""`modelfleet.open` on the prepared rows of an attempt that trained nothing: what the inner loop is before a first training."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import modelfleet
from modelfleet import (
    Candidate,
    Classification,
    Features,
    FleetSpec,
    Forecast,
    Lag,
    Rolling,
    Training,
    dataset,
    settings,
)
from modelfleet import interval as intervals
from modelfleet.errors import DataError, NotFoundError
from modelfleet.lake import Lake, StepManifest, runs
from modelfleet.steps import preparing
from modelfleet.steps.inputs import code_version
from modelfleet.steps.runner import Context
from modelfleet.workbench import Fit, Fleet, Partition
from modelfleet.workbench.fitting import candidates_frame
from prepared_bench import KEY, readings, shops, write

DAYS, HORIZON = 90, 7
Lay = Callable[..., str]


def forecast(**changes: Any) -> FleetSpec:
    given: dict[str, Any] = {
        "problem": Forecast(target="units", freq="D", horizon=HORIZON, quantiles=(0.1, 0.5, 0.9)),
        "features": Features(past=(Lag("units", 7), Rolling("units", 14, "mean")), calendar=("weekday",)),
        "model": None,
        "candidates": (
            Candidate("statsforecast.models:SeasonalNaive", params={"season_length": 7}),
            Candidate("sales.models:ridge", grid={"alpha": (1.0, 100.0)}),
        ),
        "training": Training(folds=2),
    }
    return shops(**{**given, **changes})


def daily() -> pa.Table:
    """Two shops with a week's pattern, and one that is ten days old."""
    chance = np.random.default_rng(3)
    last = date.fromisoformat(KEY)
    made: dict[str, list[Any]] = {"shop": [], "day": [], "units": [], "price": []}
    for shop, count in (("a", DAYS), ("b/c", DAYS), ("young", 10)):
        for n in range(count):
            day = last - timedelta(days=count - 1 - n)
            made["shop"].append(shop)
            made["day"].append(day)
            made["units"].append(20.0 + 5 * (day.weekday() >= 5) + float(chance.normal()))
            made["price"].append(float(chance.uniform(1, 2)))
    return pa.table(made)


def at_times(rows: pa.Table) -> pa.Table:
    """The same rows as readings."""
    at = pa.array([pd.Timestamp(day).tz_localize("UTC") for day in rows["day"].to_pylist()], pa.timestamp("us", "UTC"))
    return rows.drop_columns(["day"]).append_column("at", at)


@pytest.fixture
def lay() -> Lay:
    """Lays the prepared rows of a training's attempt that ended there; gives the attempt's id."""

    def laid(spec: FleetSpec, rows: pa.Table, key: str = KEY) -> str:
        lake, interval = Lake.open(), intervals.of_key(key, timezone=spec.timezone)
        attempt = runs.begin(
            lake,
            fleet=spec.name,
            pipeline="train",
            interval=interval,
            spec_json=spec.to_json(),
            spec_digest=spec.digest,
            code_version=code_version(spec),
            inputs={},
            options={},
        )
        end = interval.end if spec.problem.kind == "forecast" else None
        made = write(rows, spec, attempt.path("dataset"), end=end)
        shops_there = len(set(rows["shop"].to_pylist()))
        facts = {
            **made.facts,
            "buckets": 3,
            "key_types": {"shop": "string"},
            "categories": {},
            "partitions": shops_there,
        }
        fingerprint = runs.digest_of(["dataset", preparing.dataset_fingerprint(Context(lake, spec, attempt))])
        runs.save_step(lake, attempt, StepManifest("dataset", fingerprint, "d", {"rows": made.files}, facts))
        return attempt.id

    return laid


@pytest.fixture
def fleet_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[FleetSpec], None]:
    """Makes a spec the fleet file of now."""
    folder = tmp_path / "dags"
    folder.mkdir()
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder))

    def written(spec: FleetSpec) -> None:
        (folder / "spec.json").write_text(spec.to_json())
        (folder / "shops.py").write_text(
            "from pathlib import Path\nfrom modelfleet import FleetSpec\nfrom modelfleet.airflow import many_models\n"
            "many_models(FleetSpec.from_json(Path(__file__).with_name('spec.json').read_text()))\n"
        )

    return written


@pytest.fixture
def series(lay: Lay) -> Fleet:
    lay(forecast(), daily())
    return modelfleet.open("shops")


@pytest.fixture
def rows(lay: Lay) -> Fleet:
    spec = readings(
        name="shops", candidates=(Candidate("sales.models:ridge"), Candidate("sales.models:never")), model=None
    )
    lay(spec, at_times(daily()))
    return modelfleet.open("shops")


def files() -> dict[str, bytes]:
    """Every file of the home."""
    return {str(path): path.read_bytes() for path in settings.home().rglob("*") if path.is_file()}


# --- opening -------------------------------------------------------------------------------------------------------


def test_a_fleet_that_never_ran_says_what_to_run(fleet_file: Callable[[FleetSpec], None]) -> None:
    fleet_file(forecast())
    with pytest.raises(NotFoundError, match=r"nothing was trained or profiled yet\nHint: modelfleet run shops"):
        modelfleet.open("shops")
    with pytest.raises(NotFoundError, match="did you mean 'shops'"):
        modelfleet.open("shop")


def test_an_interval_that_was_not_trained_is_named(series: Fleet) -> None:
    with pytest.raises(NotFoundError, match="for interval 2024-02-29; there are: 2024-03-31"):
        modelfleet.open("shops", "2024-02-29")


def test_an_attempt_without_rows_says_how_to_see_why(lay: Lay) -> None:
    attempt = lay(forecast(), daily())
    (settings.home() / "lake" / "shops" / "train" / KEY / attempt / "dataset.json").unlink()
    with pytest.raises(
        DataError, match=rf"no attempt .* got as far as prepared rows that can be read\nHint: .*--interval {KEY}"
    ):
        modelfleet.open("shops")


def test_rows_of_an_earlier_format_are_not_read(lay: Lay, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(forecast(), daily())
    monkeypatch.setattr(dataset, "FORMAT", dataset.FORMAT + 1)
    with pytest.raises(DataError, match=r"no attempt at the training of .* prepared rows that can be read") as caught:
        modelfleet.open("shops")
    assert "modelfleet run shops" in str(caught.value.hint)


def test_partitions_of_rows_alone_are_counted(series: Fleet) -> None:
    found = series.partitions()
    assert dict(zip(found["partition"], found["n_rows"], strict=True)) == {
        "shop=a": DAYS,
        "shop=b%2Fc": DAYS,
        "shop=young": 10,
    }
    assert series.failed().empty
    assert "rows only, no models" in repr(series)


def test_the_latest_attempt_counts_while_none_is_in_force(lay: Lay) -> None:
    lay(forecast(), daily(), "2024-03-30")
    lay(forecast(), daily())
    lay(forecast(), daily(), "2024-02-29")
    assert modelfleet.open("shops").interval == "2024-02-29"
    assert modelfleet.open("shops", KEY).interval == KEY


def test_a_changed_fleet_file_is_what_fits_go_by(
    series: Fleet, lay: Lay, fleet_file: Callable[[FleetSpec], None]
) -> None:
    assert series.notes == ()
    fleet_file(forecast(candidates=(Candidate("sales.models:ridge"),)))
    now = modelfleet.open("shops")
    assert "fleet file has changed" in now.notes[0]
    assert len(now.notes) == 1, "the rows would be the same"
    assert now.partition("shop=a").fit().candidate == "ridge"
    then = modelfleet.open("shops", as_trained=True)
    assert next(learner.name for learner in then.spec.learners) == "SeasonalNaive"
    assert then.notes == ()


def test_rows_that_lack_a_column_of_now_say_how_to_prepare_them(
    series: Fleet, lay: Lay, fleet_file: Callable[[FleetSpec], None]
) -> None:
    wanted = forecast(features=Features(past=(Lag("price", 7),)))
    fleet_file(wanted)
    lacking = modelfleet.open("shops")
    assert "prepares them again" in lacking.notes[1]
    lay(wanted, daily())
    found = modelfleet.open("shops")
    assert found.notes == (), "rows that were prepared for the file of now are preferred"
    assert list(found.partition("shop=a").matrix("ridge").columns) == ["price_lag_7"]


def test_a_column_that_no_rows_have_is_named(series: Fleet, fleet_file: Callable[[FleetSpec], None]) -> None:
    fleet_file(forecast(features=Features(past=(Lag("visitors", 7),))))
    with pytest.raises(DataError, match=rf"lack 'visitors'.*\nHint: .*modelfleet profile shops --interval {KEY}"):
        modelfleet.open("shops").partition("shop=a").fit()


@pytest.mark.parametrize(
    "key, error, message",
    [
        ("shop=nobody", NotFoundError, "have no partition 'shop=nobody'"),
        ("nobody", DataError, "is no partition key; allowed is shop=..."),
        ({"store": "a"}, DataError, "allowed is shop=..."),
    ],
)
def test_an_unknown_partition_says_so(key: Any, error: type[Exception], message: str, series: Fleet) -> None:
    with pytest.raises(error, match=message):
        series.partition(key)


# --- rows and matrices ---------------------------------------------------------------------------------------------


def test_frame_holds_the_partitions_rows_in_time_order(rows: Fleet) -> None:
    frame = rows.partition(shop="b/c").frame()
    own = at_times(daily()).to_pandas().query("shop == 'b/c'")
    pd.testing.assert_frame_equal(frame[own.columns], own.reset_index(drop=True), check_dtype=False)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_saved_rows_are_the_frame(suffix: str, rows: Fleet, tmp_path: Path) -> None:
    partition = rows.partition("shop=a")
    file = partition.save(tmp_path / "deep" / f"rows.{suffix}")
    frame = pq.read_table(file).to_pandas() if suffix == "parquet" else pd.read_csv(file, parse_dates=["at"])
    pd.testing.assert_frame_equal(frame, partition.frame(), check_dtype=False)


def test_rows_are_saved_as_parquet_or_csv_alone(rows: Fleet, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'rows.xlsx' is neither a \.parquet nor a \.csv"):
        rows.partition("shop=a").save(tmp_path / "rows.xlsx")


def test_an_estimator_fitted_on_the_matrix_is_the_model(rows: Fleet) -> None:
    partition = rows.partition("shop=a")
    from sklearn.linear_model import Ridge

    own = Ridge(alpha=1.0).fit(partition.matrix("ridge").to_numpy(), partition.frame()["units"])
    np.testing.assert_array_equal(own.coef_, partition.fit("ridge").model.coef_)
    assert list(partition.matrix().columns) == ["price"]


def test_a_forecasts_matrix_is_of_the_step_and_names_its_features(series: Fleet) -> None:
    partition = series.partition("shop=a")
    matrix = partition.matrix("ridge")
    assert list(matrix.columns) == ["units_lag_7", "units_mean_14", "weekday"]
    units = partition.frame()["units"]
    np.testing.assert_allclose(matrix["units_lag_7"].to_numpy()[7:], units.to_numpy()[:-7])
    np.testing.assert_allclose(matrix["units_mean_14"].to_numpy()[30], units.to_numpy()[10:24].mean())
    from sklearn.linear_model import Ridge

    whole = matrix.notna().all(axis=1).to_numpy() & (np.arange(len(matrix)) >= 7)
    fitted = partition.fit("ridge", alpha=1.0).model.fitted.estimators[0]
    own = Ridge(alpha=1.0).fit(matrix.to_numpy()[whole], units[whole])
    np.testing.assert_allclose(own.coef_, fitted.coef_)
    assert list(partition.matrix("SeasonalNaive").columns) == ["weekday"], "a forecaster gets what is known ahead"


# --- fits ----------------------------------------------------------------------------------------------------------


def test_a_fit_selects_among_the_candidates_and_shows_their_scores(series: Fleet) -> None:
    fit = series.partition("shop=a").fit()
    assert fit.status == "trained"
    scores = fit.candidates.set_index("candidate")["score"]
    assert list(scores.index) == ["SeasonalNaive", "ridge(alpha=1.0)", "ridge(alpha=100.0)"]
    assert fit.candidate == scores.idxmin()
    assert fit.metrics["wape"] == pytest.approx(fit.candidates.set_index("candidate").loc[fit.candidate, "fold_0"])
    shown = str(fit.explain())
    for text in ("candidates by wape", fit.candidate, "baseline", "fold 1", f"holdout: {HORIZON}"):
        assert text in shown


def test_holdout_gives_the_metrics_that_the_fit_has(series: Fleet) -> None:
    fit = series.partition("shop=a").fit()
    held = fit.holdout()
    assert list(held.columns) == ["day", "actual", "prediction", "q10", "q50", "q90", "baseline"]
    assert np.abs(held["actual"] - held["prediction"]).mean() == pytest.approx(fit.metrics["mae"])
    assert np.abs(held["actual"] - held["baseline"]).mean() == pytest.approx(fit.row["baseline_mae"])


def test_candidates_and_params_are_chosen_by_name(series: Fleet) -> None:
    partition = series.partition("shop=a")
    assert list(partition.fit("ridge").candidates["candidate"]) == ["ridge(alpha=1.0)", "ridge(alpha=100.0)"]
    assert partition.fit("ridge(alpha=100.0)").candidate == "ridge(alpha=100.0)"
    tried = partition.fit("ridge", alpha=7.0)
    assert list(tried.candidates["candidate"]) == ["ridge(alpha=7.0)"]
    assert tried.model.fitted.estimators[0].alpha == 7.0
    other = partition.fit("sklearn.linear_model:Ridge", alpha=3.0)
    assert other.candidate == "Ridge(alpha=3.0)"


@pytest.mark.parametrize(
    "candidate, params, message",
    [
        ("rigde", {}, r"has no candidate 'rigde'; it has SeasonalNaive, ridge"),
        (None, {"alpha": 1.0}, "alpha given, but not to which candidate"),
        ("boosted", {"max_iter": 5}, "'boosted' is fitted on all partitions"),
    ],
)
def test_a_candidate_that_can_not_be_tried_says_so(
    candidate: str | None, params: dict[str, Any], message: str, lay: Lay
) -> None:
    spec = forecast()
    lay(forecast(candidates=(*spec.candidates, Candidate("sales.models:boosted", scope="fleet"))), daily())
    facts = settings.home() / "lake" / "shops" / "train" / KEY
    (file,) = facts.glob("*/dataset.json")
    file.write_text(file.read_text().replace('"categories": {}', '"categories": {"shop": ["a", "b/c", "young"]}'))
    with pytest.raises(DataError, match=message):
        modelfleet.open("shops").partition("shop=a").fit(candidate, **params)


def test_a_partition_without_a_model_shows_why(series: Fleet) -> None:
    fit = series.partition("shop=young").fit()
    assert (fit.status, fit.reason, fit.model) == ("skipped", "too_few_rows", None)
    assert "10 rows with a target, 30 needed" in repr(fit)
    assert fit.holdout().empty
    assert series.partition("shop=young").fit(debug=True).status == "skipped"


def test_a_failing_candidate_shows_and_debug_lets_its_exception_through(rows: Fleet) -> None:
    partition = rows.partition("shop=a")
    fit = partition.fit("never")
    assert (fit.status, fit.reason) == ("failed", "fit_raised")
    assert "out of order" in str(fit.explain())
    assert partition.fit().candidate == "ridge", "beside another candidate it costs nothing"
    with pytest.raises(ValueError, match="out of order") as caught:
        partition.fit("never", debug=True)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].filename.endswith("sales/models.py"), "a debugger lands in the author's code"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_fits_and_looks_write_nothing(series: Fleet) -> None:
    before = files()
    partition = series.partition("shop=a")
    fit = partition.fit()
    partition.frame(), partition.matrix(), partition.explain(), fit.explain(), fit.forecast(), fit.plot()
    assert files() == before


def test_the_fit_is_the_same_each_time(series: Fleet) -> None:
    first, second = (series.partition("shop=a").fit() for _ in range(2))
    assert first.model_digest == second.model_digest
    assert first.row["fingerprint"] == second.row["fingerprint"]


# --- predictions and plots -----------------------------------------------------------------------------------------


def test_a_fit_forecasts_the_steps_after_the_interval(series: Fleet) -> None:
    made = series.partition("shop=a").fit().forecast()
    assert list(made["step"]) == list(range(1, HORIZON + 1))
    first = date.fromisoformat(KEY) + timedelta(days=1)
    assert list(pd.to_datetime(made["day"]).dt.date) == [first + timedelta(days=n) for n in range(HORIZON)]
    assert (made["q10"] <= made["q90"]).all()
    assert set(made["source"]) == {"model"}


def test_a_skipped_partition_is_forecast_by_the_baseline(series: Fleet) -> None:
    assert set(series.partition("shop=young").fit().forecast()["source"]) == {"baseline"}


def test_without_a_training_there_is_no_stored_model(series: Fleet) -> None:
    with pytest.raises(NotFoundError, match="has no models\nHint: fit"):
        series.partition("shop=a").forecast()


def test_a_regression_predicts_its_own_rows_and_others(rows: Fleet) -> None:
    fit = rows.partition("shop=a").fit()
    own = fit.predict()
    assert list(own.columns) == ["at", "units", "prediction", "source"]
    np.testing.assert_allclose(own["prediction"], fit.model.predict(rows.partition("shop=a").matrix().to_numpy()))
    frame = pd.DataFrame({"at": [pd.Timestamp("2024-04-01", tz="UTC")], "price": [1.5]})
    np.testing.assert_allclose(fit.predict(frame)["prediction"], fit.model.predict([[1.5]]))
    with pytest.raises(DataError, match="the rows lack 'price'"):
        fit.predict(frame.drop(columns="price"))
    with pytest.raises(DataError, match="is a regression, no forecast"):
        fit.forecast()


def names_of(figure: Any) -> list[str]:
    return [trace.name for trace in figure.data]


def test_a_forecasts_plot_shows_series_band_baseline_and_prediction(series: Fleet) -> None:
    fit = series.partition("shop=a").fit()
    figure = fit.plot()
    assert names_of(figure) == ["units", "q10 to q90", "baseline", "prediction"]
    np.testing.assert_allclose(figure.data[-1].y, fit.holdout()["prediction"])
    assert fit.candidate in figure.layout.title.text


def test_a_regressions_plot_shows_truth_against_prediction(rows: Fleet) -> None:
    fit = rows.partition("shop=a").fit()
    figure = fit.plot()
    assert names_of(figure) == ["exact", "prediction"]
    np.testing.assert_allclose(figure.data[1].x, fit.holdout()["actual"])


def test_a_classifications_plot_shows_the_probability(lay: Lay) -> None:
    table = at_times(daily())
    late = pa.array((table["units"].to_numpy() > 21).astype(np.int64))
    table = table.drop_columns(["units"]).append_column("late", late)
    lay(readings(name="shops", problem=Classification(target="late"), model="author_models:logistic"), table)
    fit = modelfleet.open("shops").partition("shop=a").fit()
    assert names_of(fit.plot()) == ["exact", "probability"]
    assert {"actual", "prediction", "probability", "baseline"} <= set(fit.holdout().columns)


def test_a_skipped_partitions_plot_shows_its_target_and_why(series: Fleet) -> None:
    figure = series.partition("shop=young").fit().plot()
    assert names_of(figure) == ["units"]
    assert "too_few_rows" in figure.layout.title.text


def test_candidates_are_a_table_with_a_column_per_fold() -> None:
    table = candidates_frame(
        [
            {"name": "a", "score": 1.0, "folds": {"0": 1.0, "1": 1.0}, "seconds": 0.1},
            {"name": "b", "score": 2.0, "folds": {"0": 2.0}, "seconds": 0.1, "failed": {"1": "ValueError: no"}},
            {"name": "c", "score": 3.0, "folds": {"0": 3.0}, "seconds": 0.1, "dropped": True},
        ]
    )
    assert list(table.columns) == ["candidate", "score", "fold_0", "fold_1", "seconds", "failed", "dropped"]
    assert list(table["failed"]) == [None, "ValueError: no", None]
    assert table["dropped"].tolist() == [False, False, True]
    assert candidates_frame([]).empty


# --- documents -----------------------------------------------------------------------------------------------------

DOCUMENT = Path(__file__).parents[1] / "docs" / "author-a-fleet.md"


def section(title: str) -> str:
    return DOCUMENT.read_text().split(title, 1)[1].split("\n## ", 1)[0]


def test_calls_that_the_document_names_exist() -> None:
    text = section("### A partition at hand")
    kinds = {"fleet": Fleet, "partition": Partition, "fit": Fit}
    named = {
        (owner, name)
        for owner in kinds
        for row in re.findall(rf"^\| `{owner}\..*$", text, flags=re.MULTILINE)
        for name in re.findall(r"`(?:\w+)?\.([a-z_]+)", row.split("|")[1])
    }
    fields = set(Fit.__dataclass_fields__)
    assert len(named) > 20
    assert [found for found in named if not hasattr(kinds[found[0]], found[1]) and found[1] not in fields] == []


def test_tutorials_rows_intervals_and_partition_fit_together(tmp_path: Path) -> None:
    text = section("## Your first forecast fleet").replace("/tmp/coffee", str(tmp_path))
    (script,) = re.findall(r"<<'END'\n(.*?)^END", text, flags=re.MULTILINE | re.DOTALL)
    exec(script, {})
    made = pd.read_csv(tmp_path / "history.csv")
    assert len(text.strip().splitlines()) <= 60
    assert set(re.findall(r"--interval (\S+)", text)) - {made["day"].max()} == {"2025-05-15"}, "the day after"
    assert re.findall(r"--start (\S+)", text) == [made["day"].min()]
    named = dict(re.findall(r'(shop|drink)="(\w+)"', text))
    assert len(made[(made["shop"] == named["shop"]) & (made["drink"] == named["drink"])]) == 500
    assert f"shop={named['shop']}/drink={named['drink']}" in text
