select
    l.loan_id,
    l.user_id,
    l.purchase_id,
    l.opened_at,
    l.amount as principal,
    l.instalments,
    cast(l.amount / l.instalments as decimal(18, 2)) as instalment_amount,
    o.delivery_method
from instalment_loan as l
left join purchase_order as o
    on o.purchase_id = l.purchase_id
    and o.ordered_at <= l.opened_at
