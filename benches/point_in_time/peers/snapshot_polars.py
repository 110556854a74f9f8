"""Polars: 44 windowed aggregates of every user with a payment in the last year, at one as_of, by its streaming engine.

Its memory cannot be limited. The two forms are those of sql.py.
"""

import os
from datetime import timedelta

from task import WINDOWS, Task, main


def snapshot(task: Task, pl) -> None:
    joined = order_payments(task, pl)
    if task.form == "filters":
        query = filters(task, pl, joined)
    else:
        query = cells(task, pl, joined)
    query.sink_parquet(task.out)


def prepare(task: Task):
    """The number of threads is read when the library is loaded."""
    os.environ["POLARS_MAX_THREADS"] = str(task.threads)
    os.environ["POLARS_TEMP_DIR"] = str(task.spill)
    import polars

    return polars


def order_payments(task: Task, pl):
    start = task.as_of - timedelta(WINDOWS[-1])
    payments = pl.scan_parquet(task.payment_files(), hive_partitioning=False)
    orders = pl.scan_parquet(task.order_files(), hive_partitioning=False)
    joined = (
        payments.filter(pl.col("paid_at") >= start, pl.col("paid_at") < task.as_of)
        .select("purchase_id", "user_id", "paid_at", "amount", "payment_method")
        .join(
            orders.select("purchase_id", "ordered_at", "delivery_method", pl.col("amount").alias("order_amount")),
            on="purchase_id",
            how="left",
        )
    )
    partner = pl.col("ordered_at") <= pl.col("paid_at")
    return joined.with_columns(pl.when(partner).then(pl.col(name)) for name in ("order_amount", "delivery_method"))


def filters(task: Task, pl, joined):
    amount, order_amount = pl.col("amount"), pl.col("order_amount")
    columns = []
    for days in WINDOWS:
        within = pl.col("paid_at") >= task.as_of - timedelta(days)
        cash = within & (pl.col("payment_method") == "cash on delivery")
        named = {
            "payments": within.sum(),
            "amount_sum": amount.filter(within).sum(),
            "amount_mean": amount.filter(within).cast(pl.Float64).mean(),
            "amount_min": amount.filter(within).min(),
            "amount_max": amount.filter(within).max(),
            "amount_stddev": amount.filter(within).cast(pl.Float64).std(),
            "cod_payments": cash.sum(),
            "cod_amount": amount.filter(cash).sum(),
            "order_amount_mean": order_amount.filter(within).cast(pl.Float64).mean(),
            "order_amount_max": order_amount.filter(within).max(),
            "delivery_methods": pl.col("delivery_method").filter(within).drop_nulls().n_unique(),
        }
        columns += [column.alias(f"{name}_{days}d") for name, column in named.items()]
    return empty_is_null(pl, joined.group_by("user_id").agg(columns))


def cells(task: Task, pl, joined):
    orders = pl.scan_parquet(task.order_files(), hive_partitioning=False)
    methods = orders.select(pl.col("delivery_method").drop_nulls().unique()).collect().to_series()
    bits = [1 << bit for bit in range(len(methods))]
    edges = [(pl.col("paid_at") < task.as_of - timedelta(days)).cast(pl.Int8) for days in WINDOWS[:-1]]
    cash, cents, order_cents = pl.col("payment_method") == "cash on delivery", pl.col("cents"), pl.col("order_cents")
    of_cells = (
        joined.select(
            "user_id",
            pl.col("payment_method"),
            cell=pl.sum_horizontal(edges),
            cents=(pl.col("amount") * 100).cast(pl.Int64),
            order_cents=(pl.col("order_amount") * 100).cast(pl.Int64),
            method=pl.col("delivery_method").replace_strict(methods, bits, return_dtype=pl.Int64),
        )
        .group_by("user_id", "cell")
        .agg(
            payments=pl.len().cast(pl.Int64),
            cents=cents.sum(),
            squares=(cents * cents).sum(),
            least=cents.min(),
            greatest=cents.max(),
            cash_payments=cash.sum(),
            cash_cents=cents.filter(cash).sum(),
            orders=order_cents.count(),
            order_cents=order_cents.sum(),
            order_greatest=order_cents.max(),
            methods=pl.col("method").bitwise_or(),
        )
    )
    columns = []
    for cell, days in enumerate(WINDOWS):
        column = lambda name: pl.col(name).filter(pl.col("cell") <= cell)
        rows, total = column("payments").sum(), column("cents").sum()
        spread = (rows * column("squares").sum() - total * total).cast(pl.Float64)
        named = {
            "payments": rows,
            "amount_sum": money(pl, total),
            "amount_mean": total / (rows * 100),
            "amount_min": money(pl, column("least").min()),
            "amount_max": money(pl, column("greatest").max()),
            "amount_stddev": pl.when(rows > 1).then((spread / (rows * (rows - 1))).sqrt() / 100),
            "cod_payments": column("cash_payments").sum(),
            "cod_amount": money(pl, column("cash_cents").sum()),
            "order_amount_mean": column("order_cents").sum() / (column("orders").sum() * 100),
            "order_amount_max": money(pl, column("order_greatest").max()),
            "delivery_methods": column("methods").bitwise_or().bitwise_count_ones().fill_null(0),
        }
        columns += [value.alias(f"{name}_{days}d") for name, value in named.items()]
    return empty_is_null(pl, of_cells.group_by("user_id").agg(columns))


def money(pl, cents):
    return (cents.cast(pl.Decimal(38, 0)) * pl.lit("0.01").cast(pl.Decimal(3, 2))).cast(pl.Decimal(38, 2))


def empty_is_null(pl, aggregated):
    """A sum of nothing is null, as in SQL; in Polars it is 0."""
    sums = {"amount_sum": "payments", "amount_mean": "payments", "cod_amount": "cod_payments"}
    return aggregated.with_columns(
        pl.when(pl.col(f"{count}_{days}d") > 0).then(pl.col(f"{name}_{days}d")).alias(f"{name}_{days}d")
        for name, count in sums.items()
        for days in WINDOWS
    ).with_columns(pl.col(f"order_amount_mean_{days}d").fill_nan(None) for days in WINDOWS)


if __name__ == "__main__":
    main(snapshot, prepare)
