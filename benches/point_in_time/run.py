"""Scorehouse and its peers on the same data, side by side in one run, their results checked equal before timing.

    run.py --data DIR [--bench snapshot history incremental growth] [--repeat N] [--memory-limit 1GiB] …

Every run of everybody is a process of its own. First each form of each peer runs once: it must give the same numbers as
all others, warms the files' cache, and settles which form of a peer is its fastest. Then the fastest forms and
Scorehouse take turns, N times. What is shown are medians, and the median over the turns of a peer's time divided by
Scorehouse's in the same turn.
"""

import argparse
import json
import os
import sys
from datetime import date, timedelta
from pathlib import Path


import report
from contest import Contestant, Job, Peer, Program, contest
from lake import Lakes

HERE = Path(__file__).parent

SCOREHOUSE = {
    "snapshot": "{bench} snapshot --payments {payments} --orders {orders} --as-of {as_of} --out {out}",
    "history": "{bench} history --payments {payments} --spine {spine} --out {out}",
    # Ingest, tables and features of the last but one night, ingest and tables of the last; this one is timed:
    "features": "{scorehouse} features --project {project} --profile {profile} --date {date} --json",
}
"""How Scorehouse is called. `snapshot` and `history` write the columns that the peers write: `user_id` or `_row`, then
`payments_7d`, `amount_sum_7d` … as in project/features/bench.yaml. A limit is added as `--memory-limit 1GiB`."""

PEERS = {
    "snapshot": {
        "DuckDB": ("snapshot_duckdb.py", ["filters", "cells"]),
        "Polars": ("snapshot_polars.py", ["filters", "cells"]),
        "PySpark": ("snapshot_pyspark.py", ["filters", "cells"]),
    },
    "history": {
        "DuckDB": ("history_duckdb.py", ["frames", "join"]),
        "PySpark": ("history_pyspark.py", ["frames", "join"]),
    },
}
"""Each with the forms in which it can be asked (peers/sql.py); the faster one counts."""

NAMES = ["duckdb", "polars", "pyspark"]

BENCHES = ["snapshot", "history", "incremental", "growth"]


def main(arguments: argparse.Namespace) -> int:
    data = Data(arguments.data)
    for bench in arguments.bench:
        title, notes = headline(bench, data, arguments)
        print(f"\n{title}", file=sys.stderr)
        entrants, key = contestants(bench, data, arguments)
        results = contest(entrants, key, arguments.repeat, arguments.timeout, arguments.work)
        if results is None:
            return 1
        report.publish(report.section(title, notes, results), arguments.results)
    return 0


class Data:
    """What data.py wrote, and the instants that follow from it."""

    def __init__(self, root: Path) -> None:
        said = json.loads((root / "data.json").read_text())
        self.root = root.absolute()
        self.users, self.payments, self.days = int(said["users"]), int(said["payments"]), int(said["days"])
        self.spine = int(said["spine"])
        self.last = date.fromisoformat(said["end"])

    @property
    def as_of(self) -> str:
        """The end of the last night."""
        return f"{self.last + timedelta(1)}T00:00:00Z"

    def paths(self) -> dict[str, Path]:
        names = {"payments": "payment", "orders": "purchase_order", "spine": "spine.parquet"}
        return {name: self.root / path for name, path in names.items()}


def contestants(bench: str, data: Data, arguments: argparse.Namespace) -> tuple[list[Contestant], str | None]:
    """Who takes part, Scorehouse first, and the column that identifies a row of the results."""
    if bench in ("incremental", "growth"):
        histories = arguments.histories if bench == "growth" else [data.days]
        lakes = Lakes(data, arguments, SCOREHOUSE["features"], HERE / "project")
        entrants: list[Contestant] = [Job(lake) for lake in lakes.build(histories)]
        if bench == "growth":
            # Histories of different length are different questions.
            return entrants, None
        # A peer has no state: its night is a snapshot.
        return entrants + peers("snapshot", data, arguments), "user_id"
    program = []
    if arguments.scorehouse_bench:
        command = SCOREHOUSE[bench].format(
            bench=arguments.scorehouse_bench, as_of=data.as_of, out="{out}", **data.paths()
        )
        program = [Program("Scorehouse", command.split() + limit(arguments))]
    else:
        print("Scorehouse's bench program is not built: the peers run among themselves", file=sys.stderr)
    return program + peers(bench, data, arguments), "user_id" if bench == "snapshot" else "_row"


def peers(bench: str, data: Data, arguments: argparse.Namespace) -> list[Contestant]:
    paths = data.paths()
    options = ["--payments", str(paths["payments"]), "--threads", str(arguments.threads)]
    options += ["--spill", str(arguments.work / "spill")]
    if bench == "snapshot":
        options += ["--orders", str(paths["orders"]), "--as-of", data.as_of]
    else:
        options += ["--spine", str(paths["spine"])]
    entrants: list[Contestant] = []
    for name, (script, forms) in PEERS[bench].items():
        if name.lower() not in arguments.peers:
            continue
        if name == "PySpark" and not pyspark_is_there():
            print("PySpark is not installed here (see benches/peers.sh): left out", file=sys.stderr)
            continue
        command = [sys.executable, str(HERE / "peers" / script), *options, *limit(arguments), "--out", "{out}"]
        entrants.append(Peer(name, command, forms))
    return entrants


def pyspark_is_there() -> bool:
    import importlib.util

    return importlib.util.find_spec("pyspark") is not None and (Path(sys.prefix) / "java/bin/java").exists()


def limit(arguments: argparse.Namespace) -> list[str]:
    return ["--memory-limit", arguments.memory_limit] if arguments.memory_limit else []


def headline(bench: str, data: Data, arguments: argparse.Namespace) -> tuple[str, str]:
    what = {
        "snapshot": "44 windowed aggregates of every user at one as_of, over payments joined with their orders",
        "history": f"{data.spine:,} spine rows × four windows × (count, sum, max)",
        "incremental": "one more night: `scorehouse features` from last night's state, the peers from nothing",
        "growth": "one more night, by the number of days before it",
    }[bench]
    limited = f", in {arguments.memory_limit}" if arguments.memory_limit else ""
    size = f"{data.users:,} users, {data.payments:,} payments and as many orders, {data.days} days"
    command = f"make bench-peers BENCH={bench}" + (f" MEMORY={arguments.memory_limit}" if limited else "")
    notes = f"{what[0].upper()}{what[1:]}. `{command}`, turns: {arguments.repeat}, threads: {arguments.threads}."
    return f"## {bench.capitalize()}: {size}{limited}", notes


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="what data.py wrote")
    parser.add_argument("--work", type=Path, default=Path("/tmp/scorehouse-bench/work"))
    parser.add_argument("--bench", nargs="+", choices=BENCHES, default=["snapshot", "history", "incremental"])
    parser.add_argument("--peers", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--histories", nargs="+", type=int, default=[100, 200, 400], help="days, for growth")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one run")
    parser.add_argument("--memory-limit", help="such as 1GiB")
    parser.add_argument("--scorehouse", type=program, help="the binary, for incremental and growth")
    parser.add_argument("--scorehouse-bench", type=program, help="the bench program, for snapshot and history")
    parser.add_argument("--results", type=Path, help="a file to which the tables are appended")
    return parser.parse_args()


def program(path: str) -> str | None:
    """The path, or none where nothing is built there: then the peers run among themselves."""
    return path if Path(path).is_file() else None


if __name__ == "__main__":
    sys.exit(main(parse()))
