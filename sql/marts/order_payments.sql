-- A payment takes at most a few days: cash on delivery is paid when the parcel comes. An order that claims to be
-- younger than its payment is no partner, so that nothing in a row is later than paid_at.
select
    p.payment_id,
    p.user_id,
    p.purchase_id,
    p.paid_at,
    p.amount,
    p.payment_method,
    p.channel,
    o.ordered_at,
    o.delivery_method,
    o.items,
    o.amount as order_amount,
    (date_part('epoch', p.paid_at) - date_part('epoch', o.ordered_at)) / 3600 as hours_to_pay
from payment as p
left join purchase_order as o
    on o.purchase_id = p.purchase_id
    and o.ordered_at <= p.paid_at
