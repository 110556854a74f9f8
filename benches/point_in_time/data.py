"""Generates what the benches of `point_in_time` run on: payments, orders, users and a spine, as Parquet.

    data.py --out DIR [--users N] [--payments N] [--days N] [--end YYYY-MM-DD] [--spine N] [--seed N]

    DIR/payment/day=D/part.parquet          as a feed would deliver them: one file a day, in order of time
    DIR/purchase_order/day=D/part.parquet
    DIR/users.parquet                       everybody, also those without events
    DIR/spine.parquet                       (user_id, as_of, _row): random users at random instants of the last 300 days
    DIR/data.json                           the arguments; data that is there already is left as it is

There are as many orders as payments. Of the payments 95 % have an order, one hour to five days older; 1 % have one that
claims to be younger, which is no partner, and 4 % none. A few users have many events (the first of a million some 100
times the mean). Some payments fall on midnight and some spine rows on a payment, or a window after it: the edges at
which a comparison would show a rounded window. Days are made one at a time from seeds of their own, so that memory
does not grow and the last days are the same however many come before them.
"""

import argparse
import json
import math
import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PAYMENT_METHODS = ["credit card", "blik", "bank transfer", "cash on delivery", "instalments"]
DELIVERY_METHODS = ["courier", "parcel locker", "pickup point", "post"]
WITH_ORDER, WITH_YOUNGER_ORDER = 0.95, 0.01
ON_MIDNIGHT, ON_AN_EDGE = 0.001, 0.01

MICROSECONDS = 1_000_000
HOUR = 3600 * MICROSECONDS
DAY = 24 * HOUR
LONGEST_LAG = 5 * DAY
SPINE_DAYS = 300
WINDOWS = np.array([0, 7, 30, 90]) * DAY

# Of payments, orders and the spine: a part of each seed, so that one does not repeat the other's numbers.
PAYMENTS, ORDERS, SPINE = 0, 1, 2

ORIGIN = date(1970, 1, 1)


def main(arguments: argparse.Namespace) -> None:
    out, said = arguments.out, {k: str(v) for k, v in vars(arguments).items() if k != "out"}
    marker = out / "data.json"
    if marker.exists() and json.loads(marker.read_text()) == said:
        return
    for old in ("payment", "purchase_order"):
        shutil.rmtree(out / old, ignore_errors=True)
    marker.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    users = Users(arguments.users)
    pq.write_table(pa.table({"user_id": np.arange(1, arguments.users + 1)}), out / "users.parquet")
    edges = events(arguments, users)
    pq.write_table(spine(arguments, edges), out / "spine.parquet")
    marker.write_text(json.dumps(said, indent=1) + "\n")


class Users:
    """Draws users, few of them often: the k-th most frequent in proportion to k^(-1/3), in no order of their ids."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.stride = next(n for n in range(int(count * 0.618) | 1, 3 * count + 3, 2) if math.gcd(n, count) == 1)

    def draw(self, random: np.random.Generator, size: int) -> np.ndarray:
        rank = (self.count * random.random(size) ** 1.5).astype(np.int64)
        return 1 + rank * self.stride % self.count


def events(arguments: argparse.Namespace, users: Users) -> dict[str, np.ndarray]:
    """Writes payments and orders, and returns the payments on which spine rows are to fall."""
    last = (arguments.end - ORIGIN).days
    first = last - arguments.days + 1
    rows = math.ceil(arguments.payments / arguments.days)
    waiting: dict[int, list[dict[str, np.ndarray]]] = {}
    picked = []
    for day in range(first, last + LONGEST_LAG // DAY + 1):
        if day <= last:
            paid, ordered = payments_of(day, rows, users, arguments.seed)
            write(arguments.out / "payment", day, payment_table(paid))
            if last - day < SPINE_DAYS:
                picked.append(edge_payments(paid, arguments))
            for order_day in np.unique(ordered["ordered_at"] // DAY):
                of_day = {name: values[ordered["ordered_at"] // DAY == order_day] for name, values in ordered.items()}
                waiting.setdefault(int(order_day), []).append(of_day)
        # Nobody who pays later than this ordered on that day.
        complete = day - LONGEST_LAG // DAY
        if complete >= first:
            orders = orders_of(complete, rows, users, arguments.seed, waiting.pop(complete, []))
            write(arguments.out / "purchase_order", complete, order_table(orders))
    return {name: np.concatenate([p[name] for p in picked]) for name in picked[0]}


def payments_of(day: int, rows: int, users: Users, seed: int) -> tuple[dict, dict]:
    """A day's payments in order of time, and the orders that they pay."""
    random = np.random.default_rng([seed, PAYMENTS, day])
    offset = np.sort(np.where(random.random(rows) < ON_MIDNIGHT, 0, random.integers(0, DAY, rows)))
    payment_id = day * rows + np.arange(rows)
    paid = {
        "payment_id": payment_id,
        "user_id": users.draw(random, rows),
        "purchase_id": payment_id * 2,
        "paid_at": day * DAY + offset,
        "amount": np.maximum(1, np.exp(random.normal(8.8, 0.8, rows))).astype(np.int64),
        "payment_method": random.choice(len(PAYMENT_METHODS), rows, p=[0.35, 0.3, 0.15, 0.15, 0.05]),
    }
    kind, lag = random.random(rows), random.integers(HOUR, LONGEST_LAG, rows)
    lag = np.where(kind < WITH_ORDER, lag, -random.integers(1, HOUR, rows))
    # One payment in ten is a part of its order.
    times = np.where(random.random(rows) < 0.1, random.uniform(1.1, 3.0, rows), 1.0)
    ordered = {
        "purchase_id": paid["purchase_id"],
        "user_id": paid["user_id"],
        "ordered_at": paid["paid_at"] - lag,
        "amount": (paid["amount"] * times).astype(np.int64),
        "delivery_method": random.choice(len(DELIVERY_METHODS), rows, p=[0.45, 0.35, 0.15, 0.05]),
        "items": random.geometric(0.5, rows).astype(np.int32),
    }
    exists = kind < WITH_ORDER + WITH_YOUNGER_ORDER
    return paid, {name: values[exists] for name, values in ordered.items()}


