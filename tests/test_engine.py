"""The one fan-out: results in order, which errors are tried again, and that a submitted job stays with its master."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from modelfleet import engine
from modelfleet.errors import DataError, ModelfleetError, UnavailableError

pytestmark = pytest.mark.integration


def _tried(folder: str, kind: type[ModelfleetError] | None, failures: int, task: int) -> int:
    """Raises in the first tries of task 1; every try leaves a file."""
    place = Path(folder) / f"{task}-{os.urandom(4).hex()}"
    before = len(list(Path(folder).glob(f"{task}-*")))
    place.touch()
    if kind is not None and task == 1 and before < failures:
        raise kind("not now")
    return task * 10


@pytest.mark.parametrize(
    "kind, failures, tries",
    [
        pytest.param(None, 0, 1, id="works"),
        pytest.param(UnavailableError, 2, 3, id="is back at the third try"),
        pytest.param(UnavailableError, 99, engine.LOCAL_TRIES, id="stays away"),
        pytest.param(DataError, 99, 1, id="wrong for good"),
    ],
)
def test_only_what_a_repetition_may_mend_is_tried_again(
    tmp_path: Path, kind: type[ModelfleetError] | None, failures: int, tries: int
) -> None:
    spark = engine.session("tests", timezone="UTC")
    spark.sparkContext.addPyFile(__file__)  # whose function the workers run
    work = partial(_tried, str(tmp_path), kind, failures)
    if kind is not None and failures == 99:
        with pytest.raises(kind, match="not now"):
            engine.fan_out(spark, work, [0, 1, 2], label="tests")
    else:
        assert engine.fan_out(spark, work, [0, 1, 2], label="tests") == [0, 10, 20]
    assert [len(list(tmp_path.glob(f"{task}-*"))) for task in (0, 1, 2)] == [1, tries, 1]


def _slow(task: int) -> int:
    time.sleep(0.2 + task / 20)  # Spark tells tasks that end at the same time only by and by
    return task


def test_progress_counts_the_tasks_of_its_own_fan_out_alone() -> None:
    spark = engine.session("tests", timezone="UTC")
    spark.sparkContext.addPyFile(__file__)
    for _ in range(2):  # the second has the label of the first
        seen: list[tuple[str, int, int]] = []
        engine.fan_out(spark, _slow, range(8), label="tests", progress=lambda *told, seen=seen: seen.append(told))
        counts = [done for _, done, _ in seen]
        assert counts == sorted(counts), counts
        assert set(counts) > {0, 8}, counts
        assert set(seen) <= {("tests", done, 8) for done in range(9)}, seen


SUBMITTED = """
from modelfleet import engine
context = engine.session("submitted", timezone="UTC").sparkContext
print("FOUND", context.master, context.getConf().get("spark.cores.max"))
"""


@pytest.mark.slow
def test_a_submitted_job_keeps_the_master_and_settings_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(SUBMITTED)
    submit = str(Path(sys.executable).parent / "spark-submit")
    given = ["--master", "local[1]", "--conf", "spark.cores.max=3"]
    done = subprocess.run(
        [submit, *given, str(tmp_path / "job.py")],
        env={**os.environ, "PYSPARK_PYTHON": sys.executable, "MODELFLEET_SPARK_MASTER": "local[7]"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"FOUND local[1,{engine.LOCAL_TRIES}] 3" in done.stdout
