select user_id from "user"
