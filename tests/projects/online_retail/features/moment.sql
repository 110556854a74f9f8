select s._row, cast(date_part('day', s.as_of) as int) as day from spine s
