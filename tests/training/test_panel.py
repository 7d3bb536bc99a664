"""One model over many partitions: what is stacked, who takes part, and what it costs when one can't."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from forecast_bench import END, KEYS, RIDGE, Part, bucket, key, plan, problem, spec
from forecast_bench import part as series
from modelfleet import Candidate, Features, FleetSpec, Lag, Training
from modelfleet.matrices import Bucket
from modelfleet.metrics import forecast, scale
from modelfleet.prediction import NoModelError, Reason
from modelfleet.training import author_code
from modelfleet.training.group_fitting import _usable
from modelfleet.training.groups import TrainedGroups
from modelfleet.training.panel import PanelSample
from modelfleet.training.selection import compete
from modelfleet.training.series import SeriesSample

LONG = {("S", "a"): series(60, seed=1), ("S", "b"): series(50, seed=2, level=90.0), ("T", "a"): series(40, seed=3)}
SHORT = {("T", "short"): series(10, seed=4)}
FEW, IMPUTED = "author_forecasters:few", "author_forecasters:imputed"


def fleet(model: str = RIDGE, **training: Any) -> FleetSpec:
    changes = {name: training.pop(name) for name in ("features", "problem") if name in training}
    candidates = (Candidate(model, scope="fleet"),)
    return spec(candidates=candidates, training=Training(**{"folds": 3, "min_rows": 20, **training}), **changes)


def panel(parts: dict[tuple[str, str], Part], of: FleetSpec) -> PanelSample:
    settled = plan(of, parts)
    rows = Bucket(bucket(parts, of), "day", (*KEYS, "day"))
    codes = author_code(settled)
    members = [
        SeriesSample(name, rows, place, settled, codes, TrainedGroups().shared)
        for place, (name, _, _) in enumerate(rows.bounds)
    ]
    return PanelSample("fleet", [member for member in members if _usable(member)], settled)


def stacked(made: PanelSample, fold: int | None, ahead: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, targets and weights of all rows before a fold, one member below the other."""
    xs, ys, ws = [], [], []
    for member in made.members:
        upto = len(member.y) if fold is None else member.span(fold)[0]
        code = next(iter(member.codes.values()))
        xs.append(member.matrix(made.plan.shared_inputs, code, ahead)[:upto])
        ys.append(member.y[:upto])
        ws.append(np.array(member.table.column("w").to_pylist())[:upto])
    return np.concatenate(xs), np.concatenate(ys), np.concatenate(ws)


@pytest.mark.parametrize("fold", [0, 2, None])
@pytest.mark.parametrize("weight", [None, "w"])
def test_model_is_fitted_on_the_rows_of_all_members_with_the_keys_as_features(
    fold: int | None, weight: str | None
) -> None:
    made = panel(LONG, fleet(weight=weight))
    recipe = made.plan.shared_inputs.recipe
    assert recipe is not None
    assert recipe.names(7)[1:3] == ("store", "item")
    x, y, w = stacked(made, fold)
    whole = ~np.isnan(x).any(axis=1)
    expected = Ridge().fit(x[whole], y[whole], sample_weight=w[whole] if weight else None)
    (estimator,) = made.fit(made.plan.learners[0], fold).fitted.estimators
    np.testing.assert_allclose(estimator.coef_, expected.coef_, rtol=1e-7)
    assert sorted(set(x[:, 1])) == [0.0, 1.0]


def test_estimator_that_takes_missing_values_is_fitted_on_the_short_past_too() -> None:
    made = panel(LONG | SHORT, fleet(IMPUTED))
    rows = made.fit(made.plan.learners[0], None).fitted.estimators[0][-1].rows
    assert rows == 60 + 50 + 40 + 10
    refusing = panel(LONG | SHORT, fleet(FEW))
    kept = refusing.fit(refusing.plan.learners[0], None).fitted.estimators[0].rows
    assert kept == rows - 4 * 8  # those without a lag of 8


def test_metrics_are_those_of_all_members_rows_together() -> None:
    made = panel(LONG, fleet())
    learner = made.plan.learners[0]
    (trial,) = compete(made, [learner], metric="wape")
    truth = np.concatenate([member.y[-7:] for member in made.members])
    values = np.concatenate([member.predict(learner, trial.models[0], 0).values for member in made.members])
    scales = [scale(member.y[:-7], 7) for member in made.members]
    expected = forecast(truth, values, scale=float(np.mean(scales)))
    assert made.measure(trial.predicted[0], 0) == pytest.approx(expected, nan_ok=True)
    assert trial.scores[0] == pytest.approx(expected["wape"])
    assert made.rows(0) == (60 + 50 + 40 - 21, 21)


