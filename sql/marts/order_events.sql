-- What follows an order stands at its own time, never on the order's row: a decision made on the day of the order must
-- not see how it ended.
select
    purchase_id,
    user_id,
    ordered_at as occurred_at,
    'ordered' as event,
    amount,
    items,
    delivery_method,
    cast(null as double) as days_since_order
from purchase_order
union all
select
    d.purchase_id,
    d.user_id,
    d.delivered_at,
    'delivered',
    o.amount,
    o.items,
    d.delivery_method,
    (date_part('epoch', d.delivered_at) - date_part('epoch', o.ordered_at)) / 86400
from delivery as d
left join purchase_order as o
    on o.purchase_id = d.purchase_id
    and o.ordered_at <= d.delivered_at
union all
select
    purchase_id,
    user_id,
    outcome_at,
    outcome,
    order_amount,
    cast(null as int),
    delivery_method,
    days_since_order
from order_outcomes
