"""``modelfleet new``: what is guessed of a CSV file, what is refused, and that the files written work at once."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from modelfleet import Dedupe, Features, Forecast, Lag, LakeTable, Regression, Rolling, SqlTable, scaffold
from modelfleet.cli import app
from modelfleet.errors import ConflictError, DataError, ModelfleetError, SpecError
from modelfleet.spec import FleetSpec, loader

ROOT = Path(__file__).resolve().parents[1]
MONDAY = date(2013, 1, 7)


def days(count: int, *, step: int = 1) -> list[Any]:
    return [MONDAY + timedelta(days=step * each) for each in range(count)]


def months(count: int, *, each: int = 1, day: int = 1) -> list[Any]:
    return [date(2010 + (each * place) // 12, (each * place) % 12 + 1, day) for place in range(count)]


def moments(count: int, *, minutes: int) -> list[Any]:
    return [datetime(2013, 1, 7) + timedelta(minutes=minutes * place) for place in range(count)]


def sales(times: list[Any], **columns: list[Any]) -> list[dict[str, Any]]:
    """Units by time in two stores; `columns` hold a value for each store."""
    return [
        {
            "day": when,
            "store": store,
            **{name: each[place] for name, each in columns.items()},
            "units": number % 7 + place,
        }
        for number, when in enumerate(times)
        for place, store in enumerate(("north", "south"))
    ]


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


@pytest.fixture
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The dags folder of an empty project."""
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(tmp_path / "dags"))
    monkeypatch.syspath_prepend(str(tmp_path / "include"))
    return tmp_path / "dags"


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("shop_"):
            del sys.modules[name]


def new(dags: Path, name: str = "shop_sales", kind: Any = "forecast", **given: Any) -> FleetSpec:
    scaffold.new(name, kind, dags=dags, **given)
    return loader.load_fleet(name, dags)


def of_rows(dags: Path, rows: list[dict[str, Any]], kind: Any = "forecast", **given: Any) -> FleetSpec:
    return new(dags, kind=kind, csv=write(dags.parent / "rows.csv", rows), **given)


def forecast(spec: FleetSpec) -> Forecast:
    assert isinstance(spec.problem, Forecast)
    return spec.problem


