select
  purchase_id,
  min(line_no) as line_no,
  user_id,
  event_time as ordered_at,
  product_id,
  quantity,
  unit_price,
  cast(quantity as double) * cast(unit_price as double) as value
from order_item
where user_id is not null
group by purchase_id, user_id, event_time, product_id, description, quantity, unit_price, country
