"""What the demo shows while it waits: a table that is drawn again on a terminal, a line per change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType

from chain import BULK, DAYS, FLEETS, Goal
from rich.console import Console
from rich.live import Live
from rich.table import Table

from modelfleet.plan import PIPELINES

COLOURS = {"done": "green", "failed": "red", "waiting": "dim"}


class Progress:
    """The state of each goal, by name: waiting, queued, the task that runs, done, failed."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()
        self._shown: dict[Goal, str] = {}
        self._stack = ExitStack()
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self._live = self._stack.enter_context(Live(console=self.console, transient=True, auto_refresh=False))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(f"[dim]{time.monotonic() - self._began:5.0f} s[/]  {text}", highlight=False)

    def show(self, states: Mapping[Goal, str]) -> None:
        """Show the states; without a terminal only what changed."""
        if self._live is not None:
            self._live.update(_table(states, time.monotonic() - self._began), refresh=True)
            return
        for goal, state in states.items():
            if state not in ("waiting", self._shown.get(goal)):
                self.say(f"{goal.fleet} {goal.pipeline} {goal.interval}: {state}")
        self._shown = dict(states)


def _table(states: Mapping[Goal, str], seconds: float) -> Table:
    table = Table(title=f"{seconds:.0f} s", title_justify="left")
    for column in ("fleet", "interval", *PIPELINES):
        table.add_column(column, min_width=9)
    for fleet in FLEETS:
        for interval in (BULK, *DAYS):
            cells = [states.get(Goal(fleet, pipeline, interval), "") for pipeline in PIPELINES]
            table.add_row(fleet, interval, *(_coloured(cell) for cell in cells))
    return table


def _coloured(state: str) -> str:
    return f"[{COLOURS.get(state, 'yellow')}]{state}[/]" if state else ""