def test_member_that_can_not_be_predicted_counts_with_its_baseline() -> None:
    made = panel(LONG | SHORT, fleet(FEW))
    learner = made.plan.learners[0]
    (trial,) = compete(made, [learner], metric="wape")
    place = [member.key for member in made.members].index(key(("T", "short")))
    np.testing.assert_array_equal(
        trial.predicted[0].values[7 * place : 7 * place + 7], made.members[place].baseline(0).values
    )
    others = np.delete(trial.predicted[0].values, np.s_[7 * place : 7 * place + 7])
    assert set(others) == {trial.models[0].fitted.estimators[0].mean}


def test_model_that_predicts_no_member_fails() -> None:
    made = panel(LONG, fleet("author_forecasters:refusing"))
    with pytest.raises(NoModelError, match="no prediction today") as error:
        compete(made, made.plan.learners, metric="wape")
    assert error.value.reason == Reason.PREDICTION_INVALID


class TestMembers:
    @pytest.mark.parametrize(
        "given, takes_part",
        [
            pytest.param(series(10, seed=5), True, id="short"),
            pytest.param(series(40, y=3.0), True, id="constant"),
            pytest.param(series(6, seed=5), True, id="shorter than the horizon"),
            pytest.param(series(40, y=None), False, id="no target"),
            pytest.param({**series(40), "y": [float("inf"), *series(40)["y"][1:]]}, False, id="infinite"),
            pytest.param({**series(10), "y": [float("inf"), *series(10)["y"][1:]]}, False, id="short and infinite"),
            pytest.param({**series(40), "y": [*series(40)["y"][:-1], None]}, False, id="a date without target"),
            pytest.param({**series(10), "y": [*series(10)["y"][:-1], None]}, False, id="short, without a target"),
            pytest.param(series(40, w=-1.0), False, id="weights"),
            pytest.param(series(10, w=-1.0), False, id="short, with bad weights"),
        ],
    )
    def test_are_those_that_are_sound_however_few_their_rows(self, given: Part, takes_part: bool) -> None:
        made = panel(LONG | {("T", "odd"): given}, fleet(weight="w"))
        assert (key(("T", "odd")) in [member.key for member in made.members]) == takes_part
        (trial,) = compete(made, made.plan.learners, metric="wape")
        assert np.isfinite(trial.score)

    def test_without_rows_before_a_fold_are_left_out_of_it(self) -> None:
        made = panel(SHORT | {("T", "new"): series(4, seed=6), ("S", "a"): LONG["S", "a"]}, fleet())
        assert made.rows(0) == (3 + 53, 14)
        assert made.rows(1) == (46, 7)
        assert made.folds == 3

    def test_all_too_short_make_no_model(self) -> None:
        made = panel({("T", "new"): series(5, seed=6)}, fleet(features=Features(calendar=("weekday",))))
        assert made.folds == 1
        with pytest.raises(NoModelError, match="no partition has rows before the holdout"):
            compete(made, made.plan.learners, metric="wape")

    def test_whose_features_all_need_a_longer_past_make_no_model(self) -> None:
        made = panel(SHORT, fleet(features=Features(past=(Lag("y", 14),))))
        with pytest.raises(NoModelError, match="no row has all features that look back"):
            made.fit(made.plan.learners[0], None)


def test_recursive_and_blocked_models_are_stacked_likewise() -> None:
    for changes, blocks in ((problem(strategy="recursive"), None), (problem(steps_per_model=3), 3)):
        made = panel(LONG, fleet(problem=changes))
        (trial,) = compete(made, made.plan.learners, metric="wape")
        assert len(trial.predicted[0].values) == 21
        fitted = trial.models[0].fitted
        assert hasattr(fitted, "estimator") if blocks is None else len(fitted.estimators) == blocks
        x, y, _ = stacked(made, 0, ahead=1 if blocks is None else 3)
        whole = ~np.isnan(x).any(axis=1)
        first = fitted.estimator if blocks is None else fitted.estimators[0]
        if blocks is None:
            np.testing.assert_allclose(first.coef_, Ridge().fit(x[whole], y[whole]).coef_, rtol=1e-7)


def test_window_spans_all_members() -> None:
    start, end = panel(LONG, fleet()).window
    assert end == np.datetime64(END.date()) - np.timedelta64(1, "D")
    assert end - start == np.timedelta64(59, "D")
