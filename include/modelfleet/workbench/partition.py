"""One partition at hand: its rows, its matrix, its model, what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelfleet import modelcode, slices
from modelfleet.errors import ConfigurationError, DataError
from modelfleet.prediction import NoModelError
from modelfleet.series import PROBLEM
from modelfleet.training.tabular import TabularSample
from modelfleet.workbench import fitting, predicting
from modelfleet.workbench.fitting import Fit

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from modelfleet.matrices import Inputs
    from modelfleet.spec.training import Learner
    from modelfleet.training.sample import Sample
    from modelfleet.workbench.bench import Bench
    from modelfleet.workbench.text import Text


class Partition:
    """One partition of an opened training."""

    def __init__(self, bench: Bench, key: str) -> None:
        self.key = key
        self._bench = bench
        self._bucket, self._position = bench.bucket(key)

    def rows(self) -> pa.Table:
        """The rows that the Spark worker sees, in time order, as an Arrow table."""
        part = self._bucket.part(self._position)
        return part.drop_columns([name for name in (slices.PARTITION, PROBLEM) if name in part.column_names])

    def frame(self) -> pd.DataFrame:
        """The same, as pandas has them."""
        return modelcode.widened(self.rows()).to_pandas()

    @property
    def problem(self) -> str | None:
        """What is wrong with a Forecast's series, so that it has no model."""
        part = self._bucket.part(self._position)
        return part.column(PROBLEM)[0].as_py() if PROBLEM in part.column_names and part.num_rows else None

    def save(self, file: str | Path) -> Path:
        """Write the rows to a ``.parquet`` or ``.csv`` file.

        :raises DataError: for another suffix.
        :raises ConfigurationError: when it can't be written.
        """
        import pyarrow.csv
        import pyarrow.parquet

        target = Path(file).absolute()
        writers = {".parquet": pyarrow.parquet.write_table, ".csv": pyarrow.csv.write_csv}
        if target.suffix not in writers:
            raise DataError(f"{target.name!r} is neither a .parquet nor a .csv file")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            writers[target.suffix](self.rows(), str(target))
        except OSError as exc:
            raise ConfigurationError(f"the rows can't be written to {target}: {exc.strerror}") from exc
        return target

    def matrix(self, candidate: str | None = None, *, step: int | None = None) -> pd.DataFrame:
        """What the estimator receives, with the features' names; the rows are labelled with their times.

        All rows with a target: those at the beginning whose past is too short for a feature are left out of a fit.

        :param candidate: default: the first.
        :param step: of a Forecast: what the model for this step ahead is fitted on; default: the last one.
        :raises DataError: for an unknown candidate.
        """
        plan = self._bench.plan
        learner = fitting.chosen(plan, candidate, {})[0] if candidate else plan.learners[0]
        inputs = plan.shared_inputs if learner.scope == "fleet" else plan.inputs
        original: BaseException | None = None
        try:
            made, names, times = self._matrix(learner, inputs, step)
        except NoModelError as stop:
            original = fitting.authors_own(stop)
        if original is not None:
            raise original
        if names is None:
            return made.set_axis(times)
        import pandas as pd

        return pd.DataFrame(made, columns=list(names), index=times)

    def _matrix(self, learner: Learner, inputs: Inputs, step: int | None) -> tuple[Any, Any, pd.Index]:
        import pandas as pd

        plan = self._bench.plan
        sample, code = self._sample(), fitting.code_of(plan, learner)
        times = pd.Index(sample.times, name=plan.columns.time)
        if isinstance(sample, TabularSample):
            x = sample.usable(inputs, code)
            names = None if hasattr(x, "iloc") else inputs.columns if inputs.recipe is None else inputs.recipe.names(1)
            return x, names, times
        assert plan.forecast is not None
        assert inputs.recipe is not None
        if modelcode.is_forecaster(code.build(**code.params)):
            known = self._bucket.known(self._position, inputs)
            shown = [
                name for name, is_known in zip(inputs.recipe.names(1), inputs.recipe.known(1), strict=True) if is_known
            ]
            return np.empty((len(times), 0)) if known is None else known, shown if known is not None else (), times
        blocks = plan.forecast.blocks
        ahead = next((last for first, last in blocks if step is not None and first <= step <= last), blocks[-1][1])
        x = sample.matrix(inputs, code, ahead)
        return x, None if hasattr(x, "iloc") else inputs.recipe.names(ahead), times

    def _sample(self) -> Sample:
        return fitting.trainer(self._bench, self.key, self._bench.plan).sample(self._bucket, self._position)

    def fit(self, candidate: str | None = None, *, debug: bool = False, **params: Any) -> Fit:
        """Select, fit and measure as the Spark worker does, in this process; nothing is written.

        :param candidate: only this one: its name, or that of a whole grid, or the dotted path of any callable.
        :param debug: let the first exception of the model code through, with its traceback.
        :param params: arguments in place of the candidate's.
        :raises DataError: for an unknown candidate. A partition without a model is no error: see `Fit.status`.
        """
        return fitting.fit(self._bench, self.key, candidate, params, debug=debug)

    def predict(self, frame: pd.DataFrame | None = None) -> pd.DataFrame:
        """What the training's model says, or what serves in its place (`source`), of `frame`; default: its own rows.

        Of a Forecast, the steps after the interval's end. See `Fit.predict` for a model fitted here.

        :raises NotFoundError: when the training wrote no models.
        """
        return predicting.predict(self._bench, self.key, predicting.stored(self._bench, self.key), frame)

    def forecast(self) -> pd.DataFrame:
        """The horizon after the interval's end, by the training's model or what serves in its place.

        :raises DataError: when the fleet does not forecast.
        """
        predicting.check_forecast(self._bench)
        return self.predict()

    def plot(self) -> Any:
        """A plotly figure of a fit made here: see `Fit.plot`."""
        return self.fit().plot()

    def explain(self) -> Text:
        """What became of it in the training: data, candidates and scores, metrics, the decision and its rule."""
        from modelfleet.workbench import text

        return text.of_partition(self._bench, self.key, self.problem)

    def __repr__(self) -> str:
        row = self._bench.stored(self.key)
        status = "not trained yet" if row is None else ", ".join(filter(None, (row["status"], row["reason"])))
        return f"<Partition {self.key}: {self.rows().num_rows} rows, {status}>"
