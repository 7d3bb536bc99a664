"""`modelfleet.open` on the prepared rows of an attempt that trained nothing: what there is before a first training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import modelfleet
from modelfleet import (
    Candidate,
    Features,
    FleetSpec,
    Lag,
    dataset,
    settings,
)
from modelfleet.errors import DataError, NotFoundError
from modelfleet.workbench import Fleet
from prepared_bench import KEY
from workbench_bench import DAYS, Lay, daily, forecast


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
