"""What a spec holds: forms of writing it, its digest, and that it stays the same through JSON, YAML and pickle."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from spec_cases import AS_YAML, fields, fleet

import modelfleet
from modelfleet import (
    Candidate,
    Classification,
    Daily,
    Data,
    Expectation,
    FleetSpec,
    Lag,
    LakeTable,
    Monthly,
    Quality,
    Rolling,
    Schedule,
    SqlTable,
    Training,
    Weekly,
)

LARGE: dict[str, Any] = {
    "data": Data(
        flights=SqlTable("flights_db", "flights", time="departed_at", schema="air", columns=("departed_at", "carrier")),
        weather=LakeTable("weather/hourly", time="hour", timezone="America/New_York"),
        planes=SqlTable("flights_db", "planes"),
        prepare="flights.prepare:join",
    ),
    "problem": Classification(target="is_late", baseline="last"),
    "params": {"alpha": 1.5, "sizes": (1, 2), "nested": {"b": None, "a": [True, "x"]}},
    "training": Training(window="365D", holdout="14D", min_rows=10, refit=False, metrics=("pinball",)),
    "quality": Quality(
        not_null=("dest",),
        between={"distance": (0, None), "age": (None, 99.5)},
        in_set={"carrier": ("AA", "B6"), "engines": (1, 2)},
        unique=("flight_id", ("day", "flight")),
        row_count=(1, None),
        mean_between={"distance": (500, 1500)},
        expectations=(Expectation("expect_column_to_exist", {"column": "dest"}, severity="warn"),),
        warn=("between.age", "unique.day,flight", "row_count"),
        sensitive=("tailnum",),
    ),
    "gate": {"each": ["accuracy >= 0.8", "pinball < champion.pinball"], "mode": "shadow"},
    "schedule": Schedule(train=Monthly(when_ready="flights"), score=None, deadline={"train": "6h"}),
    "timezone": "America/New_York",
    "tags": {"team": "ops", "domain": "air"},
    "description": "Is a flight late?",
    "id_columns": ("flight_id",),
}


@pytest.mark.parametrize("changes", [{}, LARGE], ids=["small", "large"])
def test_spec_survives_json_and_pickle(changes: dict[str, Any]) -> None:
    spec = fleet(**changes)
    for copy in (FleetSpec.from_json(spec.to_json()), pickle.loads(pickle.dumps(spec))):
        assert copy == spec
        assert (copy.digest, hash(copy), copy.to_json()) == (spec.digest, hash(spec), spec.to_json())
    assert pickle.loads(pickle.dumps(spec)).source == spec.source == fields.__code__.co_filename


def test_yaml_and_python_forms_have_the_same_digest(tmp_path: Path) -> None:
    file = tmp_path / "flight_delays.yaml"
    file.write_text(AS_YAML)
    spec = FleetSpec.load(file)
    assert spec == fleet()
    assert spec.digest == fleet().digest
    assert spec.source == str(file)


def test_relative_yaml_path_is_looked_for_beside_the_file_that_loads_it(tmp_path: Path) -> None:
    (tmp_path / "delays.yaml").write_text(AS_YAML)
    caller = tmp_path / "delays.py"
    caller.write_text("from modelfleet import FleetSpec\nspec = FleetSpec.load('delays.yaml')\n")
    namespace: dict[str, Any] = {}
    exec(compile(caller.read_text(), str(caller), "exec"), namespace)
    assert namespace["spec"].source == str(tmp_path / "delays.yaml")


def test_large_yaml_tells_the_kinds_of_parts_apart(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_text(
        AS_YAML.replace("  connection: flights_db\n  table: flight_features\n  time: departed_at\n", "")
        .replace(
            "data:\n",
            "data:\n  a: {connection: c, table: t, schema: s, time: x}\n  b: {path: p, format: csv}\n"
            "  c: {kind: lake, path: q}\n  prepare: flights:join.sql\n",
        )
        .replace('train: "@monthly"', "train: {every: month, day: 2, when_ready: a}")
    )
    spec = FleetSpec.load(file)
    assert spec.data == Data(
        a=SqlTable("c", "t", schema="s", time="x"),
        b=LakeTable("p", format="csv"),
        c=LakeTable("q"),
        prepare="flights:join.sql",
    )
    assert spec.schedule.train == Monthly(day=2, when_ready="a")
    assert spec.schedule.when_ready == "a"


def test_positional_forms_are_the_same_as_named_ones() -> None:
    assert SqlTable("c", "t") == SqlTable(connection="c", table="t")
    assert LakeTable("p") == LakeTable(path="p")
    assert Expectation("expect_x", {"column": "a"}) == Expectation(name="expect_x", arguments={"column": "a"})
    assert Candidate("m:f").model == "m:f"
    assert Lag("units", 1, 7).steps == (1, 7)
    assert Rolling("units", "28D", "mean").statistic == "mean"
    table = SqlTable("c", "t", time="x")
    assert Data(table) == Data(data=table) == Data(tables={"data": table})
    assert Data(table).main == ("data", table)


def test_order_of_tables_is_content_and_order_of_other_mappings_is_not() -> None:
    a, b = SqlTable("c", "a", time="x"), SqlTable("c", "b", time="x")
    assert Data(a=a, b=b, prepare="m:f") != Data(b=b, a=a, prepare="m:f")
    one, other = (
        fleet(tags={"a": "1", "b": "2"}, params={"x": 1, "y": 2}),
        fleet(tags={"b": "2", "a": "1"}, params={"y": 2, "x": 1}),
    )
    assert one.digest == other.digest
    assert one.to_json() == other.to_json()


def test_digest_does_not_depend_on_the_order_of_sets() -> None:
    script = (
        "from spec_cases import fleet\n"
        "print(fleet(quality={'not_null': {'dest', 'carrier', 'origin'}, 'in_set': {'carrier': {'AA', 'B6', 'DL', 3}}},"
        " params={'a': {'x', 'y', 'z'}}).digest)"
    )
    path = os.pathsep.join([str(Path(modelfleet.__file__).parent.parent), str(Path(__file__).parent)])
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_any_plain_params_survive_json(params: dict[str, Any]) -> None:
    spec = Candidate("m:f", params=params)
    assert Candidate.model_validate(spec.content()) == spec
    assert list(spec.params) == sorted(params)


def test_values_are_kept_in_one_form() -> None:
    spec = fleet(
        params={"day": date(2013, 1, 2), "list": [1, [2]], "set": {3}}, quality={"between": {"distance": (0, 6000)}}
    )
    assert spec.params == {"day": "2013-01-02", "list": (1, (2,)), "set": (3,)}
    assert spec.quality.between == {"distance": (0.0, 6000.0)}


def test_any_change_of_content_changes_the_digest() -> None:
    digests = {
        fleet(**{name: value}).digest
        for name, value in LARGE.items()
        if name not in ("problem", "gate", "schedule", "data")
    }
    assert len(digests | {fleet().digest}) == len(LARGE) - 4 + 1


def test_spec_is_frozen() -> None:
    spec = fleet()
    with pytest.raises(ValidationError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]
    assert spec.name == "flight_delays"


def test_schedule_says_cron_and_deadlines() -> None:
    schedule = fleet(**LARGE).schedule
    assert (schedule.ingest_cron, schedule.train_cron) == (None, "0 0 1 * *")
    assert schedule.deadline_of("train") == timedelta(hours=6)
    assert schedule.deadline_of("score") == timedelta(hours=12)
    assert Schedule(deadline="90min").deadline_of("ingest") == timedelta(minutes=90)
    assert Schedule(ingest="@daily", train=Weekly(weekday=3)).train_cron == "0 0 * * 3"
    assert Schedule(train=Daily()).train_cron == "0 0 * * *"
    assert Schedule(ingest="@hourly").ingest_cron == "0 * * * *"


def test_quality_names_its_checks() -> None:
    assert fleet(**LARGE).quality.checks == (
        "not_null.dest",
        "between.age",
        "between.distance",
        "in_set.carrier",
        "in_set.engines",
        "unique.flight_id",
        "unique.day,flight",
        "row_count",
        "mean_between.distance",
    )


def test_tables_describe_where_they_are() -> None:
    assert SqlTable("db", "t", schema="s").describe() == "db:s.t"
    assert LakeTable("a/b", format="csv").describe() == "a/b (csv)"
