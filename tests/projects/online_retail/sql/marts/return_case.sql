-- The label file asks at the start of each month about whoever ordered in 90 days. The same may be asked on the 15th.
with instant as (
  select distinct date_trunc('month', ordered_at) + interval '14 days' as as_of from purchase
),
span as (select min(ordered_at) as first_order, max(ordered_at) as last_order from purchase),
asked as (
  select purchase.user_id, instant.as_of
  from instant
  cross join span
  join purchase
    on purchase.ordered_at < instant.as_of and purchase.ordered_at >= instant.as_of - interval '90 days'
  where
    instant.as_of >= span.first_order + interval '30 days'
    and instant.as_of + interval '30 days' <= span.last_order
  group by purchase.user_id, instant.as_of
)
select entity_id as user_id, as_of, label from labels
union all
select
  asked.user_id,
  asked.as_of,
  max(case when return_note.return_id is null then 0 else 1 end) as label
from asked
left join return_note
  on return_note.user_id = asked.user_id
  and return_note.returned_at >= asked.as_of
  and return_note.returned_at < asked.as_of + interval '30 days'
group by asked.user_id, asked.as_of
