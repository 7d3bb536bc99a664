"""Training: candidates compete inside each partition, and the winner is measured beside baseline, fallback and champion."""

from modelfleet.training.bucket import BucketTask, BucketTrainer, BucketWork, author_code
from modelfleet.training.groups import GroupFiles
from modelfleet.training.groups import train as train_groups
from modelfleet.training.plan import ChampionStatus, TrainingPlan

__all__ = [
    "BucketTask",
    "BucketTrainer",
    "BucketWork",
    "ChampionStatus",
    "GroupFiles",
    "TrainingPlan",
    "author_code",
    "train_groups",
]
