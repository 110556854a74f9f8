select user_id from loan
union
select user_id from demographics
