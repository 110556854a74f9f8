"""The two questions in SQL, as DuckDB and Spark both understand it, each in the two forms worth trying.

They are asked of the views `payment`, `purchase_order` and `spine`. Times are compared as microseconds, as `micros`
makes them of a timestamp: arithmetic on integers is what both engines do fastest, and frames over intervals are slow.

*snapshot*, per user at one as_of, over payments with their orders:
  `filters`  44 aggregates, each with its FILTER; what one would write first.
  `cells`    a row falls into one of four cells between the windows' edges; eleven aggregates per user and cell, then
             four sums over cells. Amounts are summed as integers and distinct methods are bits of a word, which is
             exact and cheaper, but takes a look at the data first (`vocabulary`) and at most 63 methods.

*history*, per spine row:
  `frames`   RANGE frames over the union of payments and spine.
  `join`     every pair of a spine row and a payment of its user in the year before, then FILTERs.
"""

from task import DAY, WINDOWS

CASH = "payment_method = 'cash on delivery'"

VOCABULARY = "select distinct delivery_method from purchase_order where delivery_method is not null order by 1"


def snapshot_filters(micros: str, as_of: int) -> str:
    columns = []
    for days in WINDOWS:
        within = f"filter (where age <= {days * DAY})"
        cash = f"filter (where age <= {days * DAY} and {CASH})"
        columns += [
            f"count(*) {within} as payments_{days}d",
            f"sum(amount) {within} as amount_sum_{days}d",
            f"avg(cast(amount as double)) {within} as amount_mean_{days}d",
            f"min(amount) {within} as amount_min_{days}d",
            f"max(amount) {within} as amount_max_{days}d",
            f"stddev_samp(cast(amount as double)) {within} as amount_stddev_{days}d",
            f"count(*) {cash} as cod_payments_{days}d",
            f"sum(amount) {cash} as cod_amount_{days}d",
            f"avg(cast(order_amount as double)) {within} as order_amount_mean_{days}d",
            f"max(order_amount) {within} as order_amount_max_{days}d",
            f"count(distinct delivery_method) {within} as delivery_methods_{days}d",
        ]
    return f"select user_id, {', '.join(columns)} from ({order_payments(micros, as_of)}) as joined group by user_id"


def snapshot_cells(micros: str, as_of: int, vocabulary: list[str]) -> str:
    edges = " ".join(f"when age <= {days * DAY} then {cell}" for cell, days in enumerate(WINDOWS))
    bits = " ".join(f"when '{method}' then {1 << bit}" for bit, method in enumerate(vocabulary))
    columns = []
    for cell, days in enumerate(WINDOWS):
        within = f"filter (where cell <= {cell})"
        rows, cents = f"sum(payments) {within}", f"sum(cents) {within}"
        spread = f"({rows} * sum(squares) {within} - {cents} * {cents})"
        columns += [
            f"cast(coalesce({rows}, 0) as bigint) as payments_{days}d",
            f"{money(cents)} as amount_sum_{days}d",
            f"cast({cents} as double) / (100.0e0 * {rows}) as amount_mean_{days}d",
            f"min(least) {within} as amount_min_{days}d",
            f"max(greatest) {within} as amount_max_{days}d",
            f"sqrt(cast({spread} as double) / nullif({rows} * ({rows} - 1), 0)) / 100.0e0 as amount_stddev_{days}d",
            f"cast(coalesce(sum(cash_payments) {within}, 0) as bigint) as cod_payments_{days}d",
            f"{money(f'sum(cash_cents) {within}')} as cod_amount_{days}d",
            f"cast(sum(order_cents) {within} as double) / (100.0e0 * nullif(sum(orders) {within}, 0))"
            f" as order_amount_mean_{days}d",
            f"max(order_greatest) {within} as order_amount_max_{days}d",
            f"coalesce(bit_count(bit_or(methods) {within}), 0) as delivery_methods_{days}d",
        ]
    return f"""
        with in_cells as (
            select
                user_id, amount, order_amount, payment_method,
                case {edges} end as cell,
                cast(amount * 100 as bigint) as cents,
                cast(order_amount * 100 as bigint) as order_cents,
                cast(case delivery_method {bits} end as bigint) as method
            from ({order_payments(micros, as_of)}) as joined
        ),
        cells as (
            select
                user_id, cell,
                count(*) as payments,
                cast(sum(cents) as bigint) as cents,
                cast(sum(cents * cents) as bigint) as squares,
                min(amount) as least,
                max(amount) as greatest,
                count(*) filter (where {CASH}) as cash_payments,
                cast(sum(cents) filter (where {CASH}) as bigint) as cash_cents,
                count(order_cents) as orders,
                cast(sum(order_cents) as bigint) as order_cents,
                max(order_amount) as order_greatest,
                bit_or(method) as methods
            from in_cells
            group by user_id, cell
        )
        select user_id, {', '.join(columns)} from cells group by user_id"""


def order_payments(micros: str, as_of: int) -> str:
    """Payments of the widest window with the order each pays for, and how old they are at as_of."""
    return f"""
        select
            p.user_id, p.amount, p.payment_method, {as_of} - {micros}(p.paid_at) as age,
            o.amount as order_amount, o.delivery_method
        from payment as p
        left join purchase_order as o on o.purchase_id = p.purchase_id and o.ordered_at <= p.paid_at
        where {as_of} - {micros}(p.paid_at) between 1 and {WINDOWS[-1] * DAY}"""


def money(cents: str) -> str:
    return f"cast(cast({cents} as decimal(20, 0)) * 0.01 as decimal(38, 2))"


def history_frames(micros: str) -> str:
    columns, frames = [], []
    for days in WINDOWS:
        columns.append(f"count(amount) over w{days} as payments_{days}d")
        columns.append(f"sum(amount) over w{days} as amount_sum_{days}d")
        columns.append(f"max(amount) over w{days} as amount_max_{days}d")
        frame = f"range between {days * DAY} preceding and 1 preceding"
        frames.append(f"w{days} as (partition by user_id order by moment {frame})")
    return f"""
        select * from (
            select _row, {', '.join(columns)}
            from (
                select user_id, {micros}(paid_at) as moment, amount, cast(null as bigint) as _row from payment
                union all
                select user_id, {micros}(as_of) as moment, null as amount, _row from spine
            ) as events
            window {', '.join(frames)}
        ) as framed
        where _row is not null"""


def history_join(micros: str) -> str:
    columns = []
    for days in WINDOWS:
        within = f"filter (where age <= {days * DAY})"
        columns.append(f"count(amount) {within} as payments_{days}d")
        columns.append(f"sum(amount) {within} as amount_sum_{days}d")
        columns.append(f"max(amount) {within} as amount_max_{days}d")
    return f"""
        select _row, {', '.join(columns)}
        from (
            select s._row, s.moment - p.moment as age, p.amount
            from (select user_id, {micros}(as_of) as moment, _row from spine) as s
            join (select user_id, {micros}(paid_at) as moment, amount from payment) as p
                on p.user_id = s.user_id and p.moment < s.moment and p.moment >= s.moment - {WINDOWS[-1] * DAY}
        ) as pairs
        group by _row"""
