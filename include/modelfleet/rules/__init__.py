"""The language of gate rules: one SQL boolean expression over the metrics of a model, or over totals of a fleet.

A rule is parsed by DuckDB and its tree is allow-listed: comparisons, AND, OR, NOT, IS [NOT] NULL, IN, BETWEEN, LIKE,
CASE, ``+ - * / %``, numbers, texts, and the functions of `FUNCTIONS`. All else is refused when the spec is parsed:
subqueries, tables, aggregates, windows, casts, comments, settings, random numbers. Two kinds of function are left out
on purpose: those that fail on some numbers (ln, sqrt), for one row would stop the gate of all, and those that skip NULL
(least, greatest), for a missing metric must never pass a rule.
"""

from modelfleet.rules.language import FUNCTIONS, Rule, check_rule, parse_rule
from modelfleet.rules.names import (
    COMPARED,
    FLEET_COUNTS,
    FLEET_SHARES,
    MODEL_COUNTS,
    STATUS,
    Names,
    each_names,
    fleet_names,
    metrics_of,
)
from modelfleet.rules.tree import MAX_LENGTH, RuleError

__all__ = [
    "COMPARED",
    "FLEET_COUNTS",
    "FLEET_SHARES",
    "FUNCTIONS",
    "MAX_LENGTH",
    "MODEL_COUNTS",
    "STATUS",
    "Names",
    "Rule",
    "RuleError",
    "check_rule",
    "each_names",
    "fleet_names",
    "metrics_of",
    "parse_rule",
]
