"""The text of a new fleet's files: templates, filled in with what the author says and the data show."""

from __future__ import annotations

import getpass
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np

from modelfleet import settings
from modelfleet.scaffold import guessing
from modelfleet.scaffold.guessing import Columns

if TYPE_CHECKING:
    import pyarrow as pa

    from modelfleet.scaffold.series import Series

LINE = 120
_SAMPLE_ROWS = 80
_TEMPLATES = Path(__file__).parent
_TARGETS = {"forecast": "units", "regression": "units", "classification": "sold_out"}
_BETTER = {"forecast": "wape", "regression": "mae", "classification": "log_loss"}


@dataclass(frozen=True)
class Draft:
    """The text of each file by its part, what was taken for what, notes on it, and the commands to go on with."""

    files: dict[str, str]
    taken: dict[str, str]
    notes: tuple[str, ...]
    commands: tuple[str, ...]


def draft(
    name: str,
    kind: str,
    *,
    csv: Path | None,
    time: str | None,
    target: str | None,
    keys: Sequence[str],
    freq: str | None,
    horizon: int | None,
) -> Draft:
    """Everything that `modelfleet new` writes and tells.

    :raises DataError: see `guessing.columns`.
    """
    if csv is None:
        parts = Columns(
            time or "day", target or _TARGETS[kind], tuple(keys) or ("store", "item"), ("price", "visitors")
        )
        rows = _made_up(parts, kind)
        table, given = "SqlTable", [_text(f"{name}_db"), _text(name), f"time={_text(parts.time)}"]
    else:
        rows = guessing.read(csv)
        parts = guessing.columns(rows, kind, time=time, target=target, keys=keys, file=csv)
        table, given = "LakeTable", [_text(_path(csv)), f"time={_text(parts.time)}", 'format="csv"']
    taken = {"time": parts.time, "target": parts.target, "keys": ", ".join(parts.keys)}
    fill = {
        "name": name,
        "owner": _text(_owner()),
        "data": _data(table, given),
        "target": parts.target,
        "time": parts.time,
    }
    fill |= {"keys": _tuple(parts.keys), "key_words": " and ".join(parts.keys), "metric": _BETTER[kind]}
    used = ["Data", "FleetSpec", "Gate", table, "Schedule"]
    if kind == "forecast":
        from modelfleet.scaffold import series

        shape = series.of(rows, parts, freq)
        steps = horizon or shape.horizon
        taken |= {"freq": shape.freq, "horizon": str(steps)}
        notes, more = _forecast(fill, shape, steps, parts, rows)
        sampled = (*parts.keys, parts.time, parts.target)
    else:
        taken["features"] = ", ".join(parts.features) or "parts of the date"
        notes, more = _rows(fill, kind, parts, rows)
        sampled = (*parts.keys, parts.time, *parts.features, parts.target)
    fill["imports"] = _listed("from modelfleet import ", sorted([*used, *more]), 0, around=True)
    fill["test_imports"] = _test_imports(name)
    files = {part: _filled(template, fill) for part, template in _templates(kind).items()}
    files["sample.csv"] = _csv_text(
        _sample(rows, parts, kind).select(list(dict.fromkeys((*sampled, *rows.column_names))))
    )
    return Draft(files, taken, notes, _commands(name, kind, rows if csv else None, parts))


