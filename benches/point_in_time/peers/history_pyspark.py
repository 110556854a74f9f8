"""PySpark: count, sum and greatest amount of four windows before each row of a spine."""

import spark
import sql
from task import Task, main


def history(task: Task, session) -> None:
    spark.views(session, payment=task.payment_files(), spine=[str(task.spine)])
    form = sql.history_frames if task.form == "frames" else sql.history_join
    spark.write(session, form(spark.MICROS), task)


if __name__ == "__main__":
    main(history, spark.start)
