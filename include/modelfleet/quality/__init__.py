"""Quality: a Great Expectations suite built from a fleet's spec, judged on the prepared rows of a run.

`checks` is pure and cheap; `validate_against_gx` and `judge` import Great Expectations (some seconds), and only when
there is something to check.
"""

from modelfleet.quality.checks import Check, checks
from modelfleet.quality.judging import judge, validate_against_gx
from modelfleet.quality.result import CheckResult, Example, QualityResult

__all__ = ["Check", "CheckResult", "Example", "QualityResult", "checks", "judge", "validate_against_gx"]