def _forecast(
    fill: dict[str, str], shape: Series, horizon: int, parts: Columns, rows: pa.Table
) -> tuple[tuple[str, ...], list[str]]:
    """Fill in what a forecast needs; returns notes, and the parts of a spec that are used."""
    import pyarrow.compute as pc

    notes, more = [], ["Candidate", "Features", "Forecast", "Lag", "Rolling", "Training"]
    given = [f"target={_text(parts.target)}", f"freq={_text(shape.freq)}", f"horizon={horizon}"]
    given.append("quantiles=(0.1, 0.5, 0.9)")
    if shape.gaps:
        counted = np.issubdtype(rows[parts.target].type.to_pandas_dtype(), np.integer)
        missing = "zero" if counted and (pc.min(rows[parts.target]).as_py() or 0) >= 0 else "previous"
        given.append(f"missing={_text(missing)}")
        notes.append(f"some dates are missing; they are taken as missing={missing!r}, which may not be what they mean")
    lags = ", ".join(map(str, shape.lags(horizon)))
    fine = shape.frequency.unit == "elapsed"
    past = [f"Lag({_text(parts.target)}, {lags})", f'Rolling({_text(parts.target)}, {2 * shape.season}, "mean")']
    calendar = ("hour", "weekday") if fine else ("weekday", "month") if shape.freq == "D" else ("month",)
    fill["problem"] = _listed("problem=Forecast", given, 8)
    fill["past"] = _listed("past=", past, 12)
    fill["calendar"] = _tuple(calendar)
    fill["treatments"] = ""
    if shape.repeated:
        more.append("Dedupe")
        fill["treatments"] = '        treatments=(Dedupe("sum"),),\n'
        notes.append("some dates are there more than once; their targets are added up, see `treatments`")
    # Exponential smoothing has a state for each step of a season: too many of them for a day of minutes.
    smooth, season = ("AutoETS", shape.season) if shape.season <= 24 else ("Theta", shape.season)
    fill["smooth"] = f'"statsforecast.models:{smooth}", params={{"season_length": {season}}}'
    training = [f"folds={shape.folds(horizon)}", 'fallback=("fleet", "baseline")']
    if shape.min_rows(horizon) != 30:
        training.append(f"min_rows={shape.min_rows(horizon)}")
    fill["training"] = ", ".join(training)
    fill["train"] = "@weekly" if fine or shape.freq == "D" else "@monthly"
    fill |= {"ahead": str(horizon), "build": "ridge", "claim": _SQUARES}
    return tuple(notes), more


def _rows(fill: dict[str, str], kind: str, parts: Columns, rows: pa.Table) -> tuple[tuple[str, ...], list[str]]:
    """Fill in what a regression or classification needs."""
    problem = kind.title()
    more, notes = [problem], []
    fill["problem"] = f"{problem}(target={_text(parts.target)})"
    if parts.features:
        fill["features"] = _listed("features=", [_text(name) for name in parts.features], 8)
        notes.append("features are all columns of numbers: leave out what is not known when a prediction is made")
    else:
        more.append("Features")
        fill["features"] = 'features=Features(calendar=("weekday", "month"))'
    days = (_last(rows, parts.time) - _first(rows, parts.time)).days + 1
    fill["training"] = ""
    if days < 4 * 28:
        more.append("Training")
        fill["training"] = f'        training=Training(holdout="{max(days // 4, 1)}D"),\n'
    fill |= {"ahead": "1", "build": "build", "claim": _CLASSES if kind == "classification" else _SQUARES}
    return tuple(notes), more


_SQUARES = "assert ((predicted - TARGET) ** 2).mean() <= TARGET.var() + 1e-9  # no worse than the mean"
_CLASSES = "assert set(predicted) <= {0.0, 1.0}"


def _commands(name: str, kind: str, rows: pa.Table | None, parts: Columns) -> tuple[str, ...]:
    """What to do next; with rows at hand, up to predictions."""
    checks = (f"pytest tests/{name}", f"modelfleet validate dags/{name}.py", f"modelfleet plan {name}")
    if rows is None:
        return (f"export AIRFLOW_CONN_{name.upper()}_DB=sqlite:////path/to/{name}.db", *checks)
    first, last = _first(rows, parts.time), _last(rows, parts.time)
    if kind == "forecast" or first == last:
        return (*checks, f"modelfleet run {name} --interval {last} --start {first}")
    before = last - timedelta(days=1)
    bulk = f"modelfleet run {name} --interval {before} --start {first} --train-only"
    return (*checks, bulk, f"modelfleet run {name} --interval {last} --step ingest --step score")


def _first(rows: pa.Table, time: str) -> date:
    return _day(int(guessing.microseconds(rows, time).min()))


def _last(rows: pa.Table, time: str) -> date:
    return _day(int(guessing.microseconds(rows, time).max()))


