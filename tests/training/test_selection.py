"""Candidates compete: the best mean error over the folds wins, deterministically, and failures cost as little as they can."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfleet.prediction import NoModelError, Predicted, Reason
from modelfleet.spec import Learner
from modelfleet.training.selection import Trial, compete, trials_text

NAN = math.nan
FAILS = None
"""In the place of a score: fitting fails in that fold."""


@dataclass
class Scored:
    """A sample in which every candidate's score of every fold is settled; fold 0 first."""

    scores: Mapping[str, tuple[float | None, ...]]
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    fitted: list[tuple[str, int | None]] = field(default_factory=list)

    @property
    def folds(self) -> int:
        return len(next(iter(self.scores.values())))

    def fit(self, learner: Learner, fold: int | None) -> str:
        assert fold is not None
        self.fitted.append((learner.name, fold))
        if self.scores[learner.name][fold] is FAILS:
            reason = self.reasons.get(learner.name, Reason.FIT_RAISED)
            raise NoModelError("failed", reason, f"{learner.name} fails in fold {fold}")
        return f"{learner.name} {fold}"

    def predict(self, learner: Learner, model: str, fold: int) -> Predicted:
        assert model == f"{learner.name} {fold}"
        return Predicted(np.array([self.scores[learner.name][fold]], dtype=np.float64))

    def measure(self, predicted: Predicted, fold: int) -> Mapping[str, float]:
        return {"mae": float(predicted.values[0]), "r2": float(predicted.values[0])}


def learners(names: Mapping[str, object]) -> list[Learner]:
    return [Learner(name, "package:build", {}) for name in names]


def ranked(
    scores: Mapping[str, tuple[float | None, ...]], metric: str = "mae", *, halving: bool = False
) -> tuple[list[Trial], Scored]:
    sample = Scored(scores)
    return compete(sample, learners(scores), metric=metric, halving=halving), sample


@pytest.mark.parametrize(
    "scores, metric, winner",
    [
        pytest.param({"a": (2.0, 2.0), "b": (1.0, 2.0)}, "mae", "b", id="the better mean"),
        pytest.param({"a": (1.0, 4.0), "b": (2.0, 2.0)}, "mae", "b", id="the mean, not the holdout alone"),
        pytest.param({"a": (2.0, 2.0), "b": (1.0, 2.0)}, "r2", "a", id="more is better"),
        pytest.param({"a": (1.0, 2.0), "b": (2.0, 1.0), "c": (1.5, 1.5)}, "mae", "a", id="a tie: the first listed"),
        pytest.param({"a": (1.0 + 5e-10,), "b": (1.0,)}, "mae", "a", id="a tie but for rounding"),
        pytest.param({"a": (1.0 + 5e-9,), "b": (1.0,)}, "mae", "b", id="no tie any more"),
        pytest.param({"a": (-1.0 - 5e-10,), "b": (-1.0,)}, "r2", "a", id="a tie of what is negative"),
        pytest.param({"a": (0.0,), "b": (0.0,)}, "mae", "a", id="a tie of zeros"),
        pytest.param({"a": (0.0,), "b": (-math.inf,)}, "mae", "b", id="nothing ties with infinity"),
        pytest.param({"a": (1.0, FAILS), "b": (9.0, 9.0)}, "mae", "b", id="failing in a fold ranks behind"),
        pytest.param({"a": (1.0, FAILS, FAILS), "b": (9.0, FAILS, 9.0)}, "mae", "b", id="in two behind in one"),
        pytest.param({"a": (FAILS, 1.0), "b": (9.0, FAILS)}, "mae", "b", id="on the holdout, behind in another"),
        pytest.param({"a": (FAILS, 1.0, 1.0), "b": (9.0, FAILS, FAILS)}, "mae", "b", id="even in several others"),
        pytest.param({"a": (FAILS, FAILS), "b": (9.0, 9.0)}, "mae", "b", id="in every fold: the next"),
        pytest.param({"a": (NAN, 3.0), "b": (2.0, 2.0)}, "mae", "b", id="the mean of what is defined"),
        pytest.param({"a": (NAN, NAN), "b": (9.0, 9.0)}, "mae", "b", id="undefined ranks behind defined"),
        pytest.param({"a": (NAN, NAN), "b": (9.0, 9.0)}, "r2", "b", id="also where more is better"),
        pytest.param({"a": (NAN,), "b": (NAN,)}, "mae", "a", id="undefined for all: the first listed"),
        pytest.param({"a": (math.inf,), "b": (1e300,)}, "mae", "b", id="infinite"),
        pytest.param({"a": (math.inf,), "b": (math.inf,)}, "mae", "a", id="infinite for all: the first listed"),
        pytest.param({"a": (NAN,), "b": (math.inf,)}, "mae", "b", id="undefined ranks behind infinite too"),
        pytest.param({"a": (FAILS, 1.0), "b": (NAN, NAN)}, "mae", "b", id="undefined before failed"),
    ],
)
def test_winner(scores: Mapping[str, tuple[float | None, ...]], metric: str, winner: str) -> None:
    trials, _ = ranked(scores, metric)
    assert trials[0].learner.name == winner
    assert sorted(trial.learner.name for trial in trials) == sorted(scores)


SCORES = st.sampled_from([0.0, 1.0, 1.0 + 1e-10, 2.0, 1e300, math.inf, NAN, FAILS])


