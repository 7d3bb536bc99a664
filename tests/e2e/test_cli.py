"""The command line: what it prints, what it refuses, and that its JSON is JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from chain_bench import BULK, BULK_START, DAYS, EXPECTED, HEALTHY, World, partition
from mlflow_servers import free_port
from modelfleet.cli import app

pytest_plugins = ["fixtures_mlflow"]

DAY = DAYS[0]
WELLS = """
from chain_bench import wells
from modelfleet.airflow import many_models
many_models(wells({changes}))
"""
BAD_SPEC = """
from modelfleet import Data, FleetSpec, Regression, SqlTable
from modelfleet.airflow import many_models
many_models(FleetSpec(name="bad_spec", owner="tests", data=Data(SqlTable("c", "t", time="at")), partition_by=(),
                      problem=Regression(target="y"), features=("x",), model="wells.gauges:build"))
"""


@pytest.fixture(autouse=True)
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of fleet files, with the fleet of wells in it."""
    folder = tmp_path / "dags"
    folder.mkdir()
    write(folder / "wells.py")
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder))
    monkeypatch.setenv("COLUMNS", "400")
    return folder


def write(file: Path, changes: str = "") -> None:
    file.write_text(WELLS.format(changes=changes))


def command(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def as_json(*arguments: str, code: int = 0) -> Any:
    return json.loads(command(*arguments, "--json", code=code).stdout)


def test_plan_lists_every_step_and_executes_nothing(tmp_path: Path, new_world: World) -> None:
    steps = as_json("plan", "wells")

    assert [(step["pipeline"], step["name"]) for step in steps][:4] == [
        ("ingest", "extract"),
        ("ingest", "commit"),
        ("train", "pin"),
        ("train", "dataset"),
    ]
    assert "wells_db.readings" in json.dumps(steps[0]["reads"]) or "wells_db" in json.dumps(steps[0]["reads"])
    assert "group the rows by well, pad" in command("plan", "wells").stdout
    assert not (new_world.home / "lake").exists()


def test_validate_reads_every_file_and_a_broken_one_hides_no_good_one(dags: Path) -> None:
    assert "read  wells" in command("validate").stdout
    assert as_json("validate") == {"fleets": ["wells"], "errors": []}

    (dags / "bad_spec.py").write_text(BAD_SPEC)
    write(dags / "bad_code.py", "name='bad_code', model='wells.pumps:build'")
    (dags / "bad_file.py").write_text("from modelfleet.airflow import many_models\nmany_models(1 / 0)\n")
    result = command("validate", code=1)

    assert "read  wells" in result.stdout
    for text in ("bad_spec.py", "partition_by: got ()", "wells.pumps:build can't be imported", "bad_file.py"):
        assert text in result.stderr
    assert "ZeroDivisionError in line 2" in result.stderr
    found = as_json("validate", code=1)
    assert "wells" in found["fleets"]
    assert len(found["errors"]) == 3


def test_validate_of_one_file_leaves_the_others_alone(dags: Path) -> None:
    (dags / "bad_file.py").write_text("import many_models_of_nothing\n")
    assert "read  wells" in command("validate", str(dags / "wells.py")).stdout
    assert "bad_file.py" in command("validate", str(dags / "bad_file.py"), code=1).stderr
    assert "nowhere.py" in command("validate", str(dags / "nowhere.py"), code=1).stderr


def test_status_shows_champion_runs_and_what_is_stale(world: World) -> None:
    world.run("ingest", DAY)
    world.run("score", DAY)
    world.execute(f"UPDATE readings SET flow = 1 WHERE read_at LIKE '{DAY}%'")
    world.run("ingest", DAY)

    shown = command("status", "wells").stdout
    assert f"wells: champion version 1 of {BULK}" in shown
    assert f"ingest/{DAY} was made again" in shown
    (found,) = as_json("status")
    assert found["champion"]["version"] == 1
    assert [(run["pipeline"], run["interval"]) for run in found["runs"] if run["stale"]] == [("score", DAY)]


def test_status_goes_on_without_a_registry_and_beside_a_broken_file(
    world: World, dags: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_PRODUCTION", f"http://127.0.0.1:{free_port()}")
    (dags / "bad_file.py").write_text("from modelfleet.airflow import many_models\nmany_models(1 / 0)\n")

    result = command("status", code=1)

    assert "the production registry at http://127.0.0.1" in result.stdout
    assert BULK in result.stdout
    assert "bad_file.py" in result.stderr


def test_status_of_a_fleet_that_never_ran(new_world: World) -> None:
    assert "wells: no champion yet" in command("status").stdout
    assert as_json("status", "wells")[0]["runs"] == []


def test_find_gives_models_by_key_metrics_and_tags(world: World) -> None:
    rows = as_json("find", "wells", "--where", "well = 'plain' AND mae < baseline_mae AND tags['domain'] = 'oil'")
    assert {row["partition"] for row in rows} == {partition(("plain", None)), partition(("plain", 8))}
    assert len(as_json("find", "wells")) == len(EXPECTED)
    assert len(as_json("find", "wells", "--where", "serves = 'model'", "--limit", "3")) == 3
    assert as_json("find", "wells", "--where", "reason = 'no such reason'") == []
    shown = command("find", "wells", "--where", "serves = 'model'").stdout
    assert f"wells: {len(HEALTHY)} models" in shown
    assert partition(("..", 2)) in shown


@pytest.mark.parametrize(
    "where",
    [
        "nope = 1",
        "well =",
        "",
        "true; DROP TABLE models",
        "true) OR (true",
        "(SELECT count(*) FROM read_text('/etc/passwd')) > 0",
        "(SELECT count(*) FROM '/etc/passwd') > 0",
        "(SELECT count(*) FROM read_parquet('/etc/hosts')) > 0",
        "well IN (COPY models TO '/tmp/x')",
        "getenv('HOME') <> ''",
        "mae -- comment\n) OR (true",
    ],
)
def test_hostile_condition_is_refused(where: str, world: World) -> None:
    result = command("find", "wells", "--where", where, code=1)
    assert "DataError: fleet 'wells': --where" in result.stderr
    assert "root:" not in result.output


def test_explain_tells_a_partition_whole(world: World) -> None:
    world.run("ingest", DAY)
    world.run("score", DAY)

    found = as_json("explain", "wells", partition(("..", 2)))
    assert found["keys"] == {"well": "..", "pad": 2}
    assert (found["training"]["status"], found["training"]["mae"] < found["training"]["baseline_mae"]) == (
        "trained",
        True,
    )
    assert found["decision"]["decision"] == "promoted"
    assert (found["serving"]["source"], found["serving"]["version"]) == ("model", 1)
    assert found["last_score"]["outcome"] == "scored"

    raised = command("explain", "wells", partition(("raises", 10))).stdout
    for text in ("fit_raised", "the well is dry", "rejected", "baseline", "fallback"):
        assert text in raised


@pytest.mark.parametrize(
    "key, message",
    [
        ("well=nobody/pad=1", "fleet 'wells' knows no partition 'well=nobody/pad=1'"),
        ("nobody", "'nobody' is no partition key; allowed is well=.../pad=..."),
        ("well=plain/pad=08", "'well=plain/pad=08' is no partition key"),
        ("../../etc/passwd", "is no partition key"),
    ],
)
def test_explain_of_an_unknown_partition_says_so(key: str, message: str, world: World) -> None:
    assert message in command("explain", "wells", key, code=1).stderr


def test_rollback_says_what_serves_now(world: World) -> None:
    assert "no champion before version 1 is recorded" in command("rollback", "wells", code=1).stderr
    world.execute("UPDATE readings SET flow = flow + depth / 100")
    world.run("ingest", BULK)
    world.run("train", BULK)
    world.run("promote", BULK)

    assert "wells: version 1 serves now, instead of 2" in command("rollback", "wells").stdout
    assert (
        "has no version 9 in the production registry; it has 1, 2"
        in command("rollback", "wells", "--to", "9", code=1).stderr
    )
    assert "wells: version 2 serves now, instead of 1" in command("rollback", "wells", "--to", "2").stdout


def test_run_does_every_step_and_again_takes_them_over(new_world: World) -> None:
    bulk = ("run", "wells", "--interval", BULK, "--start", BULK_START)
    shown = command(*bulk, "--train-only").stdout
    assert re.findall(r"^(\w+) +(\w+) ", shown, re.MULTILINE) == [
        *(("ingest", "extract"), ("ingest", "commit")),
        *(("train", name) for name in ("dataset", "quality", "train", "commit", "register")),
        *(("promote", name) for name in ("decide", "publish", "commit")),
    ]
    assert f"expected {len(EXPECTED)}" in shown
    again = command(*bulk, "--train-only").stdout
    assert again.count("taken over from") >= 4

    scored = command("run", "wells", "--interval", DAY, "--step", "ingest", "--step", "score").stdout
    assert f"scored {len(HEALTHY)}" in scored


def test_run_without_champion_or_rows_says_so_and_is_no_failure(new_world: World) -> None:
    waiting = command("run", "wells", "--interval", DAY, "--step", "ingest", "--step", "score").stdout
    assert "score: fleet 'wells', interval 2024-04-01: no champion yet" in waiting
    empty = command("run", "wells", "--interval", "2022-01-01", "--step", "ingest", "--step", "score").stdout
    assert "no predictions are written" in empty


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("run", "well", "--interval", DAY), "fleet 'well' is not in"),
        (("run", "wells", "--interval", "tomorrow"), "interval key 'tomorrow' is malformed"),
        (("run", "wells", "--interval", DAY, "--step", "train"), "no rows to train on"),
        (("run", "wells", "--interval", DAY, "--step", "promote"), "nothing was trained for interval"),
        (("run", "wells", "--interval", DAY, "--start", "2024-05-01"), "start '2024-05-01' is after its end"),
        (("find", "wells"), "fleet 'wells' has no models yet\nHint: modelfleet run wells --interval"),
        (("explain", "wells", "well=a/pad=1"), "fleet 'wells' has no models yet"),
        (("rollback", "wells"), "fleet 'wells' has no version in the production registry"),
        (("plan", "wels"), "did you mean 'wells'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_errors_are_one_message_and_exit_code_1(arguments: tuple[str, ...], message: str, new_world: World) -> None:
    assert message in command(*arguments, code=1).stderr


def test_the_program_itself_ends_with_1_and_no_traceback(new_world: World, dags: Path) -> None:
    done = new_world.modelfleet("explain", "wells", "well=a/pad=1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("NotFoundError: fleet 'wells' has no models yet")
    assert "Traceback" not in done.stderr


def test_retry_lists_what_it_would_fit_again_and_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    said = command("run", "wells", "--retry", "failed").stdout
    assert "training of 2024-03-31: no failure could turn out otherwise; without a model: " in said
    assert "fit_raised 1" in said
    monkeypatch.setattr("modelfleet.steps.inputs.code_version", lambda spec: "another")
    before = sorted(world.home.rglob("*"))

    listed = command("run", "wells", "--retry", "failed", "--dry-run").stdout

    assert "wells: 2 models of 2024-03-31 would be fitted again" in listed
    assert re.search(r"well=raises/pad=10\s.*fit_raised.*ValueError: the well is dry", listed)
    assert re.search(r"well=mute/pad=17\s.*prediction_invalid.*NaN", listed)
    assert sorted(world.home.rglob("*")) == before
    assert len(world.warehouse.runs("wells", pipeline="train")) == 1


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--retry", "failed", "--force"), "it does not go with --force"),
        (("--retry", "failed", "--step", "score"), "got --step score; allowed: train, promote"),
        (("--retry", "skipped"), "'failed'"),
        (("--dry-run", "--interval", BULK), "it goes with --retry"),
        ((), "the interval's last day or hour"),
    ],
)
def test_run_with_options_that_do_not_go_together_is_refused(
    arguments: tuple[str, ...], said: str, new_world: World
) -> None:
    output = command("run", "wells", *arguments, code=2).output
    assert said in " ".join(output.replace("│", " ").split())


def test_retry_before_any_training_says_so(new_world: World) -> None:
    assert "nothing was trained yet" in command("run", "wells", "--retry", "failed", code=1).output
