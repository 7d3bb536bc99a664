"""Loading predictions into PostgreSQL: ``python -m bench.copying [--rows N]``.

A server of its own on a loopback port. The warehouse's load, which leaves its indexes in place, beside a bare COPY of the same
columns into a table without any, in turn.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench import options, results
from bench.generate import FIRST_DAY, Sales, keys_of
from bench.measure import Meter
from bench.one import ROOT

sys.path.insert(0, str(ROOT / "tests"))  # whose servers are used

import servers
from modelfleet.warehouse import Warehouse

ROUNDS = 3
BATCH = 100_000
ROWS = 4_000_000


def main() -> None:
    """Run, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    options.add_places(parser)
    given = parser.parse_args()
    with options.workplace("copy", given) as home, servers.postgres() as server:
        run = measure(servers.create_database(server, "bench"), given.rows, home)
    print(results.save({**run, "form": "full" if given.rows == ROWS else "custom"}, given.results))


def measure(url: str, rows: int, home: Path) -> dict[str, Any]:
    """Load and copy in turn; what is kept of it: the medians of rows per second.

    :param url: an empty database.
    """
    sales = Sales(rows, max(rows // 4000, 1))
    os.environ.update({"MODELFLEET_HOME": str(home), "AIRFLOW_CONN_MODELFLEET_WAREHOUSE": url})
    warehouse, batches = Warehouse.open(), list(predictions(sales))
    loading, copying = (Meter("copy", name, rows, sales.partitions) for name in ("ours", "bare COPY"))
    for number in range(ROUNDS):
        interval = f"2020-01-{number + 1:02d}"
        with loading.step("load"):
            _load(warehouse, interval, batches, rows)
        made = _columns(url, interval)
        with copying.step("load"):
            _copy(url, made)
    speed = {
        meter.implementation: round(rows / float(np.median([record.seconds for record in meter.records])))
        for meter in (loading, copying)
    }
    share = round(speed["ours"] / speed["bare COPY"], 3)
    records = [record.to_json() for record in (*loading.records, *copying.records)]
    return results.measured("copy", "predictions into PostgreSQL", records, rows_per_second=speed, share=share)


def predictions(sales: Sales) -> Iterator[pa.RecordBatch]:
    """Predictions as the step score writes them, day by day."""
    draw = np.random.default_rng(sales.seed)
    store, item = keys_of(sales, np.arange(sales.partitions))
    names = pa.array([f"store={s}/item={i}" for s, i in zip(store.tolist(), item.tolist(), strict=True)])
    epoch = FIRST_DAY.toordinal() - datetime(1970, 1, 1).toordinal()
    for begin in range(0, sales.rows, BATCH):
        row = np.arange(begin, min(begin + BATCH, sales.rows))
        ids, days = row % sales.partitions, (row // sales.partitions + epoch).astype(np.int32)
        yield pa.RecordBatch.from_pydict(
            {
                "store": store[ids],
                "item": item[ids],
                "day": pa.array(days).cast(pa.date32()),
                "prediction": draw.normal(20, 5, len(row)),
                "source": pa.array(["model"] * len(row)),
                "partition": names.take(pa.array(ids)),
                "model_version": np.ones(len(row), np.int64),
            }
        )


def _load(warehouse: Warehouse, interval: str, batches: list[pa.RecordBatch], rows: int) -> None:
    warehouse.load_predictions(
        "sales",
        interval,
        "bench",
        datetime.now(UTC),
        pa.RecordBatchReader.from_batches(batches[0].schema, batches),
        key_columns=("store", "item"),
        time_column="day",
        expected=rows,
    )


def _columns(url: str, interval: str) -> pa.Table:
    """The rows that were loaded, all columns, in memory."""
    from adbc_driver_postgresql import dbapi

    with closing(dbapi.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bare")
        cursor.execute("CREATE TABLE bare AS SELECT * FROM sales_predictions WITH NO DATA")
        connection.commit()
        cursor.execute(f"SELECT * FROM sales_predictions WHERE interval = '{interval}'")
        return cursor.fetch_arrow_table()


def _copy(url: str, rows: pa.Table) -> None:
    from adbc_driver_postgresql import dbapi

    with closing(dbapi.connect(url)) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("bare", rows, mode="append")
        connection.commit()


if __name__ == "__main__":
    main()
