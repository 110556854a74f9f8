-- A loan of ten instalments can be paid for some 320 days; the look-back leaves a margin.
select
    loan_id as entry_id,
    'lent' as entry,
    loan_id,
    user_id,
    opened_at as booked_at,
    cast(null as int) as instalment_no,
    amount,
    nullif(opened_at, opened_at) as due_at,
    cast(null as int) as days_late,
    false as is_late,
    false as is_early,
    opened_at,
    amount as principal,
    instalments
from instalment_loan
union all
select
    r.repayment_id,
    r.kind,
    r.loan_id,
    r.user_id,
    r.recorded_at,
    r.instalment_no,
    r.amount,
    r.due_at,
    r.days_late,
    r.is_late,
    r.is_early,
    l.opened_at,
    l.amount,
    l.instalments
from repayments as r
left join instalment_loan as l
    on l.loan_id = r.loan_id
    and l.opened_at <= r.recorded_at
