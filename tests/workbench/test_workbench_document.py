"""What the documents say of the workbench holds."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from modelfleet.workbench import Fit, Fleet, Partition

DOCUMENT = Path(__file__).parents[2] / "docs" / "author-a-fleet.md"


def section(title: str) -> str:
    return DOCUMENT.read_text().split(title, 1)[1].split("\n## ", 1)[0]


def test_calls_that_the_document_names_exist() -> None:
    text = section("### A partition at hand")
    kinds = {"fleet": Fleet, "partition": Partition, "fit": Fit}
    named = {
        (owner, name)
        for owner in kinds
        for row in re.findall(rf"^\| `{owner}\..*$", text, flags=re.MULTILINE)
        for name in re.findall(r"`(?:\w+)?\.([a-z_]+)", row.split("|")[1])
    }
    fields = set(Fit.__dataclass_fields__)
    assert len(named) > 20
    assert [found for found in named if not hasattr(kinds[found[0]], found[1]) and found[1] not in fields] == []


def test_tutorials_rows_intervals_and_partition_fit_together(tmp_path: Path) -> None:
    text = section("## Your first forecast fleet").replace("/tmp/coffee", str(tmp_path))
    (script,) = re.findall(r"<<'END'\n(.*?)^END", text, flags=re.MULTILINE | re.DOTALL)
    exec(script, {})
    made = pd.read_csv(tmp_path / "history.csv")
    assert len(text.strip().splitlines()) <= 60
    assert set(re.findall(r"--interval (\S+)", text)) - {made["day"].max()} == {"2025-05-15"}, "the day after"
    assert re.findall(r"--start (\S+)", text) == [made["day"].min()]
    named = dict(re.findall(r'(shop|drink)="(\w+)"', text))
    assert len(made[(made["shop"] == named["shop"]) & (made["drink"] == named["drink"])]) == 500
    assert f"shop={named['shop']}/drink={named['drink']}" in text
