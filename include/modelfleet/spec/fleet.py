"""`FleetSpec`: all the platform knows of a fleet, written by its author in Python or YAML, checked when parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from modelfleet.spec import crosscheck
from modelfleet.spec.base import Findings, Part, writer, written_in
from modelfleet.spec.data import Data, SqlTable, Zone, check_code
from modelfleet.spec.features import AnyFeatures, Features
from modelfleet.spec.gate import Gate
from modelfleet.spec.problem import Forecast, Problem
from modelfleet.spec.quality import Quality
from modelfleet.spec.schedule import Schedule
from modelfleet.spec.training import Candidate, Learner, Training
from modelfleet.spec.treatments import Treatment
from modelfleet.spec.values import Columns, Sorted, Text, Values, refuse
from modelfleet.spec.yamlfile import read_yaml

_SELECT_BY = {"regression": "mae", "classification": "log_loss", "forecast": "wape"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError("a lower-case letter, then lower-case letters, digits and '_'; at most 63 characters")


def _check_keys(columns: tuple[str, ...]) -> None:
    if not columns:
        raise ValueError("at least one key column: each combination of their values gets its own model")


class Access(Part):
    """Who may read and write the fleet's folders in the lake. Not built yet."""

    readers: Columns = ()
    """Users or groups."""
    writers: Columns = ()
    """Users or groups."""


class Compute(Part):
    """How much of the cluster the fleet's Spark jobs get. Not built yet."""

    size: Literal["small", "medium", "large"] = "small"
    """The size of an executor."""
    max_executors: int | None = None
    """At most so many at once."""


class FleetSpec(Part):
    """All the models of one problem: one model for each partition of the data.

    :raises SpecError: with every failure: the file, the field, what came and what is allowed.
    """

    name: Annotated[str, refuse(_check_name)]
    """Names the DAGs (``<name>_train``), folders, tables and the registered model; unique among all fleets."""
    owner: Text
    """Who answers for it: shown in Airflow and named in incidents."""
    data: Data
    """The tables."""
    partition_by: Annotated[Columns, refuse(_check_keys)]
    """The key columns, in the order of the canonical key: strings, ints, bools or dates."""
    problem: Problem
    """What is predicted."""
    features: AnyFeatures = ()
    """The columns models see, in this order; or a Features, which derives them. A Forecast may do without."""
    model: Annotated[str | None, refuse(check_code)] = None
    """The dotted path ``package.module:build`` of a callable that returns a scikit-learn compatible estimator."""
    params: Values = Field(default_factory=dict)
    """Arguments of that callable; lists arrive as tuples."""
    candidates: tuple[Candidate, ...] = ()
    """Instead of `model`: algorithms that compete inside each partition, the simplest first."""
    treatments: tuple[Treatment, ...] = ()
    """What is done to the prepared rows, in this order: Drop, Clip, Fill, Dedupe."""
    training: Training = Training()
    """Windows, holdout, the rows a model needs."""
    quality: Quality = Quality()
    """Checks of the rows, before training and before scoring."""
    gate: Gate = Gate()
    """Rules of promotion."""
    schedule: Schedule = Schedule()
    """When it runs; without one, by hand."""
    outputs: tuple[SqlTable, ...] = ()
    """Tables predictions are also written to. Not built yet."""
    access: Access | None = None
    """Who may read and write. Not built yet."""
    compute: Compute | None = None
    """Cluster resources. Not built yet."""
    timezone: Zone = "UTC"
    """The zone of its days, intervals and schedules."""
    tags: Sorted[str] = Field(default_factory=dict)
    """Written on runs, versions and DAGs; `find` searches them."""
    description: str = ""
    """A sentence for people, shown in Airflow."""
    id_columns: Columns = ()
    """Columns that identify a row, carried into the predictions."""

    _source: str | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        self._source = writer()

    @model_validator(mode="after")
    def _cross_check(self) -> Self:
        failures, hints = crosscheck.findings(self)
        if failures:
            raise Findings(failures, hints)
        return self

    @property
    def source(self) -> str | None:
        """The file that wrote the spec; no part of its content or digest."""
        return self._source

    @property
    def time_column(self) -> str:
        """The time column of the prepared rows."""
        return (self.problem.time if isinstance(self.problem, Forecast) else None) or self.data.time

    @property
    def declared(self) -> Features:
        """The features in one form: plain names are columns whose values are known for the rows to predict."""
        return self.features if isinstance(self.features, Features) else Features(known_ahead=self.features)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that features are made of, the target aside."""
        weight = (self.training.weight,) if self.training.weight else ()
        named = (*self.declared.columns, *weight)
        return tuple(dict.fromkeys(name for name in named if name != self.problem.target))

    @property
    def learners(self) -> tuple[Learner, ...]:
        """What competes in each partition, in the order of the spec; `model` alone, where there are no candidates."""
        candidates = self.candidates or (Candidate(str(self.model), params=dict(self.params)),)
        return tuple(learner for candidate in candidates for learner in candidate.learners)

    @property
    def select_by(self) -> str:
        """The metric that picks a partition's candidate."""
        return self.training.select_by or _SELECT_BY[self.problem.kind]

    @property
    def levels(self) -> tuple[str, ...]:
        """The coarser levels a partition falls back on: key columns, ``fleet``."""
        return tuple(level for level in self.training.fallback if level != "baseline")

    def to_json(self) -> str:
        """Every field, as an attempt's ``spec.json`` holds it."""
        return json.dumps(self.content(), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str | None = None) -> Self:
        """The spec that `to_json` wrote. :param source: the file to name in errors."""
        with written_in(source or "spec.json"):
            spec = cls.model_validate(json.loads(text))
            spec._source = source
            return spec

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The spec in a YAML file; a relative path is looked for beside the calling file, then where one works."""
        given = Path(path)
        caller = writer()
        beside = Path(caller).parent / given if caller else given
        file = str(beside if beside.exists() else given.absolute())
        with written_in(file):
            content: Mapping[str, Any] = read_yaml(file)
            return cls.model_validate(content)
