select
  loan_id,
  user_id,
  'opened' as kind,
  event_time as happened_at,
  term_days,
  cast(null as double) as lateness,
  date_part('hour', event_time) / 24.0 + date_part('minute', event_time) / 1440.0 as part_of_day
from loan
union all
select
  loan_id,
  user_id,
  kind,
  paid_at as happened_at,
  term_days,
  lateness,
  cast(null as double) as part_of_day
from loan_repayment
where kind = 'closed'
