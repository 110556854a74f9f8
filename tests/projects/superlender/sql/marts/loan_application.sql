-- The loan's own row and the client's earlier loans: known when the loan is asked for. Nothing of repayments.
with sequenced as (
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
  labels.loan_id,
  labels.entity_id as user_id,
  labels.as_of as applied_at,
  labels.label,
  sequenced.amount,
  sequenced.total_due,
  sequenced.term_days,
  cast(sequenced.total_due as double) / cast(sequenced.amount as double) - 1.0 as interest,
  cast(sequenced.amount as double) / cast(sequenced.previous_amount as double) as amount_growth,
  cast(sequenced.total_due as double) / cast(sequenced.amount as double)
  - cast(sequenced.previous_total_due as double) / cast(sequenced.previous_amount as double) as interest_change,
  cast(date_part('hour', labels.as_of) as int) as applied_hour,
  cast(date_part('dow', labels.as_of) as int) as applied_weekday,
  case
    when sequenced.term_days < 30 then cast(date_part('day', labels.as_of + interval '15 days') as int)
    else cast(date_part('day', labels.as_of + interval '30 days') as int)
  end as due_day,
  (date_part('epoch', labels.as_of) - date_part('epoch', client_profile.birth_date)) / 31557600.0 as age_years,
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
from labels
join sequenced on sequenced.loan_id = labels.loan_id
left join client_profile on client_profile.user_id = labels.entity_id
