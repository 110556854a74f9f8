select bank, card_type from payment group by bank, card_type
