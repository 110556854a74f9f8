select user_id from application group by user_id
