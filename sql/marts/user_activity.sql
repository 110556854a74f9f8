select
    visit_id as event_id,
    'visit' as kind,
    user_id,
    visited_at as occurred_at,
    page,
    category,
    cast(null as varchar) as device,
    cast(null as decimal(18, 2)) as amount
from visit
union all
select login_id, 'login', user_id, logged_in_at, cast(null as varchar), cast(null as varchar), device,
    cast(null as decimal(18, 2))
from login
union all
select purchase_id, 'order', user_id, ordered_at, cast(null as varchar), cast(null as varchar), cast(null as varchar),
    amount
from purchase_order
union all
select geo_address_id, 'address', user_id, created_at, cast(null as varchar), cast(null as varchar),
    cast(null as varchar), cast(null as decimal(18, 2))
from delivery_address
union all
select subscription_event_id, concat('smart_', action), user_id, changed_at, cast(null as varchar),
    cast(null as varchar), cast(null as varchar), cast(null as decimal(18, 2))
from smart_subscription
