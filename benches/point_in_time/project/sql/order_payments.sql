-- An order is paid within five days. One that claims to be younger than its payment is no partner.
select
  p.payment_id,
  p.user_id,
  p.purchase_id,
  p.paid_at,
  p.amount,
  p.payment_method,
  o.ordered_at,
  o.delivery_method,
  o.items,
  o.amount as order_amount
from payment as p
left join purchase_order as o
  on o.purchase_id = p.purchase_id
  and o.ordered_at <= p.paid_at
