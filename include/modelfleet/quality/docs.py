"""Data Docs: Great Expectations' own page of a validation, one file per run.

The whole site builder copies 4 MB of fonts and pictures beside every page; the page itself is complete without them.
Results come in here already without values of sensitive columns.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def write(results: Sequence[Any], docs_dir: Path, *, fleet: str, interval: str) -> Path:
    """Render `results` (ExpectationValidationResult) to ``index.html`` in `docs_dir`, made if need be."""
    core = importlib.import_module("great_expectations.core")
    run = importlib.import_module("great_expectations.core.run_identifier").RunIdentifier
    renderer = importlib.import_module("great_expectations.render.renderer")
    view = importlib.import_module("great_expectations.render.view")
    version = importlib.import_module("great_expectations").__version__
    now = datetime.now(UTC)
    good = sum(bool(result.success) for result in results)
    validation = core.ExpectationSuiteValidationResult(
        results=list(results),
        success=good == len(results),
        suite_name=fleet,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": good,
            "unsuccessful_expectations": len(results) - good,
            "success_percent": 100 * good / len(results),
        },
        meta={
            "great_expectations_version": version,
            "run_id": run(run_name=interval, run_time=now),
            "validation_time": now,
            "active_batch_definition": {"data_asset_name": f"prepared rows of {interval}"},
        },
    )
    document = renderer.ValidationResultsPageRenderer(run_info_at_end=True).render(validation)
    docs_dir.mkdir(parents=True, exist_ok=True)
    index = docs_dir / "index.html"
    index.write_text(_standalone(view.DefaultJinjaPageView().render(document)), encoding="utf-8")
    return index


def _standalone(html: str) -> str:
    """`html` without links to the rest of a site and without the pictures that tell their maker who is reading."""
    html = re.sub(r"<img\b[^>]*great-expectations-web-assets[^>]*>", "", html)
    html = re.sub(r"url\('https://great-expectations-web-assets[^']*'\)", "none", html)
    html = re.sub(r"<footer>.*?</footer>", "", html, flags=re.DOTALL)
    html = re.sub(r'<link rel="shortcut icon"[^>]*>', "", html)
    return re.sub(r'href="(?:\.\./)+[^"]*"', 'href="#"', html)
