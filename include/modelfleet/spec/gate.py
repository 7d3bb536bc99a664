"""Which challengers become champions."""

from __future__ import annotations

from typing import Annotated, Literal

from modelfleet.rules import RuleError, parse_rule
from modelfleet.spec.base import Part
from modelfleet.spec.values import refuse


def _check_form(rule: str) -> None:
    parse_rule(rule)


RuleText = Annotated[str, refuse(_check_form)]


class Gate(Part):
    """Rules are SQL boolean expressions; a model is promoted where every rule is TRUE (see `modelfleet.rules`)."""

    each: tuple[RuleText, ...] = ()
    """About one model: its metrics (``mae``), ``baseline.mae``, ``champion.mae``, ``n_train``, ``n_test``, ``n_rows``,
    the key columns, and ``champion.status``, which is none, compared, not_comparable or failed."""
    fleet: tuple[RuleText, ...] = ()
    """About the fleet: ``expected``, ``trained``, ``skipped``, ``failed``, ``promoted``, ``kept``, ``rejected``,
    ``promoted_share`` (of the trained), ``trained_share`` (of the expected), ``median_mae``, ``median_baseline_mae``.
    One that is not TRUE promotes nothing."""
    mode: Literal["enforce", "shadow", "off"] = "enforce"
    """``enforce``: the rules decide. ``shadow``: they are recorded and hold nothing back. ``off``: none is evaluated."""
    approval: bool = False
    """Whether a person approves each promotion. Not built yet."""


__all__ = ["Gate", "RuleError"]
