"""DuckDB: 44 windowed aggregates of every user with a payment in the last year, at one as_of."""

import duck
import sql
from task import Task, main


def snapshot(task: Task) -> None:
    with duck.connect(task, payment=task.payment_files(), purchase_order=task.order_files()) as connection:
        if task.form == "filters":
            query = sql.snapshot_filters(duck.MICROS, task.as_of_micros)
        else:
            vocabulary = [method for (method,) in connection.execute(sql.VOCABULARY).fetchall()]
            query = sql.snapshot_cells(duck.MICROS, task.as_of_micros, vocabulary)
        duck.write(connection, query, task)


if __name__ == "__main__":
    main(snapshot)
