"""Bad specs: every one is a SpecError that names the file, the fleet, the field, what came and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from spec_cases import AS_YAML, demand, fields, fleet

from modelfleet import (
    Access,
    Candidate,
    Clip,
    Compute,
    Data,
    Dedupe,
    Drop,
    Expectation,
    Fill,
    FleetSpec,
    Gate,
    Lag,
    LakeTable,
    Limits,
    Monthly,
    Quality,
    Schedule,
    SqlTable,
)
from modelfleet.errors import SpecError

TABLE = SqlTable("c", "t", time="x")


def range_of(count: int) -> list[int]:
    """A grid of so many combinations."""
    return list(range(count))


FIELDS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"name": "Flights"}, "name", "'Flights'", "a lower-case letter"),
    ({"name": "a" * 64}, "name", "'aaa", "at most 63"),
    ({"name": None}, "name", "None", "valid string"),
    ({"owner": " "}, "owner", "' '", "not empty"),
    ({"partition_by": ()}, "partition_by", "()", "at least one key column"),
    ({"partition_by": "carrier"}, "partition_by", "'carrier'", r"such as \['carrier'\] for one"),
    ({"partition_by": ("a", "a")}, "partition_by", "('a', 'a')", "more than once: 'a'"),
    ({"partition_by": ("a", "A")}, "partition_by", "'a'", "differ in more than case"),
    ({"partition_by": ("arr_delay",)}, "partition_by", "'arr_delay'", "other than the target"),
    ({"partition_by": ("status",)}, "partition_by", "'status'", "tables do not use"),
    ({"partition_by": ("MAE",)}, "partition_by", "'MAE'", "tables do not use"),
    ({"features": ()}, "features", "()", "at least one column"),
    ({"features": ("a", "a")}, "features", "('a', 'a')", "more than once: 'a'"),
    ({"features": {}}, "features", "Features(", "at least one column"),
    ({"features": "distance"}, "features", "'distance'", r"such as \['distance'\] for one"),
    ({"features": ("a", Lag("b", 1))}, "features", "('a', Lag(", r"column names, or Features\("),
    ({"features": Lag("b", 1)}, "features", "Lag(", r"column names, or Features\("),
    (
        {"partition_by": ("hour",), "features": {"calendar": ["hour"]}},
        "features",
        "('hour',)",
        "not named like a column",
    ),
    ({"features": ("_partition",)}, "features", "'_partition'", "does not add itself"),
    ({"features": ("a", "arr_delay")}, "features", "'arr_delay'", "other than the target"),
    ({"features": ("a", "carrier")}, "features", "'carrier'", "other than those of partition_by"),
    ({"id_columns": ("arr_delay",)}, "id_columns", "'arr_delay'", "not the target"),
    ({"id_columns": ("carrier",)}, "id_columns", "'carrier'", "not a column of partition_by"),
    ({"id_columns": ("departed_at",)}, "id_columns", "'departed_at'", "not the time column"),
    ({"id_columns": ("prediction",)}, "id_columns", "'prediction'", "tables do not use"),
    ({"partition_by": ("departed_at",)}, "partition_by", "'departed_at'", "other than the time column"),
    (
        {"problem": {"kind": "regression", "target": "departed_at"}},
        "problem.target",
        "'departed_at'",
        "other than the time column",
    ),
    (
        {"data": {"connection": "c", "table": "t", "time": "Interval"}},
        "data.data.time",
        "'Interval'",
        "tables do not use",
    ),
    (
        {"data": {"connection": "c", "table": "t", "time": "departed_at", "ahead": "7D"}},
        "data.data.ahead",
        "'7D'",
        "for a Forecast, or with prepare",
    ),
    ({"model": None}, "model", "nothing", "is required"),
    ({"model": "flights.delays"}, "model", "'flights.delays'", "package.module:name"),
    ({"model": "../x:y"}, "model", "'../x:y'", "package.module:name"),
    ({"model": "a:b", "candidates": (Candidate("a:b"),)}, "model", "'a:b'", "either model or candidates"),
    (
        {"model": None, "params": {"a": 1}, "candidates": (Candidate("a:b"),)},
        "params",
        "{'a': 1}",
        "a candidate has params of its own",
    ),
    (
        {"model": None, "candidates": (Candidate("a:f"), Candidate("b:f"))},
        "candidates",
        "'f'",
        "different names\nHint: give a `name`",
    ),
    (
        {"model": None, "candidates": (Candidate("a:f", grid={"x": [1]}), Candidate("a:f", grid={"x": [2, 1]}))},
        "candidates",
        "'f(x=1)'",
        "different names",
    ),
    (
        {"model": None, "candidates": [Candidate("a:f", grid={"x": range_of(200)}, name=name) for name in "ab"]},
        "candidates",
        "400 candidates",
        "at most 256",
    ),
    ({"model": None, "candidates": Candidate("a:f")}, "candidates", "Candidate(", r"such as \[Candidate\("),
    ({"model": None, "candidates": ("a:f",)}, "candidates[0]", "'a:f'", "a Candidate"),
    ({"model": None, "candidates": ({"grid": {}},)}, "candidates[0].model", "nothing", "is required"),
    (
        {"treatments": (Clip("x", 0), Fill("carrier", value="?"))},
        "treatments[1].column",
        "'carrier'",
        "other than the time column and those of partition_by",
    ),
    ({"treatments": (Clip("departed_at", 0),)}, "treatments[0].column", "'departed_at'", "other than the time column"),
    ({"treatments": (Dedupe("first"), Dedupe("last"))}, "treatments[1]", "Dedupe(", "one Dedupe"),
    ({"treatments": Drop("x", null=True)}, "treatments", "Drop(", r"such as \[Drop\("),
    ({"treatments": ({"kind": "clip_"},)}, "treatments[0]", "{'kind': 'clip_'}", "drop, clip, fill, dedupe"),
    ({"treatments": ({"kind": "fill", "column": "x", "value": [1]},)}, "treatments[0].value", "[1]", "a text, number"),
    ({"params": {"a": float("nan")}}, "params", "{'a': nan}", "a finite number"),
    ({"params": {"a": object}}, "params", "{'a': <class 'object'>}", "not a type"),
    ({"params": {1: 2}}, "params", "{1: 2}", "text keys"),
    ({"timezone": "Mars/Base"}, "timezone", "'Mars/Base'", "IANA"),
    ({"timezone": "../UTC"}, "timezone", "'../UTC'", "IANA"),
    ({"tags": {"a": 1}}, "tags.a", "1", "valid string"),
    (
        {"problem": {"kind": "regresion", "target": "x"}},
        "problem",
        "{'kind': 'regresion'",
        "Regression, Classification",
    ),
    ({"problem": {"kind": "regression"}}, "problem.target", "nothing", "is required"),
    (
        {"problem": {"kind": "regression", "target": "x", "baseline": "median"}},
        "problem.baseline",
        "'median'",
        "'mean' or 'last'",
    ),
    (
        {"problem": {"kind": "classification", "target": "late"}, "gate": {}, "treatments": [Dedupe("mean")]},
        "treatments[0].keep",
        "'mean'",
        "first, last, max",
    ),
    ({"data": TABLE}, "data", "SqlTable", "a mapping of fields or a Data"),
    ({"data": {"a": {"pth": "x"}}}, "data.a", "{'pth': 'x'}", "SqlTable"),
    ({"data": {"a": {"connection": "x"}}}, "data.a.table", "nothing", "is required"),
    ({"data": {"a": {"connection": "x", "table": "y"}}}, "data.a.time", "nothing", "cuts intervals"),
    ({"training": {"min_rows": 0}}, "training.min_rows", "0", "greater than or equal to 1"),
    ({"training": {"holdout": "4 weeks"}}, "training.holdout", "'4 weeks'", "such as '28D'"),
    ({"training": {"window": "28D"}}, "training.window", "'28D'", "longer than the holdout, '28D'"),
    (
        {"training": {"window": "28D", "holdout": "14D", "folds": 2}},
        "training.window",
        "'28D'",
        "longer than 2 times the holdout, '14D'",
    ),
    (
        {"training": {"window": "30D", "gap": "2D"}},
        "training.window",
        "'30D'",
        "longer than the holdout, '28D' and the gap",
    ),
    ({"training": {"folds": 0}}, "training.folds", "0", "greater than or equal to 1"),
    ({"training": {"folds": 101}}, "training.folds", "101", "less than or equal to 100"),
    ({"training": {"gap": "0D"}}, "training.gap", "'0D'", "a whole number above 0"),
    ({"training": {"halving": True}}, "training.halving", "True", "at least 2 folds"),
    ({"training": {"weight": "arr_delay"}}, "training.weight", "'arr_delay'", "not the target"),
    ({"training": {"weight": "carrier"}}, "training.weight", "'carrier'", "of partition_by"),
    ({"training": {"weight": "departed_at"}}, "training.weight", "'departed_at'", "the time column"),
    ({"training": {"select_by": "bias"}}, "training.select_by", "'bias'", "mae, rmse, mape, wape, r2"),
    ({"training": {"select_by": "wap"}}, "training.select_by", "'wap'", "did you mean 'wape'"),
    ({"training": {"select_by": "pinball"}}, "training.select_by", "'pinball'", "mae, rmse"),
    ({"training": {"fallback": []}}, "training.fallback", "()", "'baseline' last"),
    ({"training": {"fallback": ["carrier"]}}, "training.fallback", "('carrier',)", "'baseline' last"),
    ({"training": {"fallback": ["baseline", "fleet"]}}, "training.fallback", "('baseline', 'fleet')", "last"),
    (
        {"training": {"fallback": ["dest", "dest", "baseline"]}},
        "training.fallback",
        "('dest', 'dest', 'baseline')",
        "each once",
    ),
    (
        {"training": {"fallback": ["origni", "baseline"]}},
        "training.fallback",
        "'origni'",
        r"carrier, origin, dest, fleet, baseline\nHint: did you mean 'origin'",
    ),
    (
        {"training": {"fallback": ["fleet", "origin", "baseline"]}},
        "training.fallback",
        "('fleet', 'origin', 'baseline')",
        "'fleet' after the key columns",
    ),
    (
        {"partition_by": ("dest",), "training": {"fallback": ["dest", "fleet", "baseline"]}},
        "training.fallback",
        "'dest'",
        "allowed: fleet, baseline\nHint: 'dest' alone is the key",
    ),
    ({"training": {"metrics": ["mae"]}}, "training.metrics", "'mae'", "does not use itself"),
    ({"training": {"metrics": ["My Metric"]}}, "training.metrics", "['My Metric']", "lower-case"),
    ({"gate": {"each": ["mae <"]}}, "gate.each[0]", "'mae <'", "not one SQL expression"),
    ({"gate": {"each": ["mae < 1", "maee < 1"]}}, "gate.each[1]", "'maee < 1'", "unknown name 'maee'"),
    ({"gate": {"each": ["accuracy > 0.5"]}}, "gate.each[0]", "'accuracy > 0.5'", "unknown name 'accuracy'"),
    ({"gate": {"fleet": ["mae < 1"]}}, "gate.fleet[0]", "'mae < 1'", "unknown name 'mae'"),
    ({"gate": {"mode": "on"}}, "gate.mode", "'on'", "'enforce', 'shadow' or 'off'"),
    (
        {"schedule": {"train": {"every": "month", "when_ready": "datta"}}},
        "schedule.train.when_ready",
        "'datta'",
        "a table of data: data",
    ),
    ({"schedule": {"train": {"every": "month", "day": 31}}}, "schedule.train.day", "31", "less than or equal to 28"),
    ({"schedule": {"train": {"every": "year"}}}, "schedule.train", "{'every': 'year'}", "Daily, Weekly, Monthly"),
    ({"schedule": {"ingest": "0 5 * *"}}, "schedule.ingest", "'0 5 * *'", "five fields"),
    ({"schedule": {"ingest": "* * * * *"}}, "schedule.ingest", "'* * * * *'", "at most once an hour"),
    ({"schedule": {"score": "@daily"}}, "schedule.score", "'@daily'", "'after ingest'"),
    (
        {"schedule": {"deadline": {"trian": "6h"}}},
        "schedule.deadline.trian",
        "'trian'",
        "'ingest', 'train', 'promote' or 'score'",
    ),
    ({"schedule": {"deadline": {"train": "6"}}}, "schedule.deadline.train", "'6'", "such as '28D'"),
    ({"schedule": {"deadline": 6}}, "schedule.deadline", "6", "valid string"),
    ({"quality": {"between": {"a": (2, 1)}}}, "quality.between.a", "(2, 1)", "low at most high"),
    ({"quality": {"between": {"a": (None, None)}}}, "quality.between.a", "(None, None)", "may be None"),
    ({"quality": {"in_set": {"a": []}}}, "quality.in_set.a", "[]", "at least one value"),
    ({"quality": {"in_set": {"a": "AA"}}}, "quality.in_set.a", "'AA'", "a list or tuple"),
    ({"quality": {"unique": [["a", "a"]]}}, "quality.unique[0]", "['a', 'a']", "more than once"),
    ({"quality": {"row_count": [-1, None]}}, "quality.row_count", "[-1, None]", "none below 0"),
    (
        {"quality": {"not_null": ["a"], "warn": ["between.a"]}},
        "quality.warn",
        "'between.a'",
        "no such check; allowed: not_null.a",
    ),
    (
        {"quality": {"expectations": [{"name": "ExpectX"}]}},
        "quality.expectations[0].name",
        "'ExpectX'",
        "Great Expectations",
    ),
    (
        {"quality": {"expectations": [{"name": "expect_x", "severity": "low"}]}},
        "quality.expectations[0].severity",
        "'low'",
        "'error' or 'warn'",
    ),
    (
        {"data": {"connection": "c", "table": "t", "time": "x", "columns": ["x", "carrier"]}},
        "partition_by",
        "'origin'",
        "the columns of table 'data': x, carrier",
    ),
    *(
        (
            {"data": {"connection": "c", "table": "t", "time": "x", "columns": ["x"]}, **changes},
            field,
            got,
            "columns of table 'data': x",
        )
        for changes, field, got in (
            ({}, "problem.target", "'arr_delay'"),
            ({}, "features", "'dep_delay'"),
            ({"features": {"past": [{"kind": "lag", "column": "wind", "steps": [1]}]}}, "features", "'wind'"),
            ({"id_columns": ("flight",)}, "id_columns", "'flight'"),
            ({"training": {"weight": "w"}}, "training.weight", "'w'"),
        )
    ),
]


@pytest.mark.parametrize(
    "changes, field, got, allowed", FIELDS, ids=[f"{f}-{n}" for n, (_, f, _, _) in enumerate(FIELDS)]
)
def test_bad_field_is_refused(changes: dict[str, Any], field: str, got: str, allowed: str) -> None:
    with pytest.raises(SpecError, match=allowed) as caught:
        fleet(**changes)
    error = caught.value
    assert field in [failure.field for failure in error.failures]
    failure = next(failure for failure in error.failures if failure.field == field)
    assert failure.got.startswith(got)
    assert error.source == fields.__code__.co_filename
    assert error.fleet == changes.get("name", "flight_delays")


NOT_BUILT: list[tuple[dict[str, Any], str]] = [
    ({"outputs": (SqlTable("dwh", "t"),)}, "outputs"),
    ({"access": Access(readers=("g",))}, "access"),
    ({"compute": Compute(size="medium")}, "compute"),
    ({"gate": Gate(approval=True)}, "gate.approval"),
]


@pytest.mark.parametrize("changes, field", NOT_BUILT, ids=[f"{f}-{n}" for n, (_, f) in enumerate(NOT_BUILT)])
def test_field_that_is_not_built_is_refused_and_says_so(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError, match="is part of the design but not built yet") as caught:
        fleet(**changes)
    assert [failure.field for failure in caught.value.failures] == [field]


def test_all_that_keeps_the_designs_large_fleet_from_being_a_spec_is_what_is_not_built() -> None:
    with pytest.raises(SpecError) as caught:
        demand(
            outputs=(SqlTable("dwh", "demand_forecast"),),
            access=Access(readers=("grp-demand",)),
            compute=Compute(size="medium", max_executors=8),
            gate=Gate(each=("wape < baseline.wape",), approval=True),
        )
    assert [failure.field for failure in caught.value.failures] == [field for _, field in NOT_BUILT]


STANDALONE: list[tuple[Callable[[], object], str]] = [
    (lambda: Gate(each=("mae <",)), r"fleet spec in .*test_spec_errors.py: Gate.each\[0\]: got 'mae <'"),
    (lambda: SqlTable("c", "s.t"), "SqlTable.table: got 's.t'; allowed: .* goes into the field 'schema'"),
    (lambda: SqlTable("c", "t", "x"), "SqlTable: got 'x'; fields given by position: connection, table"),  # type: ignore
    (lambda: SqlTable("c", "t", connection="d"), "SqlTable.connection: got 'd'; given twice"),  # type: ignore
    (lambda: SqlTable("c"), "SqlTable.table: got nothing; is required"),  # type: ignore
    (lambda: SqlTable("c", "t", tiem="x"), "SqlTable.tiem: .* no such field; .*\nHint: did you mean 'time'"),  # type: ignore
    (lambda: SqlTable("c", "t", time="x", columns=("y",)), "SqlTable.columns: .* the time column among them"),
    (lambda: SqlTable("c", "t", late="soon"), "SqlTable.late: got 'soon'"),
    (lambda: LakeTable("p", format="orc"), "LakeTable.format: got 'orc'; allowed: 'parquet' or 'csv'"),  # type: ignore
    (Data, "Data.tables: got nothing; at least one table"),
    (lambda: Data(SqlTable("c", "t")), "Data.data.time: got nothing"),
    (lambda: Data(a=TABLE, b=TABLE), "Data.prepare: got nothing; is required to join b: .*; only tables with `ahead`"),
    (lambda: Data(a=TABLE, b=SqlTable("c", "t", ahead="7D")), "Data.b.ahead: got '7D'; allowed: with `time`"),
    (lambda: Data(SqlTable("c", "t", late="7D")), "Data.data.late: got '7D'; allowed: with `time`"),
    (lambda: LakeTable("p", time="x", ahead="a week"), "LakeTable.ahead: got 'a week'; allowed: a whole number"),
    (lambda: LakeTable("p", time="x", late="3D"), "LakeTable.late: .* no such field"),  # type: ignore
    (lambda: Data(a=TABLE, prepare="x.py"), "Data.prepare: got 'x.py'"),
    (lambda: Data(a=TABLE, prepare="x:../../y.sql"), "Data.prepare: got"),
    (lambda: Data(TABLE, TABLE), "Data: got"),  # type: ignore
    (lambda: Data(spark=TABLE), "Data.spark: got 'spark'; allowed: a table's name"),
    (lambda: Data(tables={"a b": TABLE}), "Data.a b: got 'a b'; allowed: a table's name"),  # type: ignore
    (lambda: Schedule(train="never"), "Schedule.train: got 'never'; allowed: a cron expression"),
    (lambda: Monthly(when_ready=""), "Monthly.when_ready: got ''; allowed: a text"),
    (lambda: Quality(not_null="a"), r"Quality.not_null: got 'a'; allowed: a list or tuple, such as \['a'\]"),  # type: ignore
    (lambda: Expectation("expect_x", {"a": {1, object()}}), "Expectation.arguments: got"),
    (lambda: Limits(memory="2 GB"), "Limits.memory: got '2 GB'"),
    (lambda: FleetSpec("x"), "FleetSpec: got 'x'; fields given by position: none"),  # type: ignore
    (lambda: FleetSpec.model_validate([1]), r"got \[1\]; a mapping of field names"),
    (lambda: FleetSpec.model_validate({1: 2}), "got {1: 2}; a mapping of field names"),
]


@pytest.mark.parametrize("make, message", STANDALONE, ids=[message[:40] for _, message in STANDALONE])
def test_bad_part_is_refused_where_it_is_made(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()


def test_failures_of_all_fields_come_in_one_error() -> None:
    with pytest.raises(SpecError) as caught:
        fleet(owner="", nmae="x", timezone="Mars", gate={"each": ["mae <"], "mod": "off"}, training={"holdout": 3})
    assert sorted(failure.field for failure in caught.value.failures) == [
        "gate.each[0]",
        "gate.mod",
        "nmae",
        "owner",
        "timezone",
        "training.holdout",
    ]
    assert "did you mean 'mode'?" in str(caught.value.hint)
    assert "did you mean 'name'?" in str(caught.value.hint)


def test_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(SpecError) as caught:
        fleet(model="x" * 10_000)
    assert len(str(caught.value)) < 500


BAD_YAML = [
    ("name: [", "a YAML mapping of the fields"),
    ("- a\n- b", "got list; allowed: a YAML mapping"),
    ("", "got NoneType; allowed: a YAML mapping"),
    (AS_YAML + "owner: again\n", "line 21: the field 'owner' is there twice"),
    (AS_YAML.replace("not_null", "no"), "line 12: the field name False is no text; put it in quotes"),
    (AS_YAML.replace("flights.delays:build", "!!python/object:os.system x"), "a YAML mapping of the fields"),
    (AS_YAML.replace("time: departed_at", "tiem: departed_at"), "data.data.tiem: got 'departed_at'; no such field"),
    (AS_YAML.replace("[carrier, dest]", "[NO]"), r"quality.not_null\[0\]: got False; should be a valid string"),
]


@pytest.mark.parametrize("text, message", BAD_YAML, ids=[message[:40] for _, message in BAD_YAML])
def test_bad_yaml_is_refused_and_the_file_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        FleetSpec.load(file)
    assert caught.value.source == str(file)


def test_yaml_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none.yaml: file: got No such file"):
        FleetSpec.load(tmp_path / "none.yaml")
