-- What a user owes at an instant. Whether a loan is still open depends on how many of its own instalments have been
-- paid by then, so each loan has to be looked at on its own before those of a user are added up: two steps, over two
-- tables, where a group takes one over one.
with open_loan as (
    select
        s._row,
        l.amount - coalesce(sum(r.amount) filter (where r.kind = 'paid'), 0) as owed,
        -- Instalments are due every 30 days, and the first that is not paid is the one to ask about.
        (date_part('epoch', s.as_of) - date_part('epoch', l.opened_at)) / 86400
            - 30 * (count(*) filter (where r.kind = 'paid') + 1) as days_overdue
    from spine as s
    join instalment_loan as l
        on l.user_id = s.user_id
        and l.opened_at < s.as_of
        and l._known_from <= s.as_of and (l._known_until is null or s.as_of < l._known_until)
    left join repayments as r
        on r.loan_id = l.loan_id
        and r.recorded_at < s.as_of
        and r._known_from <= s.as_of and (r._known_until is null or s.as_of < r._known_until)
    group by s._row, s.as_of, l.loan_id, l.opened_at, l.amount, l.instalments
    having count(*) filter (where r.kind = 'paid') < l.instalments
        and count(*) filter (where r.kind = 'defaulted') = 0
)
select
    s._row,
    count(o._row) as loans,
    cast(sum(o.owed) as decimal(18, 2)) as owed,
    max(o.days_overdue) as days_overdue
from spine as s
left join open_loan as o on o._row = s._row
group by s._row
