"""When the pipelines of a fleet run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import AfterValidator, Discriminator, Field, Tag

from modelfleet.interval import duration, five_fields
from modelfleet.spec.base import Part
from modelfleet.spec.data import Duration
from modelfleet.spec.values import Text, in_key_order, refuse

DEADLINE = "12h"
Pipeline = Literal["ingest", "train", "promote", "score"]
Cron = Annotated[str, refuse(five_fields)]


class Daily(Part):
    """At midnight, and when the data is there: ``Daily(when_ready="flights")``."""

    every: Literal["day"] = "day"
    """Tells schedules apart in YAML."""
    when_ready: Text | None = None
    """A table of `data`: the run waits until its ingests cover the interval."""

    @property
    def cron(self) -> str:
        return "0 0 * * *"


class Weekly(Part):
    """At midnight of one weekday: ``Weekly(weekday=1, when_ready="flights")``."""

    every: Literal["week"] = "week"
    """Tells schedules apart in YAML."""
    weekday: Annotated[int, Field(ge=0, le=6)] = 1
    """0 is Sunday, 1 Monday, as in cron."""
    when_ready: Text | None = None
    """A table of `data`: the run waits until its ingests cover the interval."""

    @property
    def cron(self) -> str:
        return f"0 0 * * {self.weekday}"


class Monthly(Part):
    """At midnight of one day of the month: ``Monthly(when_ready="flights")``."""

    every: Literal["month"] = "month"
    """Tells schedules apart in YAML."""
    day: Annotated[int, Field(ge=1, le=28)] = 1
    """The day of the month, 1 to 28."""
    when_ready: Text | None = None
    """A table of `data`: the run waits until its ingests cover the interval."""

    @property
    def cron(self) -> str:
        return f"0 0 {self.day} * *"


def _kind_of_schedule(value: Any) -> str | None:
    if isinstance(value, str):
        return "<cron>"
    every = value.get("every") if isinstance(value, Mapping) else getattr(value, "every", None)
    return f"<{every}>" if every in ("day", "week", "month") else None


Timed = Annotated[
    Annotated[Cron, Tag("<cron>")]
    | Annotated[Daily, Tag("<day>")]
    | Annotated[Weekly, Tag("<week>")]
    | Annotated[Monthly, Tag("<month>")],
    Discriminator(
        _kind_of_schedule,
        custom_error_type="schedule",
        custom_error_message="allowed: a cron expression, or Daily, Weekly, Monthly; in YAML every: day, week, month",
    ),
]


Deadline = Annotated[
    Annotated[Duration, Tag("<one>")]
    | Annotated[dict[Pipeline, Duration], AfterValidator(in_key_order), Tag("<each>")],
    Discriminator(lambda value: "<each>" if isinstance(value, Mapping) else "<one>"),
]


class Schedule(Part):
    """The clock of each pipeline, in the fleet's timezone. What has none is started by hand."""

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            ingest: str | None = None,
            train: str | Daily | Weekly | Monthly | None = None,
            score: Literal["after ingest"] | None = "after ingest",
            deadline: str | Mapping[str, str] = DEADLINE,
        ) -> None: ...

    ingest: Cron | None = None
    """A cron expression or @hourly, @daily, @weekly, @monthly; at most once an hour."""
    train: Timed | None = None
    """The same, or Daily, Weekly or Monthly, which can wait for the data."""
    score: Literal["after ingest"] | None = "after ingest"
    """Whether each ingested interval is scored. Promotion always follows training."""
    deadline: Deadline = DEADLINE
    """How long after its start a run counts as late: one duration, or some by pipeline name."""

    @property
    def ingest_cron(self) -> str | None:
        """The five fields of ingest's cron expression, if it has a clock."""
        return None if self.ingest is None else five_fields(self.ingest)

    @property
    def train_cron(self) -> str | None:
        """The five fields of training's cron expression, if it has a clock."""
        given = self.train
        return None if given is None else five_fields(given if isinstance(given, str) else given.cron)

    @property
    def when_ready(self) -> str | None:
        """The table whose ingests training waits for."""
        return None if self.train is None or isinstance(self.train, str) else self.train.when_ready

    def deadline_of(self, pipeline: str) -> timedelta:
        """How long after its start a run of this pipeline counts as late."""
        if isinstance(self.deadline, str):
            return duration(self.deadline)
        return duration(self.deadline.get(cast(Pipeline, pipeline), DEADLINE))
