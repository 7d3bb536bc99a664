"""What derived features may look back on, beside an oracle that walks every step, model and lag of a forecast."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spec_cases import fleet, series

from modelfleet import Difference, Expanding, Features, Forecast, Lag, Rolling, Training
from modelfleet.errors import SpecError


def refused(**changes: Any) -> SpecError:
    with pytest.raises(SpecError) as caught:
        series(**changes)
    return caught.value


PROBLEMS = st.integers(1, 8).flatmap(
    lambda horizon: st.one_of(
        st.builds(
            lambda size: Forecast(target="units", freq="D", horizon=horizon, steps_per_model=size),
            st.none() | st.integers(1, horizon),
        ),
        st.just(Forecast(target="units", freq="D", horizon=horizon, strategy="recursive")),
    )
)
COLUMN = st.sampled_from(["units", "sold_out", "price"])
LAGS = st.lists(st.integers(1, 10), min_size=1, max_size=3, unique=True)
WINDOWED = st.one_of(
    st.builds(lambda column: Rolling(column, 3, "mean"), COLUMN),
    st.builds(lambda column: Expanding(column, "sum"), COLUMN),
    st.builds(lambda column: Difference(column, 2), COLUMN),
)
PAST = st.lists(st.one_of(st.builds(lambda column, lags: Lag(column, *lags), COLUMN, LAGS), WINDOWED), max_size=3)


def models_of(problem: Forecast) -> list[range]:
    """The steps that each model forecasts."""
    if problem.strategy == "recursive":
        return [range(1, problem.horizon + 1)]
    size = problem.steps_per_model or problem.horizon
    steps = range(1, problem.horizon + 1)
    return [steps[first : first + size] for first in range(0, problem.horizon, size)]


def is_known(problem: Forecast, column: str, back: int, step: int) -> bool:
    """Whether the value `back` steps before the row of this step is known, or predicted, when the row is predicted."""
    if column == "price" or (column == "units" and problem.strategy == "recursive"):
        return True
    return back >= step


def features_of(problem: Forecast, part: Any, steps: range) -> int:
    """How many features a part gives a model, of which it must know each for all its steps."""
    if isinstance(part, Lag):
        return sum(all(is_known(problem, part.column, lag, step) for step in steps) for lag in part.steps)
    # A window ends so many steps before the row as the model forecasts ahead; a recursive one always at the row before.
    ends = 1 if problem.strategy == "recursive" else steps[-1]
    return int(all(is_known(problem, part.column, ends, step) for step in steps))


def is_sound(problem: Forecast, past: list[Any]) -> bool:
    """Every feature is known to some model, and every model knows some feature, if there are features at all."""
    models = models_of(problem)
    singles = [Lag(part.column, lag) for part in past if isinstance(part, Lag) for lag in part.steps]
    singles += [part for part in past if not isinstance(part, Lag)]
    seen_by_some = all(any(features_of(problem, part, steps) for steps in models) for part in singles)
    none_is_bare = not past or all(any(features_of(problem, part, steps) for part in past) for steps in models)
    return seen_by_some and none_is_bare


@given(PROBLEMS, PAST, st.booleans())
def test_features_are_accepted_just_where_all_are_known(problem: Forecast, past: list[Any], calendar: bool) -> None:
    again = [(part.kind, part.column, lag) for part in past for lag in getattr(part, "steps", (0,))]
    known = ("price",) if any(part.column == "price" for part in past) else ()
    parts = Features(past=tuple(past), known_ahead=known, calendar=("weekday",) if calendar else ())
    sound = len(set(again)) == len(again)
    if calendar or known:  # features that no model lacks
        sound = sound and all(is_sound(problem, [*single]) for single in _one_by_one(past, problem))
    else:
        sound = sound and is_sound(problem, past)
    try:
        series(problem=problem, features=parts, data=_read_ahead())
    except SpecError:
        assert not sound
    else:
        assert sound


def _one_by_one(past: list[Any], problem: Forecast) -> list[list[Any]]:
    """Each feature with a window beside it that every model knows."""
    singles = [Lag(part.column, lag) for part in past if isinstance(part, Lag) for lag in part.steps]
    singles += [part for part in past if not isinstance(part, Lag)]
    return [[single, Expanding("price", "count")] for single in singles]


def _read_ahead() -> dict[str, Any]:
    return {"connection": "pos", "table": "sales", "time": "sold_on", "ahead": "10D"}


ACCEPTED: list[tuple[str, Forecast, Features]] = [
    (
        "a lag known to the first model only",
        Forecast(target="units", freq="D", horizon=14, steps_per_model=7),
        Features(past=(Lag("units", 7, 14),)),
    ),
    (
        "short lags beside a window",
        Forecast(target="units", freq="D", horizon=14, steps_per_model=1),
        Features(past=(Lag("units", 1), Rolling("units", "7D", "mean"))),
    ),
    (
        "short lags beside parts of the date",
        Forecast(target="units", freq="D", horizon=14, steps_per_model=1),
        Features(past=(Lag("units", 1),), cyclic=("weekday",)),
    ),
    (
        "short lags beside holidays",
        Forecast(target="units", freq="D", horizon=14, steps_per_model=1),
        Features(past=(Lag("units", 1),), holidays="DE"),
    ),
    (
        "short lags beside a static column",
        Forecast(target="units", freq="D", horizon=14, steps_per_model=1),
        Features(past=(Lag("units", 1),), static=("size",)),
    ),
    (
        "every lag of the target, recursively",
        Forecast(target="units", freq="D", horizon=14, strategy="recursive"),
        Features(past=(Lag("units", 1, 2, 7), Rolling("units", 7, "std"), Difference("units", 7))),
    ),
    (
        "a long lag of another column, recursively",
        Forecast(target="units", freq="D", horizon=14, strategy="recursive"),
        Features(past=(Lag("visitors", 14), Lag("units", 1))),
    ),
    (
        "any past, recursively, one step ahead",
        Forecast(target="units", freq="D", horizon=1, strategy="recursive"),
        Features(past=(Rolling("visitors", "7D", "mean"), Lag("visitors", 1))),
    ),
    (
        "windows of another column, directly",
        Forecast(target="units", freq="D", horizon=14),
        Features(past=(Rolling("visitors", "7D", "mean"), Expanding("units", "max"), Difference("visitors", 1))),
    ),
    (
        "windows in rows, of months",
        Forecast(target="units", freq="MS", horizon=3),
        Features(past=(Rolling("units", 12, "mean"), Lag("units", 12))),
    ),
    (
        "windows in hours, of quarters of an hour",
        Forecast(target="units", freq="15min", horizon=4),
        Features(past=(Rolling("units", "90min", "mean"), Rolling("units", "1D", "mean", min_count=96))),
    ),
    ("no features, for forecasters", Forecast(target="units", freq="D", horizon=7), Features()),
]


@pytest.mark.parametrize("problem, features", [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_sound_features_are_accepted(problem: Forecast, features: Features) -> None:
    assert series(problem=problem, features=features).declared == features


WEEK = Forecast(target="units", freq="D", horizon=7)
RECURSIVE = Forecast(target="units", freq="D", horizon=7, strategy="recursive")
REFUSED: list[tuple[Forecast, dict[str, Any], str, str, str]] = [
    (
        WEEK,
        {"past": (Lag("units", 1, 6, 7, 8),)},
        "features.past[0]",
        "(1, 6)",
        "lags of at least 7 steps; no row to predict knows others\nHint: a lag of 6 is known .* steps_per_model=6",
    ),
    (
        Forecast(target="units", freq="D", horizon=7, steps_per_model=3),
        {"past": (Lag("units", 2), Lag("sold_out", 3, 1)), "calendar": ("month",)},
        "features.past[1]",
        "(1,)",
        "lags of at least 3 steps",
    ),
    (
        Forecast(target="units", freq="D", horizon=7, steps_per_model=3),
        {"past": (Lag("units", 3, 5),)},
        "features.past",
        "lags up to 5",
        "a feature of the steps 4 to 7 too, .*\nHint: add a lag of at least 7, a Rolling, or parts of the date",
    ),
    (
        RECURSIVE,
        {"past": (Lag("sold_out", 6, 7),)},
        "features.past[0]",
        "(6,)",
        "of 'sold_out', lags of at least the horizon, 7\nHint: 'sold_out' is not known for the steps to come",
    ),
    (
        RECURSIVE,
        {"past": (Lag("units", 1), Rolling("sold_out", 7, "sum"))},
        "features.past[1]",
        "Rolling(",
        "of 'sold_out', lags of at least the horizon, 7",
    ),
    (RECURSIVE, {"past": (Difference("sold_out", 7),)}, "features.past[0]", "Difference(", "lags of at least"),
    (RECURSIVE, {"past": (Expanding("sold_out", "mean"),)}, "features.past[0]", "Expanding(", "lags of at least"),
    (
        WEEK,
        {"past": (Lag("units", 7), Lag("units", 14, 7))},
        "features.past[1]",
        "['units_lag_7']",
        "names that no other has",
    ),
    (
        WEEK,
        {"past": (Lag("units", 7),), "static": ("units_lag_7",)},
        "features.past[0]",
        "['units_lag_7']",
        "names that no other has",
    ),
    (WEEK, {"calendar": ("month",), "static": ("month",)}, "features", "('month',)", "not named like a column"),
    (WEEK, {"holidays": "DE", "static": ("holiday",)}, "features", "('holiday',)", "not named like a column"),
    (
        WEEK,
        {"past": (Rolling("units", "7D", "mean"), Rolling("units", "7D", "mean", min_count=3))},
        "features.past[1]",
        "['units_mean_7D']",
        "names that no other has",
    ),
    (WEEK, {"past": (Lag("item", 7),)}, "features.past[0]", "'item'", "columns that change in a partition"),
    (
        WEEK,
        {"past": (Lag("size", 7),), "static": ("size",)},
        "features.past[0]",
        "'size'",
        "that change in a partition\nHint: key columns and static",
    ),
    (WEEK, {"past": (Difference("sold_on", 1),)}, "features.past[0]", "'sold_on'", "other than the time column"),
    (
        WEEK,
        {"past": (Lag("price", 7),), "known_ahead": ("price",), "categorical": ("price",)},
        "features.past[0]",
        "'price'",
        "columns of numbers, which categorical columns are not",
    ),
    (
        WEEK,
        {"past": (Rolling("units", "36h", "mean"),)},
        "features.past[0].window",
        "'36h'",
        "a whole number of steps of 'D', or a number of rows",
    ),
    (
        Forecast(target="units", freq="W-MON", horizon=2),
        {"past": (Rolling("units", "10D", "mean"),)},
        "features.past[0].window",
        "'10D'",
        "a whole number of steps of 'W-MON'",
    ),
    (
        Forecast(target="units", freq="MS", horizon=2),
        {"past": (Rolling("price", "90D", "mean"),)},
        "features.past[0].window",
        "'90D'",
        "a number of rows, such as 12, as steps of 'MS' differ in length",
    ),
    (
        WEEK,
        {"past": (Rolling("units", "7D", "mean", min_count=8),)},
        "features.past[0].min_count",
        "8",
        "at most the window's 7 steps",
    ),
]


@pytest.mark.parametrize(
    "problem, features, field, got, allowed", REFUSED, ids=[f"{f}-{n}" for n, (_, _, f, _, _) in enumerate(REFUSED)]
)
def test_features_that_no_row_can_have_are_refused(
    problem: Forecast, features: dict[str, Any], field: str, got: str, allowed: str
) -> None:
    with pytest.raises(SpecError, match=allowed) as caught:
        series(problem=problem, features=features)
    (failure,) = [each for each in caught.value.failures if each.field == field]
    assert failure.got.startswith(got)


def test_lag_beyond_the_training_window_is_refused() -> None:
    past = (Lag("units", 7, 59, 60, 365), Difference("units", 60))
    error = refused(features=Features(past=past), training=Training(window="60D"))
    assert [(each.field, each.got) for each in error.failures] == [
        ("features.past[0]", "(60, 365)"),
        ("features.past[1]", "(60,)"),
    ]
    assert "less than the 60 steps that are in training.window" in str(error)


@pytest.mark.parametrize(
    "part", [Lag("arr_delay", 1), Rolling("arr_delay", "28D", "mean"), Expanding("arr_delay", "mean")]
)
def test_target_has_no_past_without_a_forecast(part: Any) -> None:
    with pytest.raises(
        SpecError, match="columns other than the target\nHint: the targets before a row may not be known"
    ):
        fleet(features=Features(past=(part,)))


def test_other_columns_have_a_past_without_a_forecast() -> None:
    past = (Lag("wind", 1, 2), Rolling("wind", "90min", "mean"), Expanding("wind", "max"), Difference("wind", 1))
    spec = fleet(features=Features(past=past, known_ahead=("dep_delay",)))
    assert spec.columns == ("dep_delay", "wind")


def test_features_are_named_as_the_matrix_names_them() -> None:
    from modelfleet.features import Recipe

    past = (Lag("units", 7, 14), Difference("units", 7), Rolling("units", "28D", "std"), Expanding("units", "max"))
    parts = Features(past=past, calendar=("month",), cyclic=("weekday",), holidays="DE")  # type: ignore[arg-type]
    names = [name for part in past for name in part.names]
    assert Recipe.of(series(features=parts), {}).names(7) == (*names, *parts.dated)