# --- what is written ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_drafts_of_all_kinds_parse_pass_their_tests_and_please_the_linter(dags: Path) -> None:
    rows = sales(days(90), visitors=[3, 4], open=[True, False])
    file = write(dags.parent / "rows.csv", [{**row, "late": int(row["units"] > 3)} for row in rows])
    for kind in ("forecast", "regression", "classification"):
        new(dags, f"shop_{kind}", kind)
        new(dags, f"shop_{kind}_of_rows", kind, csv=file, target="late" if kind == "classification" else "units")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(dags.parent / "include"), str(ROOT / "include")])}
    ours = ["--config", 'src=["include"]', "--config", 'lint.isort.known-first-party=["modelfleet"]']
    lint = ["--isolated", "--no-cache", "--line-length=120", *ours, "."]
    for command in (
        ["pytest", "-q", "-p", "no:cacheprovider", "tests"],
        ["ruff", "format", "--check", *lint],
        ["ruff", "check", "--select=E,F,W,I,UP,B,SIM,RUF,D1", "--ignore=D103", *lint],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=dags.parent,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if command[0] == "pytest":
            assert "12 passed" in done.stdout


def test_command_says_what_it_wrote_and_what_to_do_next(dags: Path) -> None:
    file = write(dags.parent / "rows.csv", sales(days(90)))
    done = CliRunner().invoke(app, ["new", "shop_sales", "--from-csv", str(file), "--horizon", "14"])
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert f"wrote {dags / 'shop_sales.py'}" in told
    assert "time day target units keys store freq D horizon 14" in told
    assert "modelfleet run shop_sales --interval 2013-04-06 --start 2013-01-07" in told
    planned = CliRunner().invoke(app, ["plan", "shop_sales"])
    assert planned.exit_code == 0, planned.output
    assert "shop_sales_train" in planned.output
    again = CliRunner().invoke(app, ["new", "shop_sales"])
    assert again.exit_code == 1


def test_rows_are_read_in_place_and_named_relative_to_the_lake_if_there(dags: Path) -> None:
    lake = dags.parent / "home" / "lake"
    lake.mkdir(parents=True)
    inside = new(dags, "shop_inside", csv=write(lake / "rows.csv", sales(days(90))))
    outside = new(dags, "shop_outside", csv=write(dags.parent / "rows.csv", sales(days(90))))
    assert inside.data.main[1] == LakeTable("rows.csv", time="day", format="csv")
    assert outside.data.main[1] == LakeTable(str(dags.parent / "rows.csv"), time="day", format="csv")


def test_without_rows_the_draft_is_of_a_table_with_the_columns_given(dags: Path) -> None:
    spec = new(dags, time="sold_on", target="pieces", keys=["shop"])
    assert spec.data.main[1] == SqlTable("shop_sales_db", "shop_sales", time="sold_on")
    assert (spec.partition_by, spec.problem.target) == (("shop",), "pieces")
    assert (forecast(spec).freq, forecast(spec).horizon) == ("D", 7)


def test_regression_sees_columns_of_numbers_and_holds_out_what_short_data_allow(dags: Path) -> None:
    rows = sales(days(80), visitors=[3, 4], colour=["red", "blue"], price=[1.5, 2.5])
    spec = of_rows(dags, rows, "regression", keys=["store"])
    assert (spec.problem, spec.features) == (Regression(target="units"), ("visitors", "price"))
    assert spec.training.holdout == "20D"
    made = scaffold.new("shop_again", "regression", dags=dags, csv=dags.parent / "rows.csv", keys=["store"])
    assert made.commands[-2:] == (
        "modelfleet run shop_again --interval 2013-03-26 --start 2013-01-07 --train-only",
        "modelfleet run shop_again --interval 2013-03-27 --step ingest --step score",
    )


def test_regression_without_numbers_sees_parts_of_the_date(dags: Path) -> None:
    assert of_rows(dags, sales(days(200)), "regression").features == Features(calendar=("weekday", "month"))


# --- what is guessed ------------------------------------------------------------------------------------------------

FREQUENCIES: list[tuple[list[Any], str, int, tuple[int, ...]]] = [
    (days(90), "D", 7, (7, 14)),
    (days(80, step=7), "W-MON", 4, (4,)),
    (months(60), "MS", 3, (3, 12)),
    (months(40, each=3), "QS", 2, (2, 4, 8)),
    (months(9, each=12), "YS", 1, (1, 2)),
    (moments(500, minutes=60), "h", 24, (24, 48)),
    (moments(500, minutes=360), "6h", 4, (4, 8)),
    (moments(800, minutes=15), "15min", 96, (96, 192)),
    (moments(90, minutes=1440), "D", 7, (7, 14)),
]


@pytest.mark.parametrize("times, freq, horizon, lags", FREQUENCIES, ids=[f"{f}-{len(t)}" for t, f, _, _ in FREQUENCIES])
def test_step_and_what_follows_are_guessed_from_the_times(
    times: list[Any], freq: str, horizon: int, lags: tuple[int, ...], dags: Path
) -> None:
    spec = of_rows(dags, sales(times))
    assert (forecast(spec).freq, forecast(spec).horizon, forecast(spec).missing) == (freq, horizon, "reject")
    lag, rolling = spec.declared.past
    assert lag == Lag("units", *lags)
    assert isinstance(rolling, Rolling)
    assert len(times) > spec.training.folds * horizon


PARTS: list[tuple[str, dict[str, list[Any]], dict[str, Any], tuple[str, str, tuple[str, ...]]]] = [
    ("texts that tell rows apart are keys", {}, {}, ("day", "units", ("store",))),
    ("what keys imply is no key", {"town": ["Kiel", "Bonn"]}, {}, ("day", "units", ("store",))),
    ("what is given is taken", {"town": ["Kiel", "Bonn"]}, {"keys": ["town"]}, ("day", "units", ("town",))),
    ("a known name is the target", {"visitors": [3, 4]}, {}, ("day", "units", ("store",))),
    ("a target that is given", {"visitors": [3, 4]}, {"target": "visitors"}, ("day", "visitors", ("store",))),
    ("a time that is given", {"opened": [MONDAY, MONDAY]}, {"time": "day"}, ("day", "units", ("store",))),
    ("a known name is the time", {"opened": [MONDAY, MONDAY]}, {}, ("day", "units", ("store",))),
]


@pytest.mark.parametrize("columns, given, parts", [case[1:] for case in PARTS], ids=[case[0] for case in PARTS])
def test_parts_of_columns_are_given_or_guessed(
    columns: dict[str, list[Any]], given: dict[str, Any], parts: tuple[str, str, tuple[str, ...]], dags: Path
) -> None:
    spec = of_rows(dags, sales(days(90), **columns), **given)
    assert (spec.time_column, spec.problem.target, spec.partition_by) == parts


def test_two_keys_are_found_where_one_does_not_tell_rows_apart(dags: Path) -> None:
    rows = [{**row, "item": item} for row in sales(days(90)) for item in (7, 8)]
    assert of_rows(dags, rows).partition_by == ("store", "item")


def test_missing_and_repeated_dates_are_met_and_told(dags: Path) -> None:
    rows = sales(days(90))
    file = write(dags.parent / "rows.csv", [*rows[:40], *rows[44:], rows[0]])
    made = scaffold.new("shop_sales", dags=dags, csv=file)
    spec = loader.load_fleet("shop_sales", dags)
    assert forecast(spec).missing == "zero"
    assert spec.treatments == (Dedupe("sum"),)
    assert ["missing" in note for note in made.notes] == [True, False]


def test_numbers_that_are_no_counts_are_not_zero_where_missing(dags: Path) -> None:
    rows = [{**row, "units": row["units"] + 0.5} for row in sales(days(90))]
    assert forecast(of_rows(dags, [*rows[:40], *rows[44:]])).missing == "previous"


def test_short_series_need_fewer_rows_and_folds(dags: Path) -> None:
    training = of_rows(dags, sales(days(20))).training
    assert (training.folds, training.min_rows) == (1, 15)


# --- what is refused ------------------------------------------------------------------------------------------------

BAD_ROWS: list[tuple[str, list[dict[str, Any]], dict[str, Any], str]] = [
    ("no dates", [{"a": 1, "b": "x"}], {}, r"has no column of dates or timestamps; there are a \(int64\), b \(string\)"),
    ("no numbers", [{"day": MONDAY, "b": "x"}], {}, r"has no column of numbers to predict; .*\nHint: name it: --target"),
    ("no keys", [{"day": MONDAY, "units": 1}], {}, r"no column looks like a key, .*\nHint: name one: --key"),
    ("unknown column", sales(days(9)), {"target": "unit"}, r"no column 'unit', which --target .*\nHint: did you mean 'units'"),
    ("unknown key", sales(days(9)), {"keys": ["shop"]}, "has no column 'shop', which --key names; there are day, store"),
    ("text as time", sales(days(9)), {"time": "store"}, "the time column 'store' is string, not a date"),
    ("text as target", sales(days(9), town=["a", "b"]), {"target": "town"}, "the target 'town' is string, not a number"),
    ("no classes", sales(days(9)), {"kind": "classification"}, "has no column of two classes"),
    ("one time only", sales(days(1)), {}, r"no partition has two different times in 'day', .*\nHint: name it: --freq"),
    ("every tenth day", sales(days(9, step=10)), {}, "times in 'day' are mostly 10 days, 0:00:00 apart, which is no freq"),
    ("ends of months", sales(months(9, day=28)), {}, "times in 'day' are mostly 31 days.* apart, which is no frequency"),
]  # fmt: skip


@pytest.mark.parametrize("rows, given, message", [case[1:] for case in BAD_ROWS], ids=[case[0] for case in BAD_ROWS])
def test_rows_that_say_too_little_are_refused_and_nothing_written(
    rows: list[dict[str, Any]], given: dict[str, Any], message: str, dags: Path
) -> None:
    with pytest.raises(DataError, match=message):
        of_rows(dags, rows, **given)
    assert [path.name for path in dags.parent.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize(
    "text, message", [(None, "can't be read as CSV"), ("a,b\n", "has no rows"), ("", "can't be read")]
)
def test_file_without_rows_is_refused(text: str | None, message: str, dags: Path) -> None:
    file = dags.parent / "rows.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(DataError, match=message):
        scaffold.new("shop_sales", dags=dags, csv=file)


@pytest.mark.parametrize(
    "name", ["Shop", "1shop", "shop-sales", "", "a" * 64, "class", "json", "numpy", "flights", "modelfleet"]
)
def test_name_that_is_no_fleets_or_hides_a_package_is_refused(name: str, dags: Path) -> None:
    with pytest.raises(SpecError, match=r"name: got .*; allowed: a (Python name|name that no installed package)"):
        scaffold.new(name, dags=dags)
    assert not dags.exists()


def test_columns_that_can_be_no_fleets_are_refused_under_the_name_of_the_file(dags: Path) -> None:
    rows = [{"level" if name == "store" else name: value for name, value in row.items()} for row in sales(days(90))]
    with pytest.raises(SpecError, match=r"shop_sales.py: partition_by: got 'level'; .*\n.*; nothing was written"):
        of_rows(dags, rows)
    assert not dags.exists()


@pytest.mark.parametrize(
    "there", ["dags/shop_sales.py", "include/shop_sales/models.py", "tests/shop_sales/test_shop_sales_models.py"]
)
def test_file_that_is_there_is_kept_and_nothing_written(there: str, dags: Path) -> None:
    kept = dags.parent / there
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    with pytest.raises(ConflictError, match=f"{there}; nothing was written"):
        scaffold.new("shop_sales", dags=dags)
    assert kept.read_text() == "mine"
    assert [path for path in dags.parent.rglob("*") if path.is_file()] == [kept]


def test_fleet_of_another_file_is_not_declared_again(dags: Path) -> None:
    new(dags, "shop_sales")
    (dags / "shop_sales.py").rename(dags / "other.py")
    for folder in ("include", "tests"):
        (dags.parent / folder / "shop_sales").rename(dags.parent / folder / "gone")
    with pytest.raises(ModelfleetError, match="allowed: a name no other file of the folder uses"):
        scaffold.new("shop_sales", dags=dags)
