"""What a model says of rows: its partition's own, others that are given, or of a Forecast the steps to come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import keys, modelcode, pack, slices
from modelfleet.dataset import read_bucket
from modelfleet.errors import DataError, NotFoundError
from modelfleet.forecasting import quantile_name
from modelfleet.group_models import GroupModels
from modelfleet.interval import Interval
from modelfleet.lake import runs
from modelfleet.matrices import Bucket
from modelfleet.scoring import Scorer
from modelfleet.series import PROBLEM, SeriesPlan, regularize
from modelfleet.spec import Forecast
from modelfleet.steps import preparing
from modelfleet.steps.inputs import sources, training_span

if TYPE_CHECKING:
    import pandas as pd

    from modelfleet.workbench.bench import Bench
    from modelfleet.workbench.fitting import Fit

Json = dict[str, Any]
_AHEAD_LACKS = "known-ahead"


@dataclass(frozen=True)
class Server:
    """What serves a partition: its row of a pack, and the pack's header and models over many partitions."""

    header: pack.PackHeader
    row: Json
    groups: GroupModels


def stored(bench: Bench, key: str) -> Server:
    """The model that the training wrote.

    :raises NotFoundError: when it wrote none, of any partition or of this one.
    """
    row = bench.stored(key)
    if bench.trained is None or row is None:
        raise NotFoundError(
            f"fleet {bench.spec.name!r}: the training of {bench.opened.attempt.interval.key} has no models",
            hint="fit() first: its result predicts too",
        )
    return Server(bench.trained.header, row, bench.stored_groups)


def fitted(fit: Fit) -> Server:
    """The model that was fitted here."""
    bench, plan = fit.bench, fit.plan
    schema = bench.facts["schema"]
    inputs = (plan.inputs, plan.shared_inputs)
    needed = dict.fromkeys(name for each in inputs for name in each.needs)
    header = pack.make_header(
        bench.spec,
        key_types=bench.key_types,
        time_type=schema[bench.spec.time_column],
        feature_types={name: schema[name] for name in needed if name in schema},
        inputs={each.id: each.to_json() for each in inputs},
        code=[learner.path for learner in plan.learners],
        files=(),
        digest="",
    )
    return Server(header, fit.row, bench.stored_groups)


def check_forecast(bench: Bench) -> None:
    """:raises DataError: when the fleet does not forecast."""
    if not isinstance(bench.spec.problem, Forecast):
        raise DataError(f"fleet {bench.spec.name!r} is a {bench.spec.problem.kind}, no forecast", hint="use predict()")


def predict(bench: Bench, key: str, server: Server, frame: pd.DataFrame | None) -> pd.DataFrame:
    """The predictions as a table: time, `step` or the target, `prediction`, quantiles or `probability`, `source`.

    :param frame: rows with the key, time and feature columns; of a Forecast there are none to give.
    :raises DataError: when a Forecast's known-ahead columns are not known for the steps to come.
    """
    spec = server.header.fleet_spec
    scorer = Scorer(server.header, server.groups)
    if isinstance(spec.problem, Forecast):
        if frame is not None:
            raise DataError(f"fleet {spec.name!r} forecasts the steps after the interval; it takes no rows")
        bucket, position = _ahead(bench, key, spec.problem)
    elif frame is None:
        bucket, position = bench.bucket(key)
    else:
        bucket, position = _given(bench, key, frame, server), 0
    part = bucket.part(position)
    first = scorer.first(bucket, position)
    made = scorer.partition(bucket, position, server.row)
    table = {spec.time_column: part.column(spec.time_column).to_pandas().iloc[first:].reset_index(drop=True)}
    if isinstance(spec.problem, Forecast):
        table["step"] = np.arange(1, len(made.values) + 1)
    elif spec.problem.target in part.column_names:
        table[spec.problem.target] = (
            modelcode.widened(part).column(spec.problem.target).to_pandas().iloc[first:].reset_index(drop=True)
        )
    table["prediction"] = made.values
    if made.probability is not None:
        table["probability"] = made.probability
    for place, name in enumerate(map(quantile_name, getattr(spec.problem, "quantiles", ()))):
        table[name] = np.nan if made.quantiles is None else made.quantiles[:, place]
    import pandas as pd

    return pd.DataFrame(table).assign(source=made.source)


