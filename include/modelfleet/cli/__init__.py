"""``modelfleet``: the author's inner loop and the operator's questions, without Airflow."""

from modelfleet.cli import authoring, looking, running
from modelfleet.cli.console import app

__all__ = ["app", "authoring", "looking", "running"]
