"""Rules as SQL that fails closed: checked again, rebuilt from their trees, for a database that reaches nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from modelfleet import rules
from modelfleet.errors import DataError, Failure, SpecError, bounded

ROWS, FLEET = "__mf_rows", "__mf_fleet"  # the relations rules are evaluated on
_VALUE_LIMIT, _VALUES_SHOWN = 40, 8


@dataclass(frozen=True)
class Rule:
    """A checked rule: its text, the SQL that is TRUE, FALSE or NULL, and the SQL of the values it read."""

    text: str
    sql: str
    values: str

    @property
    def why(self) -> str:
        """SQL of why the rule does not pass: ``mae < 9 is false: mae=12.3``."""
        outcome = f"CASE WHEN {self.sql} IS NULL THEN ' is NULL' ELSE ' is false' END"
        return f"{quoted(shortened(self.text, 200))} || {outcome} || {self.values}"


@dataclass(frozen=True)
class Scope:
    """The names a rule may use, and the relation that holds them."""

    relation: str
    names: rules.Names


def connect() -> duckdb.DuckDBPyConnection:
    """A database that reaches nothing: no files, no network, no extensions, and no way to change that."""
    con = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "temp_directory": "",
            "threads": 1,
        },
    )
    # By a lambda: a CASE would hold x twice, and nested in itself double with every operator of a rule.
    finite = "list_transform([x], lambda __mf_x: CASE WHEN isfinite(__mf_x) THEN __mf_x END)[1]"
    con.execute(f"CREATE MACRO __mf_finite(x) AS {finite}")
    con.execute("SET lock_configuration = true")
    return con


def row_scope(metrics: Sequence[str], key_columns: Sequence[str]) -> Scope:
    """What rules of `Gate.each` may name.

    :raises DataError: if names clash in SQL, which ignores their case.
    """
    names = rules.Names(tuple(metrics), rules.MODEL_COUNTS, tuple(key_columns), rules.COMPARED)
    flat = [*metrics, *rules.MODEL_COUNTS, *key_columns, *rules.COMPARED]
    for space in (flat, [*metrics, rules.STATUS]):
        seen = Counter(n.lower() for n in space)
        clashing = sorted({n for n in space if seen[n.lower()] > 1 or n.lower().startswith("__mf_")})
        if clashing:
            raise DataError(
                f"metrics and key columns clash in rules, where names ignore case: {bounded(map(repr, clashing))}",
                hint="rename the metric or the key column",
            )
    return Scope(ROWS, names)


def fleet_scope(metrics: Sequence[str]) -> Scope:
    """What rules of `Gate.fleet` may name."""
    medians = tuple(f"median_{prefix}{m}" for prefix in ("", "baseline_") for m in metrics)
    return Scope(FLEET, rules.Names((*rules.FLEET_SHARES, *medians), rules.FLEET_COUNTS))


def compile_rules(con: duckdb.DuckDBPyConnection, field: str, texts: Sequence[str], scope: Scope) -> tuple[Rule, ...]:
    """The rules of one field of the spec, in order; the relation of `scope` exists.

    :raises SpecError: for a rule that is not one boolean expression over the scope's names.
    """
    compiled = []
    for i, text in enumerate(texts):
        try:
            compiled.append(_compile(con, text, scope))
        except (ValueError, RecursionError, duckdb.Error) as exc:
            found = Failure(f"{field}[{i}]", repr(shortened(text, 200)), shortened(str(exc) or type(exc).__name__, 500))
            raise SpecError([found], fleet=None, source=None, hint="nothing was promoted; correct the rule") from exc
    return tuple(compiled)


def _compile(con: duckdb.DuckDBPyConnection, text: str, scope: Scope) -> Rule:
    """Check a rule again (the spec did when it was parsed) and rebuild its SQL from its tree, floats kept finite."""
    rules.check_rule(text, scope.names)
    tree = _tree(con, text)
    sql = f"TRY({_sql(con, _kept_finite(con, tree, scope))})"
    kind = _type(con, sql, scope)
    if kind != "BOOLEAN":
        raise ValueError(f"it is of type {kind}, not BOOLEAN")
    return Rule(text, sql, _values_sql(_references(tree), scope.names))


def _references(tree: Any) -> list[tuple[str, ...]]:
    """The lower-case paths of the names a rule reads, in the order of the text, each once."""
    if isinstance(tree, dict) and tree.get("class") == "COLUMN_REF":
        return [tuple(part.lower() for part in tree["column_names"])]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return list(dict.fromkeys(path for part in parts for path in _references(part)))


def _kept_finite(con: duckdb.DuckDBPyConnection, tree: Any, scope: Scope) -> Any:
    """The tree with every function, operator and cast that gives a float wrapped: NaN and infinity become NULL."""
    if isinstance(tree, list):
        return [_kept_finite(con, part, scope) for part in tree]
    if not isinstance(tree, dict):
        return tree
    node = {name: _kept_finite(con, part, scope) for name, part in tree.items()}
    if node.get("class") not in ("FUNCTION", "CAST") or _type(con, _sql(con, node), scope) not in ("DOUBLE", "FLOAT"):
        return node
    wrapper = _tree(con, "__mf_finite(0)")
    wrapper["arguments"] = [{"name": "", "expression": node}]
    return wrapper


def _tree(con: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    """The tree of one expression; `rules.check_rule` made sure that it is one."""
    document = json.loads(one(con, "SELECT json_serialize_sql(?::VARCHAR)", f"SELECT {text}"))
    return dict(document["statements"][0]["node"]["select_list"][0])


def _sql(con: duckdb.DuckDBPyConnection, tree: dict[str, Any]) -> str:
    document = json.loads(one(con, "SELECT json_serialize_sql('SELECT 1')"))
    document["statements"][0]["node"]["select_list"] = [tree]
    return str(one(con, "SELECT json_deserialize_sql(?::JSON)", json.dumps(document))).removeprefix("SELECT ")


def _type(con: duckdb.DuckDBPyConnection, sql: str, scope: Scope) -> str:
    return str(con.execute(f"DESCRIBE SELECT {sql} AS __mf_value FROM {scope.relation}").fetchall()[0][1])


def _values_sql(references: Sequence[tuple[str, ...]], names: rules.Names) -> str:
    """SQL of the values a rule reads: ``: mae=12.3, baseline.mae is missing``; at most a few of them, each bounded."""
    shown = []
    for path in references[:_VALUES_SHOWN]:
        label = names.flat[path[0]] if len(path) == 1 else names.dotted[path[0], ".".join(path[1:])]
        sql = ".".join(map(identifier, path))
        is_metric = path[-1] in {m.lower() for m in names.metrics}
        text = f"format('{{:.8g}}', {sql})" if is_metric else f"left(CAST({sql} AS VARCHAR), {_VALUE_LIMIT})"
        shown.append(f"coalesce({quoted(label + '=')} || {text}, {quoted(label + ' is missing')})")
    if len(references) > _VALUES_SHOWN:
        shown.append(quoted(f"and {len(references) - _VALUES_SHOWN} more"))
    return f"': ' || concat_ws(', ', {', '.join(shown)})" if shown else "''"


def one(con: duckdb.DuckDBPyConnection, query: str, *parameters: object) -> Any:
    """The one value a query gives."""
    return con.execute(query, list(parameters)).fetchall()[0][0]


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
