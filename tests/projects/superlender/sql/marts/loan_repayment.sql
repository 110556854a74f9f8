-- A row's time is its payment's: what it says of the loan was known before. Frames only look back.
with held as (
  select
    repayment.loan_id,
    repayment.user_id,
    repayment.kind,
    repayment.event_time as paid_at,
    repayment.days_late,
    loan.term_days,
    (date_part('epoch', repayment.event_time) - date_part('epoch', loan.event_time)) / 86400.0 as days_held
  from repayment
  join loan on loan.loan_id = repayment.loan_id
),
measured as (
  select
    *,
    least(greatest(days_late, -10.0), 20.0) as lateness,
    days_held / cast(term_days as double) as term_used,
    least(days_held / cast(term_days as double), 2.0) as term_used_capped,
    power(1.4, cast(row_number() over (partition by user_id, kind order by paid_at, loan_id) as double)) as weight
  from held
)
select
  loan_id,
  user_id,
  kind,
  paid_at,
  days_late,
  lateness,
  days_held,
  term_days,
  term_used,
  cast(date_part('hour', paid_at) as int) as paid_hour,
  (
    date_part('epoch', paid_at)
    - date_part('epoch', lag(paid_at) over (partition by loan_id order by paid_at, kind desc))
  ) / 86400.0 as days_since_first_repayment,
  avg(lateness) over (
    partition by user_id, kind order by paid_at, loan_id rows between 2 preceding and current row
  ) as recent_lateness,
  avg(term_used_capped) over (
    partition by user_id, kind order by paid_at, loan_id rows between 2 preceding and current row
  ) as recent_term_used,
  sum(weight * lateness) over (
    partition by user_id, kind order by paid_at, loan_id rows between unbounded preceding and current row
  ) / sum(weight) over (
    partition by user_id, kind order by paid_at, loan_id rows between unbounded preceding and current row
  ) as weighted_lateness,
  sum(weight * term_used_capped) over (
    partition by user_id, kind order by paid_at, loan_id rows between unbounded preceding and current row
  ) / sum(weight) over (
    partition by user_id, kind order by paid_at, loan_id rows between unbounded preceding and current row
  ) as weighted_term_used
from measured
