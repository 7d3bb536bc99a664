"""One series as candidates meet it: its folds, its gap, and why some series have no model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from forecast_bench import END, LAST, RIDGE, Part, model_of, part, problem, sample, spec, train
from modelfleet import Candidate, Features, FleetSpec, Lag, Training
from modelfleet.errors import SpecError
from modelfleet.prediction import NoModelError

ITEM = ("S", "I")


def folds(count: int = 3, **training: Any) -> FleetSpec:
    return spec(training=Training(folds=count, **{"min_rows": 20, **training}))


@pytest.mark.parametrize(
    "days, training, spans",
    [
        pytest.param(84, {}, [(77, 77, 84), (70, 70, 77), (63, 63, 70)], id="all"),
        pytest.param(84, {"gap": "3D"}, [(74, 77, 84), (67, 70, 77), (60, 63, 70)], id="gap"),
        pytest.param(31, {}, [(24, 24, 31), (17, 17, 24), (10, 10, 17)], id="half the rows needed before the first"),
        pytest.param(30, {}, [(23, 23, 30), (16, 16, 23)], id="one less"),
        pytest.param(31, {"gap": "1D"}, [(23, 24, 31), (16, 17, 24)], id="one less by the gap"),
        pytest.param(20, {}, [(13, 13, 20)], id="the holdout alone"),
        pytest.param(20, {"min_rows": 8}, [(13, 13, 20), (6, 6, 13)], id="fewer rows needed"),
        pytest.param(9, {"min_rows": 9}, [(2, 2, 9)], id="the holdout, whatever is before it"),
        pytest.param(24, {"min_rows": 1}, [(17, 17, 24), (10, 10, 17), (3, 3, 10)], id="never fewer than two rows"),
        pytest.param(22, {"min_rows": 1}, [(15, 15, 22), (8, 8, 15)], id="never one"),
    ],
)
def test_folds_are_the_horizons_before_the_end(
    days: int, training: dict[str, Any], spans: list[tuple[int, int, int]]
) -> None:
    made = sample(part(days), folds(**training))
    assert [made.span(fold) for fold in range(made.folds)] == spans
    assert (made.train_rows, made.test_rows) == (spans[0][0], 7)
    made.check()


def broken(**columns: Any) -> Part:
    return part(40, seed=3, **columns)


def with_value(place: int, value: float | None) -> list[float | None]:
    y: list[float | None] = list(broken()["y"])
    y[place] = value
    return y


def without_row(place: int) -> Part:
    return {name: [*values[:place], *values[place + 1 :]] for name, values in broken().items()}


def twice(place: int) -> Part:
    return {name: [*values[: place + 1], *values[place:]] for name, values in broken().items()}


WEIGHTED = Training(min_rows=20, weight="w")
NO_MODEL: list[tuple[str, Part, dict[str, Any], str, str, str]] = [
    ("no target", broken(y=None), {}, "skipped", "no_target", "no row before 2013-04-01 has a target"),
    ("few", part(19), {}, "skipped", "too_few_rows", "19 rows with a target, 20 needed"),
    (
        "horizon",
        part(25),
        {"problem": problem(horizon=30), "features": Features(calendar=("weekday",))},
        "skipped",
        "no_rows_before_cutoff",
        "25 steps, of which a horizon of 30 leaves none to fit on",
    ),
    (
        "gap",
        part(20),
        {"training": Training(min_rows=20, gap="13D")},
        "skipped",
        "no_rows_before_cutoff",
        "20 steps, of which a horizon of 7 and a gap of 13 leaves none",
    ),
    ("constant", broken(y=3.0), {}, "skipped", "constant_target", "the target is 3 in all 33 training rows"),
    ("gone", without_row(5), {}, "failed", "bad_series", "1 date has no row or no target: 2013-02-25"),
    ("null", broken(y=with_value(5, None)), {}, "failed", "bad_series", "no row or no target: 2013-02-25"),
    ("twice", twice(5), {}, "failed", "bad_series", "1 date has several rows: 2013-02-25"),
    ("infinite", broken(y=with_value(5, math.inf)), {}, "failed", "bad_target", "the target holds infinity"),
    (
        "negative weight",
        broken(w=-1.0),
        {"training": WEIGHTED},
        "failed",
        "bad_weight",
        "'w' is null, not finite or neg",
    ),
    ("weight", broken(w=-0.5), {"training": WEIGHTED}, "failed", "bad_weight", "negative in 40 of 40 rows"),
    (
        "memory",
        part(20),
        {
            "problem": problem(horizon=14),
            "features": Features(past=(Lag("y", 14),)),
            "candidates": (Candidate(RIDGE),),
        },
        "skipped",
        "too_few_rows",
        "none of 6 rows with a target has all features that look back",
    ),
]


@pytest.mark.parametrize(
    "given, changes, status, reason, message", [c[1:] for c in NO_MODEL], ids=[c[0] for c in NO_MODEL]
)
def test_series_without_a_model_says_why_and_has_its_baseline(
    given: Part, changes: dict[str, Any], status: str, reason: str, message: str
) -> None:
    of = spec(**{"training": Training(min_rows=20), **changes})
    rows = train({ITEM: given, ("S", "good"): part(60)}, of)
    row = rows[ITEM]
    assert (row["status"], row["reason"]) == (status, reason), row["message"]
    assert message in row["message"]
    assert (row["model"], row["serves"], row["baseline_value"]) == (None, "baseline", None)
    assert rows["S", "good"]["status"] == "trained"


@pytest.mark.parametrize("missing, value", [("zero", 0.0), ("previous", broken()["y"][4])])
def test_dates_without_a_row_are_filled_by_the_policy(missing: str, value: float) -> None:
    of = spec(problem=problem(missing=missing))
    made = sample(without_row(5), of)
    made.check()
    assert made.y[5] == value
    assert len(made.y) == 40
    assert train({ITEM: without_row(5)}, of)[ITEM]["n_rows"] == 40


def test_gap_that_is_no_whole_number_of_steps_is_refused_by_the_spec() -> None:
    with pytest.raises(SpecError, match=r"training\.gap"):
        folds(gap="36h")


def moody(given: Part, *lengths: int) -> Part:
    return {**given, "y": [661.0, *given["y"][1:]]}


LAST_RESORT = Candidate(LAST, name="last resort")


class TestCandidatesThatFail:
    """A series that begins with 661 asks `moody` to raise on certain numbers of values."""

    GIVEN = moody(part(40))

    @staticmethod
    def fleet(*lengths: int, more: tuple[Candidate, ...] = (LAST_RESORT,)) -> FleetSpec:
        failing = Candidate("author_forecasters:moody", params={"lengths": lengths}, name="moody")
        return spec(candidates=(failing, *more), training=Training(folds=3, min_rows=20))

    def test_in_a_fold_rank_behind(self) -> None:
        row = train({ITEM: self.GIVEN}, self.fleet(26))[ITEM]
        assert (row["status"], row["candidate"]) == ("trained", "last resort")
        assert '"failed": {"1": "ValueError: no fit on 26 values today' in row["candidates"]

    def test_in_every_fold_leave_the_next(self) -> None:
        row = train({ITEM: self.GIVEN}, self.fleet(0))[ITEM]
        assert (row["status"], row["candidate"], row["n_folds"]) == ("trained", "last resort", 3)

    def test_when_fitted_again_leave_the_next(self) -> None:
        for lengths, candidate in (((), "moody"), ((40,), "last resort")):
            row = train({ITEM: self.GIVEN}, self.fleet(*lengths))[ITEM]
            assert (row["status"], row["candidate"]) == ("trained", candidate)
        assert model_of(row).fitted.fitted.model.value == self.GIVEN["y"][-1]

    def test_all_fail_the_partition_with_all_messages(self) -> None:
        other = Candidate("author_forecasters:moody", name="other")
        row = train({ITEM: self.GIVEN}, self.fleet(0, more=(other,)))[ITEM]
        assert (row["status"], row["reason"], row["serves"]) == ("failed", "fit_raised", "baseline")
        assert row["message"].startswith("all 2 candidates failed: moody: ValueError: no fit on 33 values today")
        assert "; other: ValueError: no fit on 33 values today" in row["message"]
        assert row["candidates"] is None

    def test_all_when_fitted_again_fail_the_partition_with_the_first_message(self) -> None:
        other = Candidate("author_forecasters:moody", params={"lengths": (40,)}, name="other")
        row = train({ITEM: self.GIVEN}, self.fleet(40, more=(other,)))[ITEM]
        assert (row["status"], row["reason"], row["model"]) == ("failed", "fit_raised", None)
        assert "no fit on 40 values today" in row["message"]
        assert row["candidates"].count('"score"') == 2

    def test_others_are_trained_as_if_alone(self) -> None:
        good = part(40, seed=9)
        alone = train({ITEM: good}, self.fleet(0))[ITEM]
        beside = train({ITEM: good, ("S", "bad"): self.GIVEN}, self.fleet(0))[ITEM]
        timed = dict.fromkeys(("fit_seconds", "candidates"))
        assert {name: repr(value) for name, value in (beside | timed).items()} == {
            name: repr(value) for name, value in (alone | timed).items()
        }


def test_halving_fits_fewer_and_says_which_it_left_out() -> None:
    candidates = tuple(Candidate(LAST, params={"shift": float(n)}, name=f"shift {n}") for n in (9, 0, 7, 8))
    row = train({ITEM: part(60)}, spec(candidates=candidates, training=Training(folds=3, min_rows=20, halving=True)))[
        ITEM
    ]
    assert (row["candidate"], row["n_folds"]) == ("shift 0", 3)
    assert row["candidates"].count('"dropped": true') == 3


def test_what_was_shared_and_failed_fails_like_any_candidate() -> None:
    of = spec(candidates=(Candidate(RIDGE, scope="fleet", name="global"), Candidate(LAST)))
    made = sample(part(60), of)
    with pytest.raises(NoModelError, match="candidate 'global' over the fleet: it was not fitted for this fold"):
        made.fit(of.learners[0], 0)
    row = train({ITEM: part(60)}, of)[ITEM]
    assert (row["candidate"], row["shared"]) == ("last", None)


def test_series_of_the_platform_ends_with_the_interval() -> None:
    made = sample(part(60), spec())
    assert made.times[-1] == np.datetime64("2013-03-31")
    assert np.datetime64(END.date()) - made.times[0].astype("datetime64[D]") == np.timedelta64(60, "D")
