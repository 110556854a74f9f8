select
    user_id,
    registered_at,
    country,
    gender,
    email_digits,
    email_separated,
    email_free
from "user"
