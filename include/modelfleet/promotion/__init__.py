"""The promotion gate: rules -> decisions. Pure, no I/O.

`gate` decides, `rows` lays out what rules see, `expression` checks rules and turns them into SQL that fails closed.
"""

from modelfleet.promotion.gate import DECISIONS, GateResult, decide

__all__ = ["DECISIONS", "GateResult", "decide"]
