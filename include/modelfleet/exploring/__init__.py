"""Look at a fleet's prepared data: one pass over all rows for counts, samples for the rest, one HTML file to read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelfleet import engine, settings
from modelfleet.errors import ConfigurationError

if TYPE_CHECKING:
    from modelfleet.exploring.profile import Profile
    from modelfleet.spec import FleetSpec

__all__ = ["explore", "write_report"]


def explore(
    spec: FleetSpec, key: str | None = None, *, sample_rows: int = 100_000, progress: engine.Progress | None = None
) -> Profile:
    """The prepared data of a fleet, looked at.

    :param key: the interval; default: that of the latest training, else of the latest ingest with rows.
    :param sample_rows: how many rows stand for all where they are too many: distributions, outliers, correlations.
    :raises DataError: for a malformed key; when nothing is ingested, or no row is left.
    """
    from modelfleet.exploring.prepared import prepared_rows
    from modelfleet.exploring.profile import look

    return look(prepared_rows(spec, key, progress=progress), wanted=sample_rows, progress=progress)


def write_report(found: Profile, file: Path | None = None) -> Path:
    """Write the report as HTML.

    :param file: default: ``reports/<fleet>-profile-<interval>.html`` in the home.
    :raises ConfigurationError: when it can't be written there.
    """
    from modelfleet.exploring.report import render

    name = f"{found.prepared.spec.name}-profile-{found.prepared.interval.key}.html"
    target = (file or settings.home() / "reports" / name).absolute()
    page = render(found)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page, encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError(
            f"the report can't be written to {target}: {exc.strerror}", hint="name another file: --out"
        ) from exc
    return target
