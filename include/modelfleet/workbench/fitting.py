"""Fit one partition in this process, by the code that the Spark workers run, and keep what it saw on the way."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelfleet import slices
from modelfleet.errors import DataError, bounded
from modelfleet.prediction import NoModelError, Predicted
from modelfleet.spec.training import Learner
from modelfleet.training import BucketTrainer, TrainingPlan, author_code
from modelfleet.training.bucket import on_holdout

if TYPE_CHECKING:
    import pandas as pd

    from modelfleet.matrices import Bucket
    from modelfleet.modelcode import ModelCode
    from modelfleet.training.sample import Sample
    from modelfleet.training.selection import Trial
    from modelfleet.workbench.bench import Bench
    from modelfleet.workbench.text import Text

Json = dict[str, Any]


@dataclass
class Seen:
    """What a fit went through; `best` and `model` are None where no candidate won."""

    sample: Sample | None = None
    best: Trial | None = None
    model: Any = None


@dataclass
class Watched(BucketTrainer):
    """The workers' trainer, which also remembers."""

    seen: Seen = field(default_factory=Seen)

    def sample(self, bucket: Bucket, position: int) -> Sample:
        self.seen.sample = super().sample(bucket, position)
        return self.seen.sample

    def _final(self, sample: Sample, trials: Sequence[Trial]) -> tuple[Trial, Any]:
        self.seen.best, self.seen.model = super()._final(sample, trials)
        return self.seen.best, self.seen.model


