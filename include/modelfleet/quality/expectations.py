"""Great Expectations itself: its import, its objects, its engine. Imported only where there is something to check.

Its pandas engine judges, on the columns the checks need: all rows at once here in `evaluate`, chunk after chunk in
`Tally`, which `chunks` feeds.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from modelfleet.errors import DataError, bounded
from modelfleet.quality.checks import Check

if TYPE_CHECKING:
    import pandas as pd

# Set by us: the results' format decides what may be shown; `meta` links a result to its check.
_RESERVED = ("result_format", "meta", "severity", "batch_id", "catch_exceptions")
_SEVERITY = {"error": "critical", "warn": "warning"}
_META = "modelfleet_check"
_PARTIAL = 20
_SHOWN = {
    "result_format": "SUMMARY",
    "partial_unexpected_count": _PARTIAL,
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
}


@contextmanager
def quiet() -> Iterator[None]:
    """Great Expectations without its logging and warnings; what matters of them is in the results."""
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def gx() -> Any:
    """The great_expectations module: analytics off before the first import."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    return importlib.import_module("great_expectations")


def build(check: Check, arguments: dict[str, Any] | None = None) -> Any:
    """The expectation object of `check`, with `arguments` in place of its own.

    :raises DataError: when the expectation is unknown, can't be judged by this engine, or refuses the arguments.
    """
    gx()
    registry = importlib.import_module("great_expectations.expectations.registry")
    known = registry.list_registered_expectation_implementations()
    if check.expectation not in known:
        near = difflib.get_close_matches(check.expectation, known, n=3, cutoff=0.5)
        raise DataError(f"expectation {check.expectation!r} is unknown; nearest: {bounded(near) or 'none'}")
    given = dict(check.arguments if arguments is None else arguments)
    reserved = [name for name in _RESERVED if name in given]
    if reserved:
        raise DataError(f"{check.expectation}: {bounded(reserved)} can't be given, Modelfleet sets it")
    try:
        built = registry.get_expectation_impl(check.expectation)(
            **given, severity=_SEVERITY[check.severity], meta={_META: check.id}
        )
    except (TypeError, ValueError) as exc:  # pydantic's ValidationError is a ValueError
        raise DataError(f"{check.expectation}: {_reasons(exc)}") from exc
    _require_supported(check.expectation, built)
    _require_patterns(check.expectation, given)
    return built


def _reasons(exc: Exception) -> str:
    """A pydantic error as ``argument: reason``."""
    errors = getattr(exc, "errors", None)
    if not callable(errors):
        return str(exc)
    found = []
    for error in errors():
        name = ".".join(str(part) for part in error["loc"] if part != "__root__")
        found.append(f"{name}: {error['msg']}" if name else error["msg"])
    return bounded(found, sep="; ")


def _require_supported(name: str, expectation: Any) -> None:
    """Refuse an expectation whose metric has no pandas form (SQL queries, LIKE patterns)."""
    registry = importlib.import_module("great_expectations.expectations.registry")
    exceptions = importlib.import_module("great_expectations.exceptions")
    engine = importlib.import_module("great_expectations.execution_engine").PandasExecutionEngine()
    mapped = getattr(expectation, "map_metric", None)
    for metric in [f"{mapped}.condition"] if mapped else getattr(expectation, "metric_dependencies", ()):
        try:
            registry.get_metric_provider(metric, engine)
        except exceptions.MetricProviderError as exc:
            raise DataError(f"{name} can't be judged here: Great Expectations has no pandas form of it") from exc


def _require_patterns(name: str, arguments: dict[str, Any]) -> None:
    """Refuse a malformed regular expression now; Great Expectations compiles it only over the rows."""
    several = arguments.get("regex_list")
    for pattern in [arguments.get("regex"), *(several if isinstance(several, (list, tuple)) else [])]:
        try:
            re.compile(pattern if isinstance(pattern, str) else "")
        except re.error as exc:
            raise DataError(f"{name}: {pattern!r} is not a regular expression: {exc}") from exc


