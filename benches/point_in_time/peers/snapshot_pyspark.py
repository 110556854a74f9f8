"""PySpark: 44 windowed aggregates of every user with a payment in the last year, at one as_of."""

import spark
import sql
from task import Task, main


def snapshot(task: Task, session) -> None:
    spark.views(session, payment=task.payment_files(), purchase_order=task.order_files())
    if task.form == "filters":
        query = sql.snapshot_filters(spark.MICROS, task.as_of_micros)
    else:
        vocabulary = [row[0] for row in session.sql(sql.VOCABULARY).collect()]
        query = sql.snapshot_cells(spark.MICROS, task.as_of_micros, vocabulary)
    spark.write(session, query, task)


if __name__ == "__main__":
    main(snapshot, spark.start)
