select
    repayment_id,
    loan_id,
    user_id,
    recorded_at,
    kind,
    instalment_no,
    due_at,
    paid_at,
    amount,
    case when kind = 'paid' then days_late end as days_late,
    kind = 'paid' and days_late >= 1 as is_late,
    kind = 'paid' and paid_at < due_at as is_early
from repayment
