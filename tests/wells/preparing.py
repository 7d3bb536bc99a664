"""`prepare` functions, the good one and those that break."""

from __future__ import annotations

from typing import Any


def deeper(spark: Any, data: Any) -> Any:
    return data.selectExpr("*", "depth * 2 AS double_depth")


def without_keys(spark: Any, data: Any) -> Any:
    return data.drop("pad")


def raising(spark: Any, data: Any) -> Any:
    raise KeyError("no such well")


def raising_on_rows(spark: Any, data: Any) -> Any:
    return data.selectExpr("*", "raise_error('bad row') AS ignored").selectExpr("* EXCEPT (depth)", "ignored AS depth")


def nothing(spark: Any, data: Any) -> Any:
    return data.where("false")


def no_frame(spark: Any, data: Any) -> Any:
    return "data"


def raising_in_python(spark: Any, data: Any) -> Any:
    return data.mapInArrow(_raise, data.schema)


def _raise(batches: Any) -> Any:
    for batch in batches:
        raise ZeroDivisionError(f"no depth in {batch.num_columns} columns")
    yield from ()
