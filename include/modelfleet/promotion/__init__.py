"""The promotion gate: rules -> decisions, and the rows that serve then. Pure, no I/O.

`gate` decides, `rows` lays out what rules see, `expression` checks rules and turns them into SQL that fails closed;
`serving` puts together what was promoted and what was kept.
"""

from modelfleet.promotion.gate import DECISIONS, GateResult, decide
from modelfleet.promotion.rows import columns_read

__all__ = ["DECISIONS", "GateResult", "columns_read", "decide"]
