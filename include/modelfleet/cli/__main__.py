"""``python -m modelfleet.cli``."""

from modelfleet.cli import app

app()
