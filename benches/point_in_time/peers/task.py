"""What a peer is asked to do, and how its answer is timed. Each peer runs in a process of its own:

    snapshot_duckdb.py --payments DIR --orders DIR --as-of INSTANT --out PATH [--form NAME] [--memory-limit 1GiB] …

and prints {"seconds": …, "peak_bytes": …}. Seconds are those of the work, from the first file opened to the last one
written; starting the interpreter, importing libraries and starting a Java machine are not in them.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import memory

WINDOWS = [7, 30, 90, 365]
"""Days. Windows are half-open: [as_of - window, as_of)."""

DAY = 24 * 3600 * 1_000_000
"""Microseconds."""

LOOKBACK = 7
"""Days by which an order may lie before the first payment that is read: order_payments.yaml says so."""


@dataclass(frozen=True)
class Task:
    payments: Path
    orders: Path | None
    spine: Path | None
    as_of: datetime | None
    out: Path
    form: str | None
    memory_limit: int | None
    threads: int
    spill: Path

    @property
    def as_of_micros(self) -> int:
        return (self.as_of - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)

    def payment_files(self) -> list[str]:
        """The days that the widest window touches."""
        return self._files(self.payments, WINDOWS[-1])

    def order_files(self) -> list[str]:
        return self._files(self.orders, WINDOWS[-1] + LOOKBACK)

    def _files(self, folder: Path, days: int) -> list[str]:
        if self.as_of is None:
            return sorted(str(path) for path in folder.glob("day=*/*.parquet"))
        first = (self.as_of - timedelta(days)).date().isoformat()
        files = sorted(folder.glob("day=*/*.parquet"))
        return [str(file) for file in files if first <= file.parent.name.removeprefix("day=") < self.as_of.isoformat()]


def main(run: Callable[[Task], None], prepare: Callable[[Task], object] | None = None) -> None:
    """Runs a peer once. What `prepare` returns is the second argument of `run`, and is not timed."""
    task = arguments()
    task.spill.mkdir(parents=True, exist_ok=True)
    prepared = () if prepare is None else (prepare(task),)
    began = time.perf_counter()
    run(task, *prepared)
    print(json.dumps({"seconds": round(time.perf_counter() - began, 3), "peak_bytes": memory.peak()}))


def arguments() -> Task:
    parser = argparse.ArgumentParser()
    parser.add_argument("--payments", type=Path, required=True)
    parser.add_argument("--orders", type=Path)
    parser.add_argument("--spine", type=Path)
    parser.add_argument("--as-of", type=instant, help="such as 2025-07-01T00:00:00Z")
    parser.add_argument("--out", type=Path, required=True, help="a Parquet file, or a directory of them")
    parser.add_argument("--form", help="which of the peer's ways to write it")
    parser.add_argument("--memory-limit", type=memory.size, help="such as 1GiB, where the peer can be limited")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--spill", type=Path, default=Path("/tmp/scorehouse-bench/spill"))
    return Task(**vars(parser.parse_args()))


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)
