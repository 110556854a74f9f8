-- What the user has paid since the latest application before this one: an interval that ends at one event and starts
-- at another, which no window can say.
with latest as (
  select s._row, max(a.applied_at) as applied_at
  from spine s
  join application a
    on a.user_id = s.user_id
   and a.applied_at < s.as_of
   and a._known_from <= s.as_of and (a._known_until is null or s.as_of < a._known_until)
  group by s._row
)
select s._row, count(p.payment_id) as payments, sum(p.amount) as amount
from spine s
join latest l on l._row = s._row
left join payment p
  on p.user_id = s.user_id
 and p.paid_at >= l.applied_at
 and p.paid_at < s.as_of
 and p._known_from <= s.as_of and (p._known_until is null or s.as_of < p._known_until)
group by s._row
