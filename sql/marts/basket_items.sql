select
    i.purchase_id,
    i.line_no,
    i.user_id,
    i.ordered_at,
    i.product_id,
    i.category,
    i.quantity,
    i.unit_price,
    cast(i.quantity * i.unit_price as decimal(18, 2)) as line_amount,
    o.amount as order_amount,
    o.items as order_lines,
    o.delivery_method
from order_item as i
left join purchase_order as o
    on o.purchase_id = i.purchase_id
    and o.event_date = i.event_date
