//! Which queries an incremental table may have: those that are local to a date.

use super::one_table;

/// What compiling an incremental `t` says; empty if nothing.
fn says(sql: &str, head: &str) -> String {
    let head = format!("materialized: incremental\nevent_time: paid_at\n{head}");
    let (_, _, out) = one_table(sql, &head, "payment_id paid_at x");
    let text: Vec<String> = out
        .iter()
        .filter(|d| !d.message.contains("document") && !d.message.contains("`columns` of"))
        .map(ToString::to_string)
        .collect();
    text.join("\n---\n")
}

#[test]
fn local_queries_pass() {
    for sql in [
        "select payment_id, paid_at, amount as x from payment where amount > 0",
        "select payment_id, paid_at, 1 as x from payment union all select order_id, ordered_at, 2 from purchase_order",
        "select p.payment_id, p.paid_at, o.delivery_method as x from payment p left join purchase_order o \
         on p.order_id = o.order_id and p.event_date = o.event_date",
        "select p.payment_id, p.paid_at, o.delivery_method as x from payment p left join purchase_order o \
         on p.order_id = o.order_id and cast(p.paid_at as date) = date_trunc('day', o.ordered_at)",
        "select p.payment_id, p.paid_at, c.name as x from payment p left join country c on p.user_id = c.code",
        "select user_id as payment_id, cast(event_date as timestamp) as paid_at, count(*) as x from payment \
         group by user_id, event_date",
        "select user_id as payment_id, date_trunc('day', paid_at) as paid_at, sum(amount) as x from payment \
         group by user_id, date_trunc('day', paid_at)",
        "select distinct payment_id, paid_at, 1 as x from payment",
        "select payment_id, paid_at, row_number() over (partition by user_id, event_date order by paid_at) as x from payment",
        "with p as (select * from payment) select payment_id, paid_at, 1 as x from p where user_id in (select code from country)",
        "select payment_id, paid_at, 1 as x from payment order by paid_at",
    ] {
        assert_eq!(says(sql, ""), "", "{sql}");
    }
}

#[test]
fn what_is_not_local_is_refused_with_advice() {
    for (sql, what, advice) in [
        (
            "select p.payment_id, p.paid_at, 1 as x from payment p join purchase_order o on p.order_id = o.order_id",
            "a join of rows of different days",
            "`lookback`",
        ),
        (
            "select user_id as payment_id, max(paid_at) as paid_at, 1 as x from payment group by user_id",
            "an aggregate",
            "group by event_date",
        ),
        (
            "select payment_id, paid_at, lag(amount) over (partition by user_id order by paid_at) as x from payment",
            "a window",
            "partition by event_date",
        ),
        (
            "select payment_id, paid_at + interval '1 day' as paid_at, 1 as x from payment",
            "the event time `paid_at`",
            "as it is",
        ),
        (
            "select distinct user_id as payment_id, cast('2024-01-01' as timestamp) as paid_at, 1 as x from payment",
            "`distinct`",
            "select event_date",
        ),
        (
            "select payment_id, paid_at, 1 as x from payment where user_id in (select user_id from purchase_order)",
            "`in` or `exists`",
            "event_date",
        ),
        (
            "select code as payment_id, cast('2024-01-01' as timestamp) as paid_at, 1 as x from country",
            "needs an input with days",
            "materialized: full",
        ),
        ("select payment_id, paid_at, 1 as x from payment limit 3", "`limit`", "row_number()"),
    ] {
        let text = says(sql, "");
        assert!(text.contains(what) && text.contains(advice), "{sql}\n{text}");
    }
}

#[test]
fn a_declared_reach_lets_days_meet_around_the_row_that_has_the_time() {
    let join = |kind: &str, time: &str| {
        format!(
            "select p.payment_id, {time} as paid_at, 1 as x from payment p {kind} join purchase_order o on p.order_id = o.order_id"
        )
    };
    for sql in [
        join("inner", "p.paid_at"),
        join("left", "p.paid_at"),
        join("inner", "o.ordered_at"),
        join("right", "o.ordered_at"),
    ] {
        assert_eq!(says(&sql, "lookback: 45d"), "", "{sql}");
    }
    for sql in [join("right", "p.paid_at"), join("full", "p.paid_at"), join("left", "o.ordered_at")] {
        assert!(says(&sql, "lookback: 45d").contains("keeps rows of other days"), "{sql}");
    }
}

#[test]
fn full_tables_may_do_all_of_it_but_limit() {
    for (sql, says) in [
        ("select user_id as x, max(paid_at) as y from payment group by user_id", ""),
        (
            "select p.payment_id as x, o.user_id as y from payment p full join purchase_order o on p.order_id = o.order_id",
            "",
        ),
        ("select payment_id as x, (select max(ordered_at) from purchase_order) as y from payment", ""),
        (
            "select payment_id as x, 1 as y from payment where exists (select 1 from purchase_order o where o.order_id = payment.order_id)",
            "",
        ),
        ("select payment_id as x, 1 as y from payment where user_id not in (select user_id from purchase_order)", ""),
        ("select payment_id as x, unnest([1, 2]) as y from payment", ""),
        ("select x, y from (values ('a', 1), ('b', 2)) as v(x, y)", ""),
        ("select payment_id as x, 1 as y from payment order by paid_at limit 3", "`limit`"),
        (
            "select distinct on (user_id) payment_id as x, 1 as y from payment order by user_id, paid_at",
            "`distinct on`",
        ),
        (
            "select payment_id as x, 1 as y from payment where amount > 0 or user_id in (select user_id from purchase_order)",
            "beside `or`",
        ),
    ] {
        let (_, _, out) = one_table(sql, "materialized: full", "x y");
        let text: Vec<String> = out.iter().map(ToString::to_string).collect();
        match says {
            "" => assert!(text.is_empty(), "{sql}\n{}", text.join("\n")),
            says => assert!(text.len() == 1 && text[0].contains(says), "{sql}\n{}", text.join("\n")),
        }
    }
}
