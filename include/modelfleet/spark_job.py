"""The Spark application of a run: consecutive Spark steps of one attempt in one session.

``python -m modelfleet.spark_job --fleet F --pipeline P --interval K --attempt A --steps dataset,quality,train``. When a step
fails, the failure is also written as JSON to the file that ``MODELFLEET_FAILURE_FILE`` names, for whoever submitted it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from modelfleet.errors import ModelfleetError, is_retryable
from modelfleet.steps.runner import RunRef, open_context, run_step

FAILURE_FILE = "MODELFLEET_FAILURE_FILE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named steps in order; exit code 1 when one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("fleet", "pipeline", "interval", "attempt", "steps"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args(arguments)
    ref = RunRef(given.fleet, given.pipeline, given.interval, given.attempt)
    context = open_context(ref)
    if context.spec.quality.model_dump(exclude_defaults=True):
        # Great Expectations takes seconds to import, and the session takes as long to start: at the same time, then.
        threading.Thread(target=_import_expectations, daemon=True).start()
    step = ""
    try:
        for step in given.steps.split(","):
            began = time.perf_counter()
            facts = run_step(ref, step, context=context)
            reused = f", taken over from {facts['reused_from']}" if facts["reused_from"] else ""
            print(f"step {step}: {time.perf_counter() - began:.1f} s{reused}", flush=True)
    except Exception as exc:
        _report(exc, step)
        if isinstance(exc, ModelfleetError):
            print(f"step {step}: {type(exc).__name__}: {exc}", file=sys.stderr, flush=True)
            return 1
        raise
    return 0


def _import_expectations() -> None:
    from modelfleet.quality import expectations

    expectations.gx()


def _report(exc: Exception, step: str) -> None:
    place = os.environ.get(FAILURE_FILE)
    if place is None:
        return
    failure = {
        "error_class": type(exc).__name__,
        "message": exc.message if isinstance(exc, ModelfleetError) else f"{type(exc).__name__}: {exc}"[:4000],
        "hint": exc.hint if isinstance(exc, ModelfleetError) else None,
        "retryable": is_retryable(exc),
        "step": step,
    }
    Path(place).write_text(json.dumps(failure))


if __name__ == "__main__":
    sys.exit(main())
