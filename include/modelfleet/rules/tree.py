"""From a rule's text to DuckDB's tree of one expression; whatever else the text holds is refused here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Node = Mapping[str, Any]

MAX_LENGTH = 1000
MAX_DEPTH = 32
_LOCATION = ("query_location", "query_location_length")


class RuleError(ValueError):
    """A rule is not in the language. `reason` says what is wrong, `hint` what may be meant."""

    def __init__(self, rule: str, reason: str, *, hint: str | None = None) -> None:
        self.rule, self.reason, self.hint = rule, reason, hint
        super().__init__(f"rule {_short(rule)}: {reason}" + (f" ({hint})" if hint else ""))


def tree_of(expr: str) -> Node:
    """DuckDB's tree of the one expression in a text."""
    if not expr.strip():
        raise RuleError(expr, "is empty")
    if len(expr) > MAX_LENGTH:
        raise RuleError(expr, f"has {len(expr)} characters; at most {MAX_LENGTH} are allowed")
    if not expr.replace("\n", " ").replace("\t", " ").isprintable():
        raise RuleError(expr, "has control characters")
    _refuse_comments(expr)
    try:
        # Alone it must be one expression, and stay the same one in parentheses, where it will be evaluated.
        bare, wrapped = _select(expr, expr), _select(expr, f"({expr}\n)")
    except RecursionError:
        raise RuleError(expr, "is nested too deeply") from None
    if len(bare) != 1 or bare != wrapped or bare[0].get("alias"):
        raise RuleError(expr, "is not one expression")
    tree: Node = bare[0]
    _refuse_depth(expr, tree)
    return tree


def _select(expr: str, text: str) -> list[Any]:
    """The select list of ``SELECT text``, which must have no other clause."""
    import duckdb

    try:
        row = _cursor().execute("SELECT json_serialize_sql($1)", [f"SELECT {text}"]).fetchone()
    except duckdb.Error as exc:
        raise RuleError(expr, _first_line(exc)) from None
    assert row is not None
    found: Any = json.loads(row[0])
    if found["error"]:
        raise RuleError(expr, f"is not one SQL expression: {found['error_message']}")
    statements = [_plain(statement["node"]) for statement in found["statements"]]
    clauses = [{**statement, "select_list": None} for statement in statements]
    if clauses != [_no_clauses()]:
        raise RuleError(expr, "is not one expression; clauses such as FROM, WHERE or ORDER BY are not allowed")
    listed: list[Any] = statements[0]["select_list"]
    return listed


@lru_cache(maxsize=1)
def _no_clauses() -> Node:
    """What DuckDB gives for a SELECT that has a select list and nothing else."""
    row = _cursor().execute("SELECT json_serialize_sql('SELECT 1')").fetchone()
    assert row is not None
    return {**_plain(json.loads(row[0])["statements"][0]["node"]), "select_list": None}


def _refuse_depth(expr: str, tree: Node) -> None:
    """Bound how deep expressions are in one another: DuckDB copies what stands before BETWEEN, twice for each level."""
    waiting: list[tuple[Any, int, bool]] = [(tree, 0, False)]
    while waiting:
        value, depth, in_between = waiting.pop()
        if isinstance(value, dict) and "class" in value:
            depth += 1
            if depth > MAX_DEPTH or (in_between and value["class"] == "BETWEEN"):
                raise RuleError(expr, "is nested too deeply")
            in_between = in_between or value["class"] == "BETWEEN"
        items = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
        waiting += [(item, depth, in_between) for item in items]


def nodes(tree: Any) -> Iterator[Node]:
    """Every expression in a tree, whatever field holds it."""
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            if "class" in value:
                yield value
            waiting += value.values()


def _plain(value: Any) -> Any:
    """A tree without the places its parts have in the text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in _LOCATION}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def try_on(expr: str, tree: Node, rows: str) -> None:
    """Let DuckDB bind a rule and evaluate it on `rows`, so that ``mae < 'high'`` fails here and not in the gate.

    Each comparison is evaluated by itself too, since AND and OR leave out what does not matter on a row.
    """
    import duckdb

    parts = [tree, *(node for node in nodes(tree) if node["type"].startswith("COMPARE_"))]
    statement = {"node": {**_no_clauses(), "select_list": parts}, "named_param_map": []}
    document = json.dumps({"error": False, "statements": [statement]})
    try:
        sql = _cursor().execute("SELECT json_deserialize_sql($1::JSON)", [document]).fetchone()
        assert sql is not None
        _cursor().execute(f"{sql[0]} FROM {rows}").fetchall()
    except duckdb.Error as exc:
        raise RuleError(expr, _first_line(exc)) from None


def _refuse_comments(expr: str) -> None:
    import duckdb

    tokens: Any = duckdb.tokenize(expr)
    for position, kind in tokens:
        if kind == duckdb.token_type.comment or expr.startswith(("--", "/*", ";"), position):
            raise RuleError(expr, "comments and ';' are not allowed")


def _cursor() -> DuckDBPyConnection:
    return _connection(os.getpid()).cursor()  # a connection serves one thread at a time, its cursors one each


@cache
def _connection(process: int) -> DuckDBPyConnection:
    """A database of this process alone (a forked one opens its own), with no thread, file or extension."""
    import duckdb

    return duckdb.connect(
        ":memory:",
        config={
            "threads": 1,
            "enable_external_access": "false",
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "lock_configuration": "true",
        },
    )


def _short(rule: str) -> str:
    return repr(rule if len(rule) <= 120 else rule[:117] + "...")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