@dataclass(frozen=True)
class Fit:
    """One partition fitted here.

    :ivar row: its row of the pack, as a worker would have written it; metrics, status and reason are in it.
    :ivar model: the fitted model; None without one.
    """

    bench: Bench = field(repr=False)
    key: str
    row: Json = field(repr=False)
    seen: Seen = field(repr=False)
    plan: TrainingPlan = field(repr=False)

    @property
    def status(self) -> str:
        """trained, skipped or failed."""
        return str(self.row["status"])

    @property
    def reason(self) -> str | None:
        """Why there is no model."""
        return self.row.get("reason")

    @property
    def message(self) -> str | None:
        """The same, in words."""
        return self.row.get("message")

    @property
    def candidate(self) -> str | None:
        """The candidate that won."""
        return self.row.get("candidate")

    @property
    def model(self) -> Any:
        """Of a Forecast a `ForecastModel`, whose `fitted` holds the estimators or forecaster; else the estimator."""
        return self.seen.model

    @property
    def model_digest(self) -> str | None:
        """The digest of the model's bytes: equal to the training's, it is the very same model."""
        return self.row.get("model_digest")

    @property
    def metrics(self) -> dict[str, float]:
        """On the holdout."""
        return {name: self.row[name] for name in self.plan.metrics if name in self.row}

    @property
    def candidates(self) -> pd.DataFrame:
        """Every candidate's mean score, its score per fold (the latest is `fold_0`), seconds, and why it failed."""
        return candidates_frame(json.loads(self.row.get("candidates") or "[]"))

    @cached_property
    def predicted(self) -> Predicted | None:
        """What the winner, fitted on the rows before the holdout, says of it."""
        sample, best = self.seen.sample, self.seen.best
        if sample is None or best is None or not sample.test_rows:
            return None
        return on_holdout(sample, best)

    def holdout(self) -> pd.DataFrame:
        """The rows that the model was measured on: the time, `actual`, `prediction`, quantiles, `baseline`."""
        import pandas as pd

        from modelfleet.forecasting import quantile_name

        sample, predicted = self.seen.sample, self.predicted
        if sample is None or predicted is None:
            return pd.DataFrame()
        _, start, end = sample.span(0)
        made = {self.plan.columns.time: sample.times[start:end], "actual": sample.y[start:end]}
        made["prediction"] = predicted.values[: end - start]
        if predicted.probability is not None:
            made["probability"] = predicted.probability
        if predicted.quantiles is not None and self.plan.forecast is not None:
            for place, quantile in enumerate(self.plan.forecast.quantiles):
                made[quantile_name(quantile)] = predicted.quantiles[: end - start, place]
        made["baseline"] = sample.baseline(0).values[: end - start]
        return pd.DataFrame(made)

    def predict(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """What the model says: of a Forecast's next steps, else of `frame`; default: the partition's own rows."""
        from modelfleet.workbench import predicting

        return predicting.predict(self.bench, self.key, predicting.fitted(self), frame)

    def forecast(self) -> pd.DataFrame:
        """The horizon after the interval's end."""
        from modelfleet.workbench import predicting

        predicting.check_forecast(self.bench)
        return self.predict()

    def plot(self) -> Any:
        """A plotly figure: the series with the holdout's prediction and the baseline; else truth against prediction."""
        from modelfleet.workbench import plots

        return plots.figure(self)

    def explain(self) -> Text:
        """Data, candidates and their scores, metrics beside baseline, fallback and champion."""
        from modelfleet.workbench import text

        return text.of_row(self.bench, self.key, self.row, self.plan, heading="fitted here")

    def __repr__(self) -> str:
        if self.status != "trained":
            return f"<Fit {self.key}: {self.status}, {self.reason}: {self.message}>"
        metric = self.plan.select_by
        values = ", ".join(
            f"{name} {self.row[column]:.4g}"
            for name, column in ((metric, metric), (f"baseline {metric}", f"baseline_{metric}"))
            if self.row.get(column) is not None
        )
        return f"<Fit {self.key}: {self.candidate}{', ' + values if values else ''}>"


def candidates_frame(trials: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The column `candidates` of a model's row as a table."""
    import pandas as pd

    folds = sorted({int(fold) for trial in trials for fold in (*trial["folds"], *trial.get("failed", {}))})
    listed = []
    for trial in trials:
        failed = trial.get("failed", {})
        listed.append(
            {
                "candidate": trial["name"],
                "score": trial["score"],
                **{f"fold_{fold}": trial["folds"].get(str(fold)) for fold in folds},
                "seconds": trial["seconds"],
                "failed": next(iter(failed.values()), None),
                "dropped": trial.get("dropped", False),
            }
        )
    return pd.DataFrame(listed)


def fit(bench: Bench, key: str, candidate: str | None, params: Mapping[str, Any], *, debug: bool) -> Fit:
    """Fit a partition as a worker does.

    :param candidate: those of this name, whole or without the grid's values; or a dotted path of any callable. Default: all.
    :param params: arguments in place of theirs.
    :param debug: let the first exception of the author's code through.
    :raises DataError: for an unknown candidate, or one that can't be fitted on a partition alone.
    :raises ModelCodeError: when the author's code can't be imported or built.
    """
    bucket, position = bench.bucket(key)
    plan = replace(bench.plan, learners=chosen(bench.plan, candidate, params))
    made = trainer(bench, key, plan)
    with _as_a_worker(quiet=not debug):
        if debug:
            _let_through(made.sample(bucket, position), plan.learners)
        row = made.partition(bucket, position)
    row["fingerprint"] = slices.fingerprint(slices.row_hashes(bucket.part(position)))
    return Fit(bench, key, row, made.seen, plan)


def trainer(bench: Bench, key: str, plan: TrainingPlan) -> Watched:
    """What a worker has when it comes to a partition."""
    bucket, _ = bench.bucket(key)
    return Watched(
        plan,
        # All of the spec's, since coarser levels may have chosen any.
        {**author_code(bench.plan), **author_code(plan)},
        bench.champions(key),
        {} if bench.champion is None else bench.champion.header.all_inputs,
        bench.champion_groups,
        bench.groups(bucket.rows),
    )


def code_of(plan: TrainingPlan, learner: Learner) -> ModelCode:
    """The author's code of one candidate.

    :raises ModelCodeError: when it can't be used.
    """
    return author_code(replace(plan, learners=(learner,)))[learner.name]


def chosen(plan: TrainingPlan, candidate: str | None, params: Mapping[str, Any]) -> tuple[Learner, ...]:
    """The candidates that compete."""
    listed = plan.learners
    if candidate is not None:
        listed = tuple(each for each in listed if candidate in (each.name, each.name.partition("(")[0]))
        if not listed and ":" in candidate:
            listed = (Learner(candidate.partition(":")[2], candidate, {}),)
    if not listed:
        raise DataError(
            f"fleet {plan.columns.fleet!r} has no candidate {candidate!r}; "
            f"it has {bounded(each.name for each in plan.learners)}",
            hint='or name a callable: fit("package.module:build")',
        )
    if not params:
        return listed
    if len({each.path for each in listed}) > 1:
        raise DataError(
            f"fleet {plan.columns.fleet!r}: {', '.join(params)} given, but not to which candidate",
            hint=f"name one of {bounded(each.name for each in listed)} first",
        )
    shared = next((each for each in listed if each.scope == "fleet"), None)
    if shared is not None:
        raise DataError(
            f"fleet {plan.columns.fleet!r}: candidate {shared.name!r} is fitted on all partitions, by a training alone",
            hint=f"fit({shared.path!r}, ...) fits its like on this partition",
        )
    made = {}
    for each in listed:
        merged = {**each.params, **params}
        shown = ", ".join(f"{name}={value}" for name, value in merged.items())
        made[shown] = replace(each, name=f"{each.name.partition('(')[0]}({shown})", params=merged)
    return tuple(made.values())


@contextmanager
def _as_a_worker(*, quiet: bool) -> Iterator[None]:
    """One native thread, as in Spark's workers: sums in another order give other last digits, and other bytes."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1), warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore")
        yield


def authors_own(stop: NoModelError) -> BaseException:
    """The exception of the author's code that a partition's reason was made of; the reason itself where there is none."""
    found: BaseException = stop
    while isinstance(found, NoModelError) and found.__cause__ is not None:
        found = found.__cause__
    return found


def _let_through(sample: Sample, learners: Sequence[Learner]) -> None:
    """Fit and measure every candidate, the first exception of the author's code raised as it was."""
    try:
        sample.check()
    except NoModelError:
        return
    for learner in learners:
        original = _raised_by(sample, learner)
        if original is not None:
            raise original  # outside of the handler, so that it arrives without what was made of it


def _raised_by(sample: Sample, learner: Learner) -> BaseException | None:
    """The exception of the author's code that a candidate meets on this partition."""
    try:
        for fold in range(sample.folds):
            sample.measure(sample.predict(learner, sample.fit(learner, fold), fold), fold)
        sample.fit(learner, None)
    except NoModelError as stop:
        original = authors_own(stop)
        return None if isinstance(original, NoModelError) else original
    return None
