"""What rules may name: the metrics of a model and of what it is compared with, or the totals of a fleet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from modelfleet import metric_names

STATUS = "status"
COMPARED = ("baseline", "champion", "fallback")
MODEL_COUNTS = ("n_train", "n_test", "n_rows")
FLEET_COUNTS = ("expected", "trained", "skipped", "failed", "promoted", "kept", "rejected")
FLEET_SHARES = ("promoted_share", "trained_share")

_NUMBER, _TEXT = "CASE WHEN __given THEN 1.0::DOUBLE END", "CASE WHEN __given THEN 'compared' END"


@dataclass(frozen=True)
class Names:
    """Flat number columns, the structs ``baseline``, ``champion`` and ``fallback``, and key columns of any type."""

    metrics: tuple[str, ...]
    counts: tuple[str, ...]
    keys: tuple[str, ...] = ()
    structs: tuple[str, ...] = ()
    """Structs with one field per metric and the text `status`."""

    @cached_property
    def flat(self) -> Mapping[str, str]:
        """Every flat name by its lower-case form, as SQL names do not tell case apart."""
        return {name.lower(): name for name in (*self.metrics, *self.counts, *self.keys)}

    @cached_property
    def dotted(self) -> Mapping[tuple[str, str], str]:
        fields = (*self.metrics, STATUS)
        return {(struct, name.lower()): f"{struct}.{name}" for struct in self.structs for name in fields}

    @cached_property
    def allowed(self) -> tuple[str, ...]:
        """All names as an author writes them."""
        return (*self.flat.values(), *self.dotted.values())

    def two_rows(self, used: Collection[str]) -> str:
        """A subquery of two rows, one with a value of the right type under every name used and one of nulls.

        Key columns may have any type, so they are null in both.
        """
        columns = ["__given"]
        for name in self.flat.values():
            if name in used:
                columns.append(f"{'NULL' if name in self.keys else _NUMBER} AS {_quoted(name)}")
        for struct in self.structs:
            names = [name for name in (*self.metrics, STATUS) if f"{struct}.{name}" in used]
            fields = [f"{_quoted(name)}: {_TEXT if name == STATUS else _NUMBER}" for name in names]
            columns += [f"{{{', '.join(fields)}}} AS {struct}"] if fields else []
        return f"(SELECT {', '.join(columns)} FROM (VALUES (true), (false)) AS rows(__given))"


def each_names(problem: str, own_metrics: Sequence[str] = (), key_columns: Sequence[str] = ()) -> Names:
    """Names for rules about one model: its metrics and counts, the baseline's, champion's and fallback's, and its key columns.

    :param problem: the kind: regression, classification or forecast.
    """
    return Names(metrics_of(problem, own_metrics), MODEL_COUNTS, tuple(key_columns), COMPARED)


def fleet_names(problem: str, own_metrics: Sequence[str] = ()) -> Names:
    """Names for rules about a fleet: how many models of each outcome, shares, and median metrics."""
    metrics = metrics_of(problem, own_metrics)
    medians = (*(f"median_{name}" for name in metrics), *(f"median_baseline_{name}" for name in metrics))
    return Names((*FLEET_SHARES, *medians), FLEET_COUNTS)


def metrics_of(problem: str, own_metrics: Sequence[str] = ()) -> tuple[str, ...]:
    """The built-in metrics of a problem kind, then the author's own."""
    return (*metric_names.names(problem), *own_metrics)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
