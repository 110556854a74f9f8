select entity_id as user_id, as_of, label from labels
