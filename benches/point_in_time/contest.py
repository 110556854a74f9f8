"""Runs contestants, one process at a time, and watches what they take."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import compare
from peers import memory

POLL = 0.1
"""Seconds between two looks at a process's memory. The kernel keeps the maximum; only the last moment can be missed."""


@dataclass(frozen=True)
class Run:
    seconds: float
    peak: int | None
    parts: dict[str, float] = field(default_factory=dict)
    """Seconds of parts of the work, where the contestant tells them."""


class Failed(Exception):
    """A run that gave no result: it took too long, or stopped with an error."""


class Peer:
    """A script of peers/: times itself, so that neither Python nor Java has to start within its time."""

    def __init__(self, name: str, command: list[str], forms: list[str]) -> None:
        self.name, self.command, self.forms = name, command, forms

    def run(self, form: str, out: Path, timeout: int, log: Path) -> Run:
        command = [part.format(out=out) for part in self.command] + ["--form", form]
        said, _, peak = execute(command, timeout, log)
        return Run(said["seconds"], highest(peak, said["peak_bytes"]))

    def read(self, out: Path):
        return compare.read_parquet(out)


class Program:
    """Scorehouse's bench program: if its last line is JSON with `seconds`, they count as a peer's do."""

    forms = [""]

    def __init__(self, name: str, command: list[str]) -> None:
        self.name, self.command = name, command

    def run(self, form: str, out: Path, timeout: int, log: Path) -> Run:
        said, wall, peak = execute([part.format(out=out) for part in self.command], timeout, log)
        return Run(said.get("seconds", wall), highest(peak, said.get("peak_bytes")))

    def read(self, out: Path):
        return compare.read_parquet(out)


class Job:
    """A job on a lake as it was before the job: the whole process counts, from start to exit."""

    forms = [""]

    def __init__(self, lake) -> None:
        self.lake, self.name = lake, lake.name

    def run(self, form: str, out: Path, timeout: int, log: Path) -> Run:
        self.lake.restore(out)
        said, wall, peak = execute(self.lake.command(out), timeout, log)
        parts = {output["table"]: output["seconds"] for output in said.get("outputs", [])}
        return Run(wall, highest(peak, said.get("peak_memory")), parts)

    def read(self, out: Path):
        return self.lake.read(out)


Contestant = Peer | Program | Job


@dataclass
class Result:
    name: str
    form: str
    runs: list[Run]
    note: str = ""


def contest(entrants: list[Contestant], key: str | None, repeat: int, timeout: int, work: Path) -> list[Result] | None:
    """One checked round, then `repeat` turns of the fastest form of each; None if results differ.

    `key` names the column by which results are compared; without one they are not.
    """
    shutil.rmtree(work / "out", ignore_errors=True)
    (work / "out").mkdir(parents=True)
    finalists, dropped, reference = [], [], None
    for entrant in entrants:
        tried: dict[str, Run] = {}
        for form in entrant.forms:
            who = " ".join(filter(None, [entrant.name, form]))
            out = work / "out" / "".join(letter if letter.isalnum() else "_" for letter in who.lower())
            try:
                tried[form] = entrant.run(form, out, timeout, out.with_suffix(".log"))
            except Failed as failure:
                print(f"  {who}: {failure}", file=sys.stderr)
                dropped.append(Result(entrant.name, form, [], str(failure)))
                continue
            print(f"  {who}: {tried[form].seconds:.2f} s", file=sys.stderr)
            if key is not None:
                answer = compare.normalised(entrant.read(out), key)
                reference = reference or (who, answer)
                faults = compare.differences(reference[1], answer, key)
                if faults:
                    print(f"{who} differs from {reference[0]}:", *faults, sep="\n  ", file=sys.stderr)
                    return None
            remove(out)
        if tried:
            best = min(tried, key=lambda form: tried[form].seconds)
            note = ", ".join(f"{form}: {run.seconds:.1f} s" for form, run in tried.items() if form != best)
            finalists.append((entrant, Result(entrant.name, best, [], note)))
    for turn in range(1, repeat + 1):
        for entrant, result in list(finalists):
            out = work / "out" / "turn"
            try:
                result.runs.append(entrant.run(result.form, out, timeout, out.with_suffix(".log")))
            except Failed as failure:
                print(f"  turn {turn}: {entrant.name}: {failure}", file=sys.stderr)
                finalists.remove((entrant, result))
                dropped.append(Result(entrant.name, result.form, [], str(failure)))
                continue
            finally:
                remove(out)
            print(f"  turn {turn}: {entrant.name} {result.runs[-1].seconds:.2f} s", file=sys.stderr)
    return [result for _, result in finalists] + dropped


def execute(command: list[str], timeout: int, log: Path) -> tuple[dict, float, int | None]:
    """What a command said in its last line as JSON, its seconds, and the highest memory of it and its children."""
    began = time.perf_counter()
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
        watch = Watch(process.pid)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"not done after {timeout} s") from None
        finally:
            peak = watch.stop()
            # Whatever it started dies with it; a Java machine outlives an interpreter that is killed.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        print(f"{' '.join(command)} failed; see {log}", file=sys.stderr)
        raise Failed(f"exit code {process.returncode}")
    return last_json(output), seconds, peak


class Watch:
    """A thread that follows the memory of a process and of those it starts."""

    def __init__(self, process: int) -> None:
        self.process, self.peak, self.done = process, 0, threading.Event()
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self) -> None:
        while not self.done.wait(POLL):
            self.peak = max(self.peak, memory.peak(self.process) or 0)

    def stop(self) -> int | None:
        self.done.set()
        self.thread.join()
        return self.peak or None


def last_json(output: str) -> dict:
    """The JSON object at the end of what a program said, on one line or on several; empty if there is none."""
    for start in (index for index, line in enumerate(output.splitlines()) if line.startswith("{")):
        try:
            return json.loads("\n".join(output.splitlines()[start:]))
        except json.JSONDecodeError:
            continue
    return {}


def highest(*peaks: int | None) -> int | None:
    return max((peak for peak in peaks if peak), default=None)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def ratio(runs: list[Run], against: list[Run]) -> float:
    """The median, over turns, of one contestant's seconds by another's."""
    return statistics.median(run.seconds / other.seconds for run, other in zip(runs, against, strict=True))
