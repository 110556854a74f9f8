select
  return_id,
  user_id,
  max(returned_at) as returned_at,
  sum(value) as value,
  count(*) as lines,
  sum(cast(quantity as bigint)) as pieces
from return_line
group by return_id, user_id
