-- Of a product as many returns are counted as had been booked when the line was ordered: the frame only looks back.
with movement as (
  select 0 as is_return, purchase_id, line_no, user_id, product_id, ordered_at as happened_at, value from order_line
  union all
  select 1 as is_return, return_id as purchase_id, line_no, user_id, product_id, returned_at as happened_at, value
  from return_line
),
counted as (
  select
    *,
    sum(is_return) over (
      partition by product_id
      order by happened_at, is_return, purchase_id, line_no
      rows between unbounded preceding and current row
    ) as returned,
    sum(1 - is_return) over (
      partition by product_id
      order by happened_at, is_return, purchase_id, line_no
      rows between unbounded preceding and current row
    ) as ordered
  from movement
)
select
  purchase_id,
  line_no,
  user_id,
  happened_at as ordered_at,
  cast(returned + 1 as double) / cast(ordered + 50 as double) as risk,
  value * cast(returned + 1 as double) / cast(ordered + 50 as double) as value_at_risk
from counted
where is_return = 0
