"""What is said of partitions, told once for all of whom it is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

Said = dict[str, tuple[int, str]]
"""Messages about partitions: of how many each was said, and the first of them."""


def messages(outcomes: pa.Table, limit: int = 50) -> Said:
    """What was said of a bucket's partitions, each message once; at most `limit` messages."""
    import pyarrow.compute as pc

    said: Said = {}
    told = outcomes.filter(pc.is_valid(outcomes.column("message")))
    for partition, message in zip(
        told.column("partition").to_pylist(), told.column("message").to_pylist(), strict=True
    ):
        if message and (message in said or len(said) < limit):
            count, first = said.get(message, (0, partition))
            said[message] = count + 1, min(first, partition)
    return said


def together(said: Sequence[Said], limit: int = 10) -> list[str]:
    """The messages of all buckets, the most frequent first: how many partitions, one of them by name, what."""
    joined: Said = {}
    for bucket in said:
        for message, (more, other) in bucket.items():
            count, first = joined.get(message, (0, other))
            joined[message] = count + more, min(first, other)
    ranked = sorted(joined.items(), key=lambda item: (-item[1][0], item[0]))[:limit]
    return [
        f"{first}: {message}" if count == 1 else f"{count} partitions, such as {first}: {message}"
        for message, (count, first) in ranked
    ]
