"""The language: which nodes of a tree are allowed, and that the whole is true or false."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from modelfleet.errors import bounded
from modelfleet.rules.names import STATUS, Names
from modelfleet.rules.tree import Node, RuleError, nodes, tree_of, try_on

FUNCTIONS = ("abs", "round", "floor", "ceil", "coalesce", "nullif", "isfinite", "lower", "upper")
_LIKE = ("~~", "!~~", "~~*", "!~~*")
_OPERATORS = ("+", "-", "*", "/", "%", *_LIKE)
_COMPARISONS = frozenset(
    f"COMPARE_{name}"
    for name in (
        *("EQUAL", "NOTEQUAL", "LESSTHAN", "GREATERTHAN", "LESSTHANOREQUALTO", "GREATERTHANOREQUALTO"),
        *("DISTINCT_FROM", "NOT_DISTINCT_FROM", "BETWEEN", "NOT_BETWEEN", "IN", "NOT_IN"),
    )
)
_LOGIC = frozenset(("CONJUNCTION_AND", "CONJUNCTION_OR", "OPERATOR_NOT"))
_BOOLEAN = _COMPARISONS | _LOGIC | {"OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"}
_LITERALS = ("INTEGER", "NUMERIC", "STRING", "BOOLEAN", "NULL_LITERAL")
_NODES = _BOOLEAN | {
    "COLUMN_REF",
    "VALUE_CONSTANT",
    "FUNCTION",
    "CASE_EXPR",
    "OPERATOR_COALESCE",
    "OPERATOR_CAST",
    "TYPE",
}
_ALLOWED_FORM = f"comparisons, AND, OR, NOT, IS NULL, IN, BETWEEN, LIKE, CASE, + - * / % and {', '.join(FUNCTIONS)}"


@dataclass(frozen=True)
class Rule:
    """A rule that is in the language, and the names it uses."""

    text: str
    names: tuple[str, ...]


def check_rule(expr: str, allowed: Names) -> None:
    """Refuse a rule that is not one boolean expression over `allowed` names.

    :raises RuleError: a ValueError that says the rule and what is wrong with it.
    """
    parse_rule(expr, allowed)


def parse_rule(expr: str, allowed: Names | None = None) -> Rule:
    """The rule in a text. Without `allowed` only its form is checked, not its names and their types.

    :raises RuleError: where it is not one boolean expression of the language.
    """
    tree = tree_of(expr)
    found = [_check_node(expr, node, allowed) for node in nodes(tree)]
    names = tuple(dict.fromkeys(name for name in found if name is not None))
    if not _is_boolean(tree, allowed) or _is_bare_column(tree):
        raise RuleError(expr, "the whole is not true or false", hint="compare it with something, such as 'mae <= 10'")
    _check_logic(expr, tree, allowed)
    if allowed is not None:
        try_on(expr, tree, allowed.two_rows(names))
    return Rule(expr, names)


def _check_node(expr: str, node: Node, allowed: Names | None) -> str | None:
    """Refuse a node that is not allowed; return the name it stands for, if it is one."""
    kind = node["type"]
    if kind not in _NODES:
        raise RuleError(expr, f"{_kind_name(node)} is not allowed; allowed are {_ALLOWED_FORM}")
    if kind == "COLUMN_REF":
        return _check_name(expr, node["column_names"], allowed)
    if kind == "FUNCTION":
        _check_function(expr, node)
    elif kind == "VALUE_CONSTANT" and node["literal"]["kind"] not in _LITERALS:
        raise RuleError(expr, f"a literal of kind {node['literal']['kind']} is not allowed")
    elif kind == "OPERATOR_CAST":
        _check_cast(expr, node, allowed)
    return None


def _check_name(expr: str, parts: Sequence[str], allowed: Names | None) -> str:
    written = ".".join(parts)
    if allowed is None:
        return written
    lowered = tuple(part.lower() for part in parts)
    name = allowed.flat.get(lowered[0]) if len(parts) == 1 else allowed.dotted.get((lowered[0], ".".join(lowered[1:])))
    if name is not None:
        return name
    near = difflib.get_close_matches(".".join(lowered), [n.lower() for n in allowed.allowed], n=1)
    hint = f"did you mean {near[0]!r}?" if near else None
    if lowered[0] in allowed.structs and len(parts) == 1:
        hint = f"write {lowered[0]}.{STATUS}, or {lowered[0]}.<metric>"
    if written.upper() in ("INFINITY", "NAN"):
        hint = "NaN and infinity are NULL in rules; write '... IS NOT NULL'"
    raise RuleError(expr, f"unknown name {written!r}; allowed: {bounded(allowed.allowed, limit=24)}", hint=hint)


def _check_function(expr: str, node: Node) -> None:
    name = node["function_name"].lower()
    if name not in (_OPERATORS if node["is_operator"] else FUNCTIONS):
        hint = (
            "it skips NULL, so a missing metric would pass; write AND or OR" if name in ("least", "greatest") else None
        )
        raise RuleError(expr, f"{node['function_name']!r} is not allowed; allowed are {_ALLOWED_FORM}", hint=hint)
    extras = (node["schema"], node["catalog"], node["distinct"], node["filter"], node["order_bys"]["orders"])
    if any(extras) or len(node["qualified_name"]["path"]) != 1 or any(arg["name"] for arg in node["arguments"]):
        raise RuleError(expr, f"{name!r} takes plain arguments only")


def _check_cast(expr: str, node: Node, allowed: Names | None) -> None:
    """Casts come from ``IS TRUE`` (to BOOLEAN) and ``DATE '2013-01-01'``; others may fail on some row."""
    target = node["type_expr"].get("type_name", "").upper()
    child = node["child"]
    of_truth = target == "BOOLEAN" and _is_boolean(child, allowed)
    of_date = target == "DATE" and child["type"] == "VALUE_CONSTANT" and child["literal"]["kind"] == "STRING"
    if node["try_cast"] or not (of_truth or of_date):
        raise RuleError(expr, "a cast is not allowed")


def _is_boolean(node: Node, allowed: Names | None) -> bool:
    """Whether an expression is true or false by its form; a key column may hold booleans."""
    kind = node["type"]
    if kind == "VALUE_CONSTANT":
        return bool(node["literal"]["kind"] == "BOOLEAN")
    if kind == "COLUMN_REF":
        return allowed is None or (
            len(node["column_names"]) == 1 and node["column_names"][0].lower() in _lower(allowed.keys)
        )
    if kind == "FUNCTION":
        return node["function_name"] in (*_LIKE, "isfinite")
    if kind == "CASE_EXPR":
        branches = [*(check["then_expr"] for check in node["case_checks"]), node["else_expr"]]
        return all(_is_boolean(branch, allowed) or _is_null(branch) for branch in branches)
    if kind == "OPERATOR_COALESCE":
        return all(_is_boolean(child, allowed) for child in node["children"])
    return kind in _BOOLEAN


def _check_logic(expr: str, tree: Node, allowed: Names | None) -> None:
    """AND, OR and NOT take truths only: DuckDB would read a number other than 0 as true."""
    for node in nodes(tree):
        if node["type"] in _LOGIC and not all(_is_boolean(child, allowed) for child in node["children"]):
            raise RuleError(expr, "AND, OR and NOT take parts that are true or false, not numbers or texts")


def _is_null(node: Node | None) -> bool:
    return node is None or (node["type"] == "VALUE_CONSTANT" and node["literal"]["kind"] == "NULL_LITERAL")


def _is_bare_column(node: Node) -> bool:
    return bool(node["type"] == "COLUMN_REF")


def _kind_name(node: Node) -> str:
    return str(node["type"]).removeprefix("OPERATOR_").removeprefix("VALUE_").replace("_", " ").lower()


def _lower(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)
