"""Lakes on which one more night is to be computed: everything of the last night is there but its features.

A lake is built once by the product's own jobs, and each run gets a copy. Copies, and the raw days a shorter history is
made of, are hard links: neither a lake nor a feed changes a file in place.
"""

import os
import shutil
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import polars as pl


class Lakes:
    def __init__(self, data, arguments, command: str, project: Path) -> None:
        self.data, self.arguments, self.timed, self.project = data, arguments, command, project

    def build(self, histories: list[int]) -> list["Lake"]:
        """A lake for each number of days, the last night among them; none without the binary."""
        if not self.arguments.scorehouse:
            print("Scorehouse is not built: the peers run among themselves", file=sys.stderr)
            return []
        too_long = [days for days in histories if days > self.data.days]
        if too_long:
            raise SystemExit(f"--histories {too_long}: the data has {self.data.days} days")
        return [self.lake(days) for days in histories]

    def lake(self, days: int) -> "Lake":
        root = self.arguments.work / f"lake_{days}"
        shutil.rmtree(root, ignore_errors=True)
        self.link_raw(root / "raw", days)
        lake = Lake(root, self)
        last, before = self.data.last, self.data.last - timedelta(1)
        for night, jobs in [(before, ["ingest", "tables", "features"]), (last, ["ingest", "tables"])]:
            for job in jobs:
                lake.run_job(job, night)
        return lake

    def link_raw(self, raw: Path, days: int) -> None:
        """The last days of the data, as the only ones there are."""
        for source in ("payment", "purchase_order"):
            for day in sorted((self.data.root / source).glob("day=*"))[-days:]:
                link_tree(day, raw / source / day.name)
        link(self.data.root / "users.parquet", raw / "users.parquet")


class Lake:
    def __init__(self, root: Path, lakes: Lakes) -> None:
        self.root, self.lakes = root, lakes
        self.name = f"Scorehouse, {root.name.removeprefix('lake_')} days"

    def run_job(self, job: str, night: date) -> None:
        """A job that only leads up to the timed one, and so is not limited."""
        print(f"  {self.name}: {job} of {night}", file=sys.stderr)
        command = self.filled(self.lakes.timed.replace(" features ", f" {job} "), self.root / "lake", night)
        with (self.root / "jobs.log").open("a") as log:
            if subprocess.run(command, stdout=log, stderr=log, check=False).returncode != 0:
                raise SystemExit(f"{' '.join(command)} failed; see {self.root / 'jobs.log'}")

    def restore(self, at: Path) -> None:
        shutil.rmtree(at, ignore_errors=True)
        link_tree(self.root / "lake", at)

    def command(self, at: Path) -> list[str]:
        return self.filled(self.lakes.timed, at, self.lakes.data.last, self.lakes.arguments.memory_limit)

    def read(self, at: Path) -> pl.DataFrame:
        """The night's features, whether the table keeps one night or all."""
        features = pl.read_delta(str(at / "features" / "bench"))
        if "logical_date" in features.columns:
            features = features.filter(pl.col("logical_date") == self.lakes.data.last)
        return features

    def filled(self, command: str, at: Path, night: date, limit: str | None = None) -> list[str]:
        arguments, profile = self.lakes.arguments, self.root / "profile.yaml"
        settings = {"lake": at.absolute(), "raw": (self.root / "raw").absolute(), "threads": arguments.threads}
        if limit:
            settings["memory_limit"] = limit
        profile.write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        values = {"scorehouse": arguments.scorehouse, "project": self.lakes.project, "profile": profile}
        return [part.format(**values, date=night) for part in command.split()]


def link_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=lambda a, b: link(Path(a), Path(b)))


def link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the two lie on different disks."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
