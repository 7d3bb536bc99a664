"""The report: one file that loads nothing, whose parts are there and bounded, whatever the data."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from modelfleet import Features, Lag, settings
from modelfleet.errors import ConfigurationError
from modelfleet.exploring import write_report
from modelfleet.exploring.plots import script
from modelfleet.exploring.profile import look
from prepared_bench import prepared, readings, shops

DAYS = np.arange("2024-01-01", "2024-04-01", dtype="M8[D]")
EVIL = "<script>alert(1)</script>"
SECTIONS = ("overview", "partitions", "time", "target", "seasons", "missing", "outliers", "correlation", "treatments")


class Page(HTMLParser):
    """Ids, links and tables of a page; what its tags would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.rows: list[int] = []
        self.tags: list[str] = []
        self.policy = ""
        self._counts = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if given.get("id") else []
        self.links += [given["href"]] if tag == "a" and given.get("href") else []
        self.loads += [f"{tag} {given[name]}" for name in ("src", "srcset", "data", "poster") if given.get(name)]
        self.loads += [f"link {given['href']}"] if tag == "link" and given.get("href") else []
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(given["content"])
        if tag == "table" and given.get("class") == "plain":
            self.rows.append(0)
            self._counts = True
        if tag == "tr" and self._counts:
            self.rows[-1] += 1

    def handle_endtag(self, tag: str) -> None:
        self._counts = self._counts and tag != "table"


def table(shops_count: int = 30, days: int = 60, **columns: Any) -> pa.Table:
    rng = np.random.default_rng(4)
    n = shops_count * days
    return pa.table(
        {
            "shop": np.repeat([f"{EVIL} {shop}" for shop in range(shops_count)], days),
            "day": np.tile(DAYS[-days:], shops_count),
            "units": rng.poisson(4, n).astype(float),
            "price": rng.normal(size=n),
            **columns,
        }
    )


def page_of(rows: pa.Table, spec: Any = None, **facts: Any) -> tuple[str, Page]:
    text = write_report(look(prepared(rows, spec or shops(), **facts))).read_text()
    return text, Page(text)


def test_report_needs_nothing_but_itself() -> None:
    text, page = page_of(table())

    assert page.loads == []
    assert page.policy.startswith("default-src 'none'")
    assert not {"connect-src", "http", "'self'", "*"} & set(page.policy.replace(";", " ").split()), (
        "nothing may be loaded"
    )
    assert "http" not in page.policy
    assert text.count(script()[:2000]) == 1, "plotly.js is there once"
    assert len(text) < 8_000_000


def test_report_has_an_index_of_its_sections() -> None:
    text, page = page_of(table(), treated={"drop units": 1234, "off_grid": 3})

    assert set(SECTIONS) < set(page.ids)
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} >= {*SECTIONS, "findings", "columns"}
    assert {"rows-per-partition", "over-time", "examples", "by-weekday", "autocorrelation"} - set(page.ids) <= {
        "rows-per-partition"  # all have as many
    }
    assert "drop units" in text
    assert "1,234" in text
    assert "rows are not on the grid of the series" in text


def test_names_and_values_of_the_data_are_text_not_html() -> None:
    rows = table(**{EVIL: np.ones(1800), "words": [EVIL] * 1800})
    spec = shops(features=Features(past=(Lag("price", 14), Lag(EVIL, 14)), static=("words",)))
    text, _ = page_of(rows, spec)

    assert EVIL not in text
    assert "&lt;script&gt;alert(1)" in text


def test_tables_are_bounded_and_say_what_is_left_out() -> None:
    rows = table(400, 40).filter(np.random.default_rng(1).random(16_000) > 0.1)
    text, page = page_of(rows)

    assert max(page.rows) == 21, "a head and twenty rows"
    assert "and 380 more" in text


def test_500_columns_are_all_judged_and_few_drawn() -> None:
    names = [f"f{n}" for n in range(500)]
    rng = np.random.default_rng(1)
    rows = table(20, 60).rename_columns(["shop", "at", "units", "price"])
    rows = rows.set_column(1, "at", rows.column("at").cast(pa.timestamp("us")))
    for name in names:
        rows = rows.append_column(name, pa.array(rng.normal(size=1200)))
    rows = rows.append_column("tell", pa.array(rows.column("units").to_numpy() * -3))

    text, _ = page_of(rows, readings(features=(*names, "tell")))

    assert "475 columns are left out" in text
    assert "column &#39;tell&#39;: almost the target itself" in text
    assert len(text) < 9_000_000


def test_a_hundred_thousand_partitions_are_counted_not_drawn() -> None:
    count = 100_000
    rows = pa.table(
        {"shop": np.repeat(np.arange(count), 2), "day": np.tile(DAYS[-2:], count), "units": np.ones(2 * count)}
    )
    found = look(prepared(rows, shops(features=())))
    text = write_report(found).read_text()

    assert len(found.partitions) == count
    assert "100,000 of 100,000 partitions (100.0%) short" in text
    assert "and 99,980 more" in text
    assert len(text) < 6_000_000


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(table(1, 1), id="one row"),
        pytest.param(table(2, 60).set_column(2, "units", pa.nulls(120, pa.float64())), id="no target"),
        pytest.param(table(2, 60).set_column(2, "units", pa.array([1.0] * 120)), id="constant"),
        pytest.param(table(2, 60).set_column(3, "price", pa.nulls(120)), id="column of no type"),
        pytest.param(table(2, 60).set_column(2, "units", pa.array([float("inf")] * 120)), id="infinite"),
        pytest.param(table(2, 60).set_column(3, "price", pa.array([float("inf"), None] * 60)), id="infinite feature"),
        pytest.param(table(2, 60).set_column(1, "day", pa.array(np.repeat(DAYS[:1], 120))), id="one day"),
    ],
)
def test_hard_data_makes_a_report(rows: pa.Table) -> None:
    _, page = page_of(rows)
    assert set(SECTIONS) < set(page.ids)


def test_report_is_written_where_asked_or_into_the_home(tmp_path: Path) -> None:
    found = look(prepared(table(2, 60), shops()))

    assert write_report(found) == settings.home() / "reports" / "shops-profile-2024-03-31.html"
    assert write_report(found, tmp_path / "deep" / "x.html").exists()
    with pytest.raises(ConfigurationError, match=r"can't be written to .*: Is a directory\n.*Hint: name another file"):
        write_report(found, tmp_path)
