"""The master that a session is started with."""

from __future__ import annotations

import pytest

from modelfleet.engine import _with_tries


@pytest.mark.parametrize(
    "given, taken",
    [
        ("local", "local[1,4]"),
        ("local[*]", "local[*,4]"),
        ("local[2]", "local[2,4]"),
        ("local[2,1]", "local[2,1]"),
        ("local-cluster[2,1,1024]", "local-cluster[2,1,1024]"),
    ],
)
def test_local_master_starts_a_task_again_unless_it_says_how_often(given: str, taken: str) -> None:
    assert _with_tries(given) == taken
