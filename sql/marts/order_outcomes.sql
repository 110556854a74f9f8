select
    bad.purchase_id,
    bad.user_id,
    bad.outcome_at,
    bad.outcome,
    bad.reason,
    bad.refund_amount,
    o.ordered_at,
    o.amount as order_amount,
    o.delivery_method,
    (date_part('epoch', bad.outcome_at) - date_part('epoch', o.ordered_at)) / 86400 as days_since_order
from (
    select purchase_id, user_id, cancelled_at as outcome_at, 'cancelled' as outcome, reason,
        cast(null as decimal(18, 2)) as refund_amount
    from cancellation
    union all
    select purchase_id, user_id, refused_at, 'refused', reason, cast(null as decimal(18, 2))
    from refusal
    union all
    select purchase_id, user_id, returned_at, 'returned', reason, refund_amount
    from "return"
) as bad
left join purchase_order as o
    on o.purchase_id = bad.purchase_id
    and o.ordered_at <= bad.outcome_at
