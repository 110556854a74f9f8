select 'purchase' as kind, purchase_id as event_id, user_id, ordered_at as happened_at, value, lines from purchase
union all
select 'return' as kind, return_id as event_id, user_id, returned_at as happened_at, value, lines from return_note
