"""What one model may use: the field ``training.per_model``, and the limits that follow from it."""

from __future__ import annotations

from typing import Any

import pytest
from spec_cases import fleet

from modelfleet import FleetSpec, Limits
from modelfleet.errors import SpecError
from modelfleet.guard import Limits as Guarded


def test_a_fleet_that_says_nothing_has_limits() -> None:
    assert fleet().training.per_model == Limits(seconds=300, memory="2g")


@pytest.mark.parametrize("given", [{"seconds": 60, "memory": "512m"}, {"seconds": None}, {"memory": None}, None])
def test_limits_survive_being_written_out(given: dict[str, Any] | None) -> None:
    spec = fleet(training={"per_model": given})
    again = FleetSpec.model_validate(spec.content())
    assert again.training.per_model == (None if given is None else Limits(**given))
    assert again.digest == spec.digest


LIMITS = [
    (Limits(), False, Guarded(300, 2 << 30)),
    (Limits(seconds=0.5, memory="512m"), False, Guarded(0.5, 512 << 20)),
    (Limits(seconds=10, memory="1g"), True, Guarded(120, 4 << 30)),
    (Limits(seconds=None, memory=None), True, Guarded(None, None)),
    (None, False, Guarded(None, None)),
]


@pytest.mark.parametrize("given, many, expected", LIMITS)
def test_limits_of_a_spec_become_seconds_and_bytes(given: Limits | None, many: bool, expected: Guarded) -> None:
    assert Guarded.of(given, many=many) == expected


MEMORY = "allowed: megabytes or gigabytes, such as '512m' or '2g'"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"seconds": 0}, "per_model.seconds: got 0; should be greater than 0"),
    ({"seconds": -1.5}, "per_model.seconds: got -1.5; should be greater than 0"),
    ({"seconds": float("inf")}, "per_model.seconds: got inf; should be a finite number"),
    ({"seconds": "a minute"}, "per_model.seconds: got 'a minute'; should be a valid number"),
    ({"memory": "0m"}, f"per_model.memory: got '0m'; {MEMORY}"),
    ({"memory": "2GB"}, f"per_model.memory: got '2GB'; {MEMORY}"),
    ({"memory": "1.5g"}, f"per_model.memory: got '1.5g'; {MEMORY}"),
    ({"memory": "-1g"}, f"per_model.memory: got '-1g'; {MEMORY}"),
    ({"memory": 2}, "per_model.memory: got 2; should be a valid string"),
    ({"second": 2}, "per_model.second: got 2; no such field; .*\nHint: did you mean 'seconds'"),
]


@pytest.mark.parametrize("given, message", WRONG)
def test_limits_that_are_none_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"training.{message}"):
        fleet(training={"per_model": given})
