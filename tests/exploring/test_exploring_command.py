"""`modelfleet profile`: which rows it looks at, what it prints, what it refuses; without Spark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import Result
from typer.testing import CliRunner

from modelfleet.cli import app
from modelfleet.errors import DataError
from modelfleet.exploring.prepared import prepared_rows
from prepared_bench import ingest, shops, train

DAYS = np.arange("2024-01-01", "2024-04-01", dtype="M8[D]")
ROWS = pa.table({"shop": ["a"] * 60, "day": DAYS[-60:], "units": np.arange(60.0), "price": np.ones(60)})
FLEET = """
from modelfleet.airflow import many_models
from prepared_bench import shops
many_models(shops())
"""


@pytest.fixture(autouse=True)
def _fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "shops.py").write_text(FLEET)
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(folder))
    monkeypatch.setenv("COLUMNS", "200")


def command(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["profile", *arguments])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    return result


def test_the_training_in_force_is_looked_at_as_it_is(tmp_path: Path) -> None:
    ingest(shops(), "2024-03-31")
    attempt = train(ROWS, shops(), ingests=("2024-03-31",))

    shown = command("shops", "--out", str(tmp_path / "look.html"), "--sample-rows", "50").stdout

    assert "shops: the data up to 2024-03-31" in shown
    assert "60 from 2024-02-01 to 2024-03-31" in shown
    assert "column 'price' with one value only" in shown
    assert f"report   {tmp_path / 'look.html'}" in shown
    text = (tmp_path / "look.html").read_text()
    assert f"attempt {attempt}" in text
    assert "<td>sampled rows</td><td>50, for" in text


def test_the_latest_training_is_the_default_and_an_interval_can_be_named() -> None:
    for key, rows in (("2024-02-29", 10), ("2024-03-31", 20)):
        ingest(shops(), key)
        keys = ("2024-02-29", "2024-03-31") if key == "2024-03-31" else ("2024-02-29",)
        train(ROWS.slice(0, rows), shops(), key, ingests=keys)

    assert prepared_rows(shops()).rows == 20
    assert prepared_rows(shops(), "2024-02-29").rows == 10
    assert prepared_rows(shops()).committed


@pytest.mark.parametrize(
    "arguments, message",
    [
        pytest.param(("ships",), "fleet 'ships' is not in", id="unknown fleet"),
        pytest.param(("shops", "--interval", "March"), "interval key 'March' is malformed", id="malformed interval"),
        pytest.param(("shops", "--interval", "../../x"), "is malformed", id="interval that is a path"),
        pytest.param(("shops",), "nothing is ingested to look at", id="nothing ingested"),
        pytest.param(("shops", "--interval", "2024-03-31"), "no rows to train on", id="nothing ingested up to there"),
    ],
)
def test_what_can_not_be_looked_at_is_refused_with_the_reason(arguments: tuple[str, ...], message: str) -> None:
    assert message in command(*arguments, code=1).stderr


def test_ingests_without_rows_are_named() -> None:
    ingest(shops(), "2024-03-30", rows=0)
    with pytest.raises(
        DataError, match="the ingests of 2024-03-30 hold no rows\nHint: ingest first: modelfleet run shops"
    ):
        prepared_rows(shops())


def test_an_empty_dataset_is_refused() -> None:
    ingest(shops(), "2024-03-31")
    train(ROWS.slice(0, 0), shops(), ingests=("2024-03-31",))
    with pytest.raises(DataError, match="no prepared rows to look at\nHint: does `prepare` or a treatment drop them"):
        prepared_rows(shops())


def test_report_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    ingest(shops(), "2024-03-31")
    train(ROWS, shops(), ingests=("2024-03-31",))
    assert "name another file: --out" in command("shops", "--out", str(tmp_path), code=1).stderr
    assert command("shops", "--sample-rows", "0", code=2).stderr
