"""Scoring: rows of a dataset x the champion's pack -> predictions, and one outcome per partition.

A partition is ``scored`` by its model; ``fallback``: by a coarser level or its baseline, because the champion fleet has no
model of it; ``failed``: likewise, because the model did not predict; ``no_model``: by nothing, because it is unknown and
has no baseline. What served each row stands beside it as `source`: model, a level such as ``item`` or ``fleet``, baseline.
"""

from modelfleet.scoring.bucket import BucketWork, read_batches
from modelfleet.scoring.digest import DIGEST
from modelfleet.scoring.messages import together
from modelfleet.scoring.outcome import OUTCOMES, Prediction
from modelfleet.scoring.scorer import SERVED, Scorer
from modelfleet.scoring.tables import plain, predict_table

__all__ = [
    "DIGEST",
    "OUTCOMES",
    "SERVED",
    "BucketWork",
    "Prediction",
    "Scorer",
    "plain",
    "predict_table",
    "read_batches",
    "together",
]