def evaluate(expectations: Sequence[Any], frame: pd.DataFrame) -> dict[str, Any]:
    """Great Expectations' result per check id. A check that raises costs only itself; nothing is written or sent.

    Counts and row numbers are asked for, values never: those that may be shown are read from the rows by number.
    """
    batch = _batch(frame)
    suite = gx().ExpectationSuite(name="quality")
    for expectation in expectations:
        suite.add_expectation(expectation)
    try:
        together = list(_validate(batch, suite).results)
    except Exception:  # one expectation can break the graph of them all: judge each alone
        together = []
    results = {result.expectation_config.meta[_META]: result for result in together}
    for expectation in expectations:
        if expectation.meta[_META] not in results:  # also those a suite leaves out for being like another
            results[expectation.meta[_META]] = _alone(batch, expectation)
    _context()  # the current context is kept for good, with the frame in it: replace it
    return results


class Tally:
    """What Great Expectations measures in frame after frame, summed, and what it makes of the sums.

    For expectations whose measures are counts of rows and lists of rows that failed, each with the columns it reads.
    One that raises is left out.
    """

    def __init__(self, asked: Iterable[tuple[Any, Sequence[str]]]) -> None:
        self._sums: list[tuple[Any, Sequence[str], dict[Any, Any]]] = [(each, columns, {}) for each, columns in asked]
        self._engine = importlib.import_module("great_expectations.execution_engine").PandasExecutionEngine()

    def add(self, frame: pd.DataFrame) -> None:
        """Measure `frame`, whose index is its rows' numbers, too."""
        left = []
        for expectation, columns, sums in self._sums:
            # The engine copies all the columns it has. It lets go of those it had before.
            self._engine.load_batch_data("rows", frame[list(columns)])
            if self._added(expectation, sums):
                left.append((expectation, columns, sums))
        self._sums = left

    def results(self) -> dict[str, Any]:
        """Great Expectations' result per check id, of those that raised nowhere."""
        found = {}
        for expectation, _, sums in self._sums:
            with suppress(Exception):
                found[expectation.meta[_META]] = expectation.metrics_validate(sums, self._runtime(), self._engine)
        return found

    def _added(self, expectation: Any, sums: dict[Any, Any]) -> bool:
        calculator = importlib.import_module("great_expectations.validator.metrics_calculator").MetricsCalculator
        try:
            needed = expectation.get_validation_dependencies(self._engine, self._runtime()).get_metric_configurations()
            found, _ = calculator(self._engine, show_progress_bars=False).compute_metrics(needed, self._runtime())
            for metric in needed:
                sums[metric.id] = _summed(metric.metric_name, sums.get(metric.id), found[metric.id])
        except Exception:  # whatever a check raises on these rows, it is said when it is judged on all rows
            return False
        return True

    @staticmethod
    def _runtime() -> dict[str, Any]:
        return {"result_format": dict(_SHOWN)}


def _summed(name: str, before: Any, found: Any) -> Any:
    """The metric `name` over all frames so far; numbers of rows stay in order, cut to those that are shown."""
    if before is None or found is None:
        return found
    if name.endswith(".unexpected_index_list"):
        return sorted([*before, *found])[:_PARTIAL]
    if name.endswith(".unexpected_values"):
        return [*before, *found][:_PARTIAL]
    return before + found


def _validate(batch: Any, what: Any) -> Any:
    return batch.validate(what, result_format=dict(_SHOWN))


def _alone(batch: Any, expectation: Any) -> Any:
    core = importlib.import_module("great_expectations.core")
    try:
        return _validate(batch, expectation)
    except Exception as exc:
        return core.ExpectationValidationResult(
            success=False,
            expectation_config=expectation.configuration,
            result={},
            exception_info={
                "raised_exception": True,
                "exception_message": f"{type(exc).__name__}: {exc}",
                "exception_traceback": "",
            },
        )


def _batch(frame: pd.DataFrame) -> Any:
    asset = _context().data_sources.add_pandas("modelfleet").add_dataframe_asset("prepared rows")
    return asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": frame})


def _context() -> Any:
    """A new context in memory: no files, no progress bars; it becomes the process's current one."""
    base = importlib.import_module("great_expectations.data_context.types.base")
    config = base.DataContextConfig(
        store_backend_defaults=base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars={"globally": False, "metric_calculations": False},
        analytics_enabled=False,
    )
    return gx().get_context(mode="ephemeral", project_config=config)
