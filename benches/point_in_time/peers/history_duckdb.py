"""DuckDB: count, sum and greatest amount of four windows before each row of a spine."""

import duck
import sql
from task import Task, main


def history(task: Task) -> None:
    with duck.connect(task, payment=task.payment_files(), spine=[str(task.spine)]) as connection:
        form = sql.history_frames if task.form == "frames" else sql.history_join
        duck.write(connection, form(duck.MICROS), task)


if __name__ == "__main__":
    main(history)
