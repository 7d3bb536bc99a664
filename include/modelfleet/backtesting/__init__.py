"""Backtest: training and scoring replayed at past cutoffs, and what they gave beside what came."""

from modelfleet.backtesting.cutoffs import Cutoff, plan

__all__ = ["Cutoff", "plan"]
