"""Judging the prepared rows of a run: checks, columns and rows in, one record per check out."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelfleet.errors import DataError, bounded
from modelfleet.quality.checks import Check, checks
from modelfleet.quality.result import EXAMPLES, CheckResult, Example, QualityResult, plain

if TYPE_CHECKING:
    from modelfleet.quality.frame import Rows
    from modelfleet.spec import Quality

# Expectations that judge a column's type: the frame must not widen it.
_TYPE_EXPECTATIONS = (
    "expect_column_values_to_be_of_type",
    "expect_column_values_to_be_in_type_list",
    "expect_column_type_to_be",
)
_COUNTS = (
    "element_count",
    "unexpected_count",
    "unexpected_percent",
    "unexpected_percent_total",
    "unexpected_percent_nonmissing",
    "missing_count",
    "missing_percent",
)
_WITHHELD = "message withheld: the check reads a sensitive column"
_OBSERVED_ITEMS = 20


def validate_against_gx(wanted: Iterable[Check]) -> None:
    """Ask Great Expectations whether it knows these checks and takes their arguments. Imports it when there are any.

    :raises DataError: naming every check that is wrong, for unknown expectations with the nearest names.
    """
    wanted = tuple(wanted)
    if not wanted:
        return
    from modelfleet.quality import expectations

    wrong = []
    with expectations.quiet():
        for check in wanted:
            try:
                expectations.build(check)
            except DataError as exc:
                wrong.append(f"- {check.id}: {exc.message}")
    if wrong:
        raise DataError(
            f"{len(wrong)} of {len(wanted)} quality checks are wrong:\n{bounded(wrong, sep=chr(10))}",
            hint="names and arguments as in the Great Expectations gallery: https://greatexpectations.io/expectations",
        )


def judge(
    quality: Quality,
    rows: Rows,
    *,
    fleet: str,
    interval: str,
    docs_dir: Path | None = None,
    row_label: Sequence[str] = (),
    absent: Collection[str] = (),
) -> QualityResult:
    """Judge `rows` (a pyarrow Table or Dataset) by `quality`; failing checks are in the result, not raised.

    `interval` is the key. `row_label` names columns that identify a row to its reader: their values stand beside the
    row numbers of examples, except sensitive ones. With `docs_dir`, Data Docs are written there. Checks of `absent`
    columns are left out: the target is not there when scoring.

    :raises DataError: when a check is unknown to Great Expectations or its arguments are wrong.
    """
    wanted = tuple(check for check in checks(quality) if not set(check.columns) & set(absent))
    count = rows.num_rows if hasattr(rows, "num_rows") else rows.count_rows()
    if not wanted:
        return QualityResult(fleet, interval, count)
    validate_against_gx(wanted)
    from modelfleet.quality import docs, expectations

    sensitive = frozenset(quality.sensitive)
    with expectations.quiet():
        raw = _evaluate(wanted, rows, count)
        judged = tuple(_record(check, raw.get(check.id), rows, sensitive, row_label) for check in wanted)
        index = None
        if docs_dir is not None:
            shown = [_showable(raw[record.id], record) for record in judged if record.id in raw]
            index = docs.write(shown, docs_dir, fleet=fleet, interval=interval)
    return QualityResult(fleet, interval, count, judged, index)


def _evaluate(wanted: Sequence[Check], rows: Rows, count: int) -> dict[str, Any]:
    from modelfleet.quality import chunks, expectations, frame

    schema = rows.schema
    exact = {column for check in wanted if check.expectation in _TYPE_EXPECTATIONS for column in check.columns}
    asked = []
    for check in wanted:
        arguments = dict(check.arguments)
        column = arguments.get("column")
        if isinstance(column, str) and column in schema.names:
            arguments = frame.fitted(arguments, schema.field(column).type)
        asked.append((check, expectations.build(check, arguments)))
    if count > chunks.CHUNK_ROWS:
        return chunks.evaluate(asked, rows, count, exact=exact)
    columns = [name for name in schema.names if any(name in check.reads(schema.names) for check in wanted)]
    return expectations.evaluate([built for _, built in asked], frame.frame_of(rows, columns, exact=exact))


def _record(check: Check, raw: Any, rows: Rows, sensitive: frozenset[str], row_label: Sequence[str]) -> CheckResult:
    """Great Expectations' result of `check` as ours; one that raised is a failed error, whatever its severity."""
    hidden = check.touches(sensitive)
    exception = _exception(check, raw, rows.schema.names, hidden)
    found: Mapping[str, Any] = (raw.result if raw is not None else None) or {}
    success = exception is None and bool(raw.success)
    elements = found.get("element_count")
    numbers = [] if success else [int(n) for n in found.get("partial_unexpected_index_list") or ()][:EXAMPLES]
    columns = [c for c in dict.fromkeys([*row_label, *check.columns]) if c in rows.schema.names and c not in sensitive]
    return CheckResult(
        id=check.id,
        expectation=check.expectation,
        column=check.columns[0] if len(check.columns) == 1 else None,
        severity="error" if exception is not None else check.severity,
        success=success,
        described=str(check),
        # some expectations count distinct values here; they have no element_count
        unexpected_count=found.get("unexpected_count") if elements is not None else None,
        element_count=elements,
        observed=None if hidden else _observed(found),
        examples=_examples(rows, numbers, columns),
        exception=exception,
        sensitive=hidden,
    )


