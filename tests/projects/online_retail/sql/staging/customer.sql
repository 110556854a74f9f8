select user_id from order_line
union
select user_id from return_line