@given(
    table=st.integers(1, 3).flatmap(lambda folds: st.lists(st.tuples(*[SCORES] * folds), min_size=1, max_size=5)),
    more=st.booleans(),
)
def test_winner_is_the_one_of_a_plain_ranking(table: list[tuple[float | None, ...]], more: bool) -> None:
    scores = {f"c{n}": row for n, row in enumerate(table)}
    measured = [name for name, row in scores.items() if row[0] is not FAILS]
    if not measured:
        with pytest.raises(NoModelError):
            ranked(scores)
        return

    def mean(name: str) -> float:
        known = [score for score in scores[name] if score is not FAILS and not math.isnan(score)]
        return sum(known) / len(known) if known else NAN

    fewest = min(scores[name].count(FAILS) for name in measured)
    rivals = [name for name in measured if scores[name].count(FAILS) == fewest]
    defined = [name for name in rivals if not math.isnan(mean(name))]
    best = (max if more else min)(map(mean, defined)) if defined else NAN
    equal = [name for name in defined if math.isclose(mean(name), best, rel_tol=1e-9)]
    trials, _ = ranked(scores, "r2" if more else "mae")
    assert trials[0].learner.name == (equal or rivals)[0]
    again, _ = ranked(scores, "r2" if more else "mae")
    assert [trial.learner.name for trial in again] == [trial.learner.name for trial in trials]


class TestAllFail:
    def test_messages_of_all_are_told_with_the_reason_of_the_first_listed(self) -> None:
        with pytest.raises(
            NoModelError, match=r"^all 2 candidates failed: a: a fails .* 0; b: b fails in fold 0$"
        ) as e:
            ranked({"a": (FAILS, 1.0), "b": (FAILS, FAILS)})
        assert (e.value.status, e.value.reason) == ("failed", Reason.FIT_RAISED)

    def test_reason_that_a_retry_may_mend_is_not_hidden_behind_the_first(self) -> None:
        names = ("a", "b", "c")
        sample = Scored(dict.fromkeys(names, (FAILS,)), {"b": Reason.MEMORY_EXCEEDED, "c": Reason.CRASHED})
        with pytest.raises(NoModelError, match=r"^all 3 candidates failed: a: a fails") as error:
            compete(sample, learners(sample.scores), metric="mae")
        assert error.value.reason == Reason.MEMORY_EXCEEDED

    def test_message_of_the_only_one_is_its_own(self) -> None:
        with pytest.raises(NoModelError, match=r"^a fails in fold 0$"):
            ranked({"a": (FAILS, 1.0)})

    def test_message_is_bounded(self) -> None:
        with pytest.raises(NoModelError) as error:
            ranked({"c" * 80 + str(n): (FAILS,) for n in range(60)})
        assert error.value.message.startswith("all 60 candidates failed: ccc")
        assert len(error.value.message) == 500


class TestHalving:
    def test_the_worse_half_is_left_out_after_each_fold_the_latest_first(self) -> None:
        scores = {name: (float(n),) * 4 for n, name in enumerate("abcde")}
        trials, sample = ranked(scores, halving=True)
        fits = {fold: [name for name, at in sample.fitted if at == fold] for fold in range(4)}
        assert fits == {0: list("abcde"), 1: list("abc"), 2: list("ab"), 3: ["a"]}
        assert [trial.learner.name for trial in trials if trial.dropped] == list("bcde")

    def test_one_that_is_left_out_does_not_win_by_the_folds_it_had(self) -> None:
        trials, _ = ranked({"a": (2.0, 9.0), "b": (3.0, 0.0), "c": (1.0, 9.5)}, halving=True)
        assert [(trial.learner.name, trial.dropped) for trial in trials] == [("c", False), ("a", False), ("b", True)]

    def test_one_that_fails_is_left_out_first(self) -> None:
        trials, _ = ranked({"a": (FAILS, 1.0), "b": (9.0, 9.0), "c": (8.0, 9.0)}, halving=True)
        assert [(t.learner.name, t.dropped) for t in trials] == [("c", False), ("b", False), ("a", True)]

    def test_nothing_is_left_out_after_the_last_fold(self) -> None:
        trials, _ = ranked({"a": (1.0,), "b": (2.0,)}, halving=True)
        assert not any(trial.dropped for trial in trials)

    def test_of_equals_the_first_listed_stay(self) -> None:
        _, sample = ranked(dict.fromkeys("abcd", (1.0, 1.0)), halving=True)
        assert [name for name, fold in sample.fitted if fold == 1] == ["a", "b"]


def test_models_are_kept_of_the_folds_that_are_asked_for() -> None:
    sample = Scored({"a": (1.0, 1.0, 1.0)})
    assert list(compete(sample, learners(sample.scores), metric="mae")[0].models) == [0]
    assert list(compete(sample, learners(sample.scores), metric="mae", keep=3)[0].models) == [0, 1, 2]


def test_text_has_all_candidates_in_the_order_of_the_spec_with_scores_and_failures() -> None:
    trials, _ = ranked({"a": (2.0, FAILS), "b": (1.0, NAN), "ü": (math.inf, 1.0)})
    told = json.loads(trials_text(trials))
    seconds = [each.pop("seconds") for each in told]
    assert all(second >= 0 for second in seconds)
    assert told == [
        {"name": "a", "score": 2.0, "folds": {"0": 2.0}, "failed": {"1": "a fails in fold 1"}},
        {"name": "b", "score": 1.0, "folds": {"0": 1.0, "1": None}},
        {"name": "ü", "score": None, "folds": {"0": None, "1": 1.0}},
    ]
    assert "dropped" in trials_text(ranked({"a": (1.0, 1.0), "b": (2.0, 2.0)}, halving=True)[0])