def orders_of(day: int, rows: int, users: Users, seed: int, paid: list[dict]) -> dict:
    """A day's orders in order of time: those that somebody pays, and as many unpaid ones as make up the number."""
    random = np.random.default_rng([seed, ORDERS, day])
    count = max(0, rows - sum(len(part["purchase_id"]) for part in paid))
    unpaid = {
        "purchase_id": (day * rows + np.arange(count)) * 2 + 1,
        "user_id": users.draw(random, count),
        "ordered_at": day * DAY + random.integers(0, DAY, count),
        "amount": np.maximum(1, np.exp(random.normal(8.8, 0.8, count))).astype(np.int64),
        "delivery_method": random.choice(len(DELIVERY_METHODS), count),
        "items": random.geometric(0.5, count).astype(np.int32),
    }
    orders = {name: np.concatenate([part[name] for part in [*paid, unpaid]]) for name in unpaid}
    order = np.argsort(orders["ordered_at"], kind="stable")
    return {name: values[order] for name, values in orders.items()}


def edge_payments(paid: dict, arguments: argparse.Namespace) -> dict:
    random = np.random.default_rng([arguments.seed, SPINE, int(paid["paid_at"][0] // DAY)])
    wanted = math.ceil(arguments.spine * ON_AN_EDGE / min(SPINE_DAYS, arguments.days))
    chosen = random.choice(len(paid["user_id"]), min(wanted, len(paid["user_id"])), replace=False)
    return {"user_id": paid["user_id"][chosen], "paid_at": paid["paid_at"][chosen]}


def spine(arguments: argparse.Namespace, edges: dict) -> pa.Table:
    random = np.random.default_rng([arguments.seed, SPINE])
    end = ((arguments.end - ORIGIN).days + 1) * DAY
    user_id = random.integers(1, arguments.users + 1, arguments.spine)
    as_of = end - random.integers(1, min(SPINE_DAYS, arguments.days) * DAY, arguments.spine)
    window = edges["paid_at"] + random.choice(WINDOWS, len(edges["paid_at"]))
    rows = random.choice(arguments.spine, min(len(window), arguments.spine), replace=False)
    user_id[rows] = edges["user_id"][: len(rows)]
    as_of[rows] = np.where(window < end, window, edges["paid_at"])[: len(rows)]
    return pa.table({"user_id": user_id, "as_of": instants(as_of), "_row": np.arange(arguments.spine)})


def payment_table(paid: dict) -> pa.Table:
    return pa.table(
        {
            "payment_id": paid["payment_id"],
            "user_id": paid["user_id"],
            "purchase_id": paid["purchase_id"],
            "paid_at": instants(paid["paid_at"]),
            "amount": decimals(paid["amount"]),
            "payment_method": words(PAYMENT_METHODS, paid["payment_method"]),
        }
    )


def order_table(orders: dict) -> pa.Table:
    return pa.table(
        {
            "purchase_id": orders["purchase_id"],
            "user_id": orders["user_id"],
            "ordered_at": instants(orders["ordered_at"]),
            "amount": decimals(orders["amount"]),
            "delivery_method": words(DELIVERY_METHODS, orders["delivery_method"]),
            "items": pa.array(orders["items"], pa.int32()),
        }
    )


def write(folder: Path, day: int, table: pa.Table) -> None:
    directory = folder / f"day={ORIGIN + timedelta(day)}"
    directory.mkdir(parents=True)
    dictionaries = ["payment_method", "delivery_method"]
    pq.write_table(table, directory / "part.parquet", use_dictionary=dictionaries, store_decimal_as_integer=True)


def instants(microseconds: np.ndarray) -> pa.Array:
    return pa.array(microseconds, pa.timestamp("us", tz="UTC"))


def decimals(cents: np.ndarray) -> pa.Array:
    """decimal(12,2) of non-negative cents: each number is its low and its high word."""
    wide = np.zeros((len(cents), 2), np.int64)
    wide[:, 0] = cents
    return pa.Array.from_buffers(pa.decimal128(12, 2), len(cents), [None, pa.py_buffer(wide)])


def words(vocabulary: list[str], codes: np.ndarray) -> pa.Array:
    return pa.array(vocabulary).take(pa.array(codes))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--payments", type=int, default=20_000_000, help="and as many orders")
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--end", type=date.fromisoformat, default=date(2025, 6, 30), help="the last day")
    parser.add_argument("--spine", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main(arguments())