def _given(bench: Bench, key: str, frame: pd.DataFrame, server: Server) -> Bucket:
    """The rows of a table as one partition's bucket."""
    import pyarrow as pa

    values = keys.decode(key, bench.key_types)
    whole = frame.assign(**{name: value for name, value in values.items() if name not in frame.columns})
    lacking = [name for name in (bench.spec.time_column, *server.header.features) if name not in whole.columns]
    if lacking:
        raise DataError(f"fleet {bench.spec.name!r}: the rows lack {', '.join(map(repr, lacking))}")
    rows = pa.Table.from_pandas(whole.sort_values(bench.spec.time_column, kind="stable"), preserve_index=False)
    named = pa.array([key] * rows.num_rows, pa.string()).dictionary_encode()
    context = (*bench.key_types, bench.spec.time_column)
    return Bucket(rows.append_column(slices.PARTITION, named), bench.spec.time_column, context)


def _ahead(bench: Bench, key: str, problem: Forecast) -> tuple[Bucket, int]:
    """The partition's bucket with the steps to come: made of the training's rows, else those that a scoring made.

    Only a scoring runs `prepare` over the rows to come.
    """
    bucket, position = _position(bench, _extended(bench, key, problem), key)
    told = _problem(bucket, position)
    if told is None or _AHEAD_LACKS not in told:
        return bucket, position
    scored = _scored(bench, key)
    if scored is None:
        raise DataError(
            f"fleet {bench.spec.name!r}, partition {key!r}: {told}",
            hint=f"score the interval, then its rows are used: modelfleet run {bench.spec.name} "
            f"--interval {bench.opened.attempt.interval.key} --step score",
        )
    return _position(bench, scored, key)


def _extended(bench: Bench, key: str, problem: Forecast) -> Any:
    """The rows of the partition's bucket, regular series again, with the steps to come."""
    bucket, _ = bench.bucket(key)
    spec, attempt, lake = bench.spec, bench.opened.attempt, bench.opened.lake
    known = training_span(spec, attempt.interval)
    # Generous: the steps beyond the horizon are left out when the series are made regular.
    ahead = timedelta(seconds=problem.frequency.least_seconds * 1.2) * problem.horizon + timedelta(days=1)
    span = Interval(known.key, known.start, (known.end.astimezone(UTC) + ahead).astimezone(known.end.tzinfo))
    found = preparing.lookups(spec, sources(lake, spec, attempt.inputs), span, lake)
    plan = SeriesPlan.of(spec, end=attempt.interval.end, future=problem.horizon, lookups=found)
    given = [name for lookup in found for name in lookup.columns]
    rows = bucket.rows.drop_columns([n for n in (PROBLEM, *given) if n in bucket.rows.column_names])
    return regularize(rows, plan)[0]


def _scored(bench: Bench, key: str) -> Any:
    """The rows of the bucket that a scoring of the interval prepared; None where none did."""
    lake, fleet, interval = bench.opened.lake, bench.spec.name, bench.opened.attempt.interval.key
    scored = runs.committed(lake, fleet, "score", interval)
    made = None if scored is None else runs.load_step(lake, fleet, "score", interval, scored.attempt, "dataset")
    if made is None or not preparing.are_there(lake, made):
        return None
    entry = made.files["rows"][keys.bucket_of(keys.hash_of(key), made.facts["buckets"])]
    return read_bucket(lake, entry)


def _position(bench: Bench, rows: Any, key: str) -> tuple[Bucket, int]:
    bucket = Bucket(rows, bench.spec.time_column, (*bench.key_types, bench.spec.time_column))
    return bucket, next(place for place, (name, _, _) in enumerate(bucket.bounds) if name == key)


def _problem(bucket: Bucket, position: int) -> str | None:
    told: str | None = bucket.part(position).column(PROBLEM)[0].as_py()
    return told
