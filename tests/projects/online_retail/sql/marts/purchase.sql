select
  purchase_id,
  user_id,
  max(ordered_at) as ordered_at,
  sum(value) as value,
  count(*) as lines,
  sum(cast(quantity as bigint)) as pieces,
  avg(cast(unit_price as double)) as mean_price
from order_line
group by purchase_id, user_id
