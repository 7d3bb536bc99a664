"""The published workload and its neighbours, measured: ours beside the reference, tuned Spark and a plain script.

``python -m bench.run W1`` runs a workload and keeps its figures in ``bench/results``; ``python -m bench.report`` writes
``docs/performance.md`` from those alone.
"""