def _day(microseconds: int) -> date:
    return date(1970, 1, 1) + timedelta(days=microseconds // 86_400_000_000)


def _sample(rows: pa.Table, parts: Columns, kind: str) -> pa.Table:
    """Rows of the partition that has most, in time order: the last ones; of classes some of each."""
    import pyarrow.compute as pc

    known = rows.filter(pc.and_(pc.is_valid(rows[parts.target]), pc.is_valid(rows[parts.time])))
    codes = guessing.partition_codes(known, parts.keys)
    if kind == "classification":
        classes = known[parts.target].cast("bool").to_numpy()
        mixed = [code for code in np.unique(codes) if len(set(classes[codes == code])) > 1]
        codes = np.where(np.isin(codes, mixed), codes, -1) if mixed else codes
    counts = np.bincount(codes[codes >= 0])
    largest = known.filter(codes == int(counts.argmax())).sort_by(parts.time)
    if kind != "classification":
        return largest.slice(max(largest.num_rows - _SAMPLE_ROWS, 0))
    values = largest[parts.target].cast("bool").to_numpy()
    of_each = [np.flatnonzero(values == value)[-_SAMPLE_ROWS // 2 :] for value in (False, True)]
    return largest.take(np.sort(np.concatenate(of_each)))


def _made_up(parts: Columns, kind: str) -> pa.Table:
    """Rows of one partition: weeks with a trend and a little unrest, the same every time."""
    import pyarrow as pa

    steps = np.arange(84)
    units = 20 + steps // 7 + 6 * (steps % 7 >= 5) + (steps * 7919) % 5
    target = (units % 4 == 0).astype(int) if kind == "classification" else units
    made: dict[str, object] = {key: [f"{key}-1"] * len(steps) for key in parts.keys}
    made[parts.time] = [date(2013, 1, 7) + timedelta(days=int(step)) for step in steps]
    made |= {parts.features[0]: 2.5 - units % 3 * 0.25, parts.features[1]: units * 3 + steps % 2, parts.target: target}
    return pa.table(made)


def _csv_text(rows: pa.Table) -> str:
    from pyarrow import csv

    buffer = io.BytesIO()
    csv.write_csv(rows, buffer, csv.WriteOptions(quoting_style="needed"))
    return buffer.getvalue().decode()


def _path(csv: Path) -> str:
    """Relative to the lake's root if it is there, else absolute."""
    file, lake = csv.resolve(), Path(settings.lake_uri().removeprefix("file://")).resolve()
    return str(file.relative_to(lake)) if file.is_relative_to(lake) else str(file)


def _owner() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        return "me"


def _templates(kind: str) -> dict[str, str]:
    fleet = "forecast" if kind == "forecast" else "rows"
    return {
        "fleet.py": f"fleet_{fleet}.py",
        "__init__.py": "package.py",
        "models.py": f"models_{kind}.py",
        "test.py": "test.py",
    }


def _filled(template: str, fill: dict[str, str]) -> str:
    text = (_TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")
    return Template(text).substitute(fill)


def _test_imports(name: str) -> str:
    """In the order that linters want."""
    ours = {
        "modelfleet.features": "from modelfleet.features import Recipe",
        "modelfleet.spec": "from modelfleet.spec import loader",
        "modelfleet.steps.inputs": "from modelfleet.steps.inputs import check_code",
        name: f"from {name} import models",
    }
    return "\n".join(ours[module] for module in sorted(ours))


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _tuple(values: Sequence[str]) -> str:
    return f"({', '.join(map(_text, values))}{',' if len(values) == 1 else ''})"


def _data(table: str, given: Sequence[str]) -> str:
    line = f"data=Data({table}({', '.join(given)}))"
    if len(line) + 9 <= LINE:
        return line
    return f"data=Data(\n{' ' * 12}{_exploded(table, given, 12)},\n{' ' * 8})"


def _listed(before: str, items: Sequence[str], indent: int, *, around: bool = False) -> str:
    """Items in parentheses, on one line or one on each, as formatters want. :param around: no parentheses on one line."""
    called = before[-1:].isalpha()
    inner = ", ".join(items) + ("," if len(items) == 1 and not (around or called) else "")
    line = f"{before}{inner}" if around else f"{before}({inner})"
    if indent + len(line) + 1 <= LINE:
        return line
    return _exploded(before, items, indent)


def _exploded(before: str, items: Sequence[str], indent: int) -> str:
    pad = " " * (indent + 4)
    return f"{before}(\n" + "".join(f"{pad}{item},\n" for item in items) + " " * indent + ")"
