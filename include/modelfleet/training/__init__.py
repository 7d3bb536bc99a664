"""Training: candidates compete inside each partition, and the winner is measured beside baseline, fallback and champion."""

from modelfleet.training.bucket import BucketTrainer, BucketWork
from modelfleet.training.carrying import Carrying
from modelfleet.training.groups import GroupFiles
from modelfleet.training.groups import train as train_groups
from modelfleet.training.groups import wanted as wanted_groups
from modelfleet.training.plan import ChampionStatus, TrainingPlan, author_code

__all__ = [
    "BucketTrainer",
    "BucketWork",
    "Carrying",
    "ChampionStatus",
    "GroupFiles",
    "TrainingPlan",
    "author_code",
    "train_groups",
    "wanted_groups",
]
