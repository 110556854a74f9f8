-- The loan's own row and the client's earlier loans: known when the loan is asked for. Of repayments only the outcome.
with decision as (
  select loan_id, entity_id as user_id, as_of, label, 1 as judged from labels
  union all
  -- Four times as many loans had a first payment before the first of those decisions: what it says is known to all.
  select
    loan.loan_id,
    loan.user_id,
    loan.event_time as as_of,
    case when repayment.days_late > 4.0 then 1 else 0 end as label,
    0 as judged
  from loan
  join repayment on repayment.loan_id = loan.loan_id and repayment.kind = 'first_repayment'
  left join labels on labels.loan_id = loan.loan_id
  cross join (select min(as_of) as first_decision from labels) as judgement
  where labels.loan_id is null and repayment.event_time < judgement.first_decision
),
sequenced as (
  select
    loan_id,
    amount,
    total_due,
    term_days,
    lag(amount) over (partition by user_id order by event_time, loan_id) as previous_amount,
    lag(total_due) over (partition by user_id order by event_time, loan_id) as previous_total_due
  from loan
)
select
  decision.loan_id,
  decision.user_id,
  decision.as_of as applied_at,
  decision.label,
  decision.judged,
  sequenced.amount,
  sequenced.total_due,
  sequenced.term_days,
  cast(sequenced.total_due as double) / cast(sequenced.amount as double) - 1.0 as interest,
  cast(sequenced.amount as double) / cast(sequenced.previous_amount as double) as amount_growth,
  cast(sequenced.total_due as double) / cast(sequenced.amount as double)
  - cast(sequenced.previous_total_due as double) / cast(sequenced.previous_amount as double) as interest_change,
  cast(date_part('hour', decision.as_of) as int) as applied_hour,
  cast(date_part('dow', decision.as_of) as int) as applied_weekday,
  case
    when sequenced.term_days < 30 then cast(date_part('day', decision.as_of + interval '15 days') as int)
    else cast(date_part('day', decision.as_of + interval '30 days') as int)
  end as due_day,
  (date_part('epoch', decision.as_of) - date_part('epoch', client_profile.birth_date)) / 31557600.0 as age_years,
  case client_profile.bank_account_type when 'Savings' then 0 when 'Other' then 1 when 'Current' then 2 end
  as account_type,
  case
    when client_profile.bank_name_clients in ('Diamond Bank', 'Stanbic IBTC', 'Zenith Bank') then 0
    when client_profile.bank_name_clients = 'GT Bank' then 1
    when client_profile.bank_name_clients is not null then 2
  end as bank,
  case client_profile.employment_status_clients
    when 'Permanent' then 0
    when 'Self-Employed' then 1
    when 'Student' then 2
    when 'Unemployed' then 3
    when 'Contract' then 4
    when 'Retired' then 5
  end as employment,
  client_profile.longitude_gps as longitude,
  client_profile.latitude_gps as latitude
from decision
join sequenced on sequenced.loan_id = decision.loan_id
left join client_profile on client_profile.user_id = decision.user_id
