"""Forecasts of one series: naive ones, forecasters, estimators over features, and quantiles.

statsforecast is imported by none of it; its models come in built.
"""

from modelfleet.forecasting.forecaster import Forecaster, is_forecaster
from modelfleet.forecasting.naive import naive, naive_quantiles
from modelfleet.forecasting.quantiles import Residuals, quantile_name
from modelfleet.forecasting.regressor import DirectRegressor, RecursiveRegressor

__all__ = [
    "DirectRegressor",
    "Forecaster",
    "RecursiveRegressor",
    "Residuals",
    "is_forecaster",
    "naive",
    "naive_quantiles",
    "quantile_name",
]