def _observed(found: Mapping[str, Any]) -> Any:
    observed = plain(found.get("observed_value"))
    if isinstance(observed, list) and len(observed) > _OBSERVED_ITEMS:
        return [*observed[:_OBSERVED_ITEMS], f"and {len(observed) - _OBSERVED_ITEMS} more"]
    return observed


def _examples(rows: Rows, numbers: Sequence[int], columns: Sequence[str]) -> tuple[Example, ...]:
    if not numbers or not columns:
        return tuple(Example(number, {}) for number in numbers)
    # a Dataset reads only `columns`; a Table is cut to them first, so that neither copies the rest
    taken = rows.select(columns).take(numbers) if hasattr(rows, "select") else rows.take(numbers, columns=columns)
    return tuple(Example(number, values) for number, values in zip(numbers, taken.to_pylist(), strict=True))


def _exception(check: Check, raw: Any, names: Sequence[str], hidden: bool) -> str | None:
    """Why `check` could not be evaluated, or None. A missing column is named with the columns there are."""
    missing = [column for column in check.columns if column not in names]
    text = _raised(raw)
    if missing and text is not None:
        return f"no column {bounded(map(repr, missing))} in the prepared rows; there are {bounded(names, limit=30)}"
    if text is None:
        return None
    return _WITHHELD if hidden else text


def _raised(raw: Any, limit: int = 300) -> str | None:
    if raw is None:
        return "Great Expectations returned no result"
    info = raw.exception_info or {}
    # one record, or one per metric that raised
    parts = [info] if "raised_exception" in info else list(info.values())
    messages = dict.fromkeys(str(part["exception_message"]) for part in parts if part.get("raised_exception"))
    if not messages:
        return None
    text = " ".join("; ".join(messages).split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _showable(raw: Any, record: CheckResult) -> Any:
    """Great Expectations' result of one check as its page may show it."""
    found = {name: raw.result[name] for name in _COUNTS if name in (raw.result or {})}
    if not record.sensitive:
        found = {**(raw.result or {}), **found}
    if record.examples:
        found["partial_unexpected_index_list"] = [example.row for example in record.examples]
        if not record.sensitive:
            found["partial_unexpected_list"] = [_cell(example.values, record.column) for example in record.examples]
    raw.result = _escaped(plain(found))
    raw.exception_info = {
        "raised_exception": record.exception is not None,
        "exception_message": record.exception,  # the page escapes this one itself
        "exception_traceback": "" if record.exception is not None else None,
    }
    return raw


def _escaped(value: Any) -> Any:
    """Text of the data as HTML text: Great Expectations' page puts it in as it is, and fills in ``$names``."""
    if isinstance(value, str):
        return html.escape(value).replace("$", "&#36;")
    if isinstance(value, list):
        return [_escaped(part) for part in value]
    if isinstance(value, dict):
        return {name: _escaped(part) for name, part in value.items()}
    return value


def _cell(values: Mapping[str, Any], column: str | None) -> Any:
    return values.get(column) if column is not None else ", ".join(f"{k}={v}" for k, v in values.items())
