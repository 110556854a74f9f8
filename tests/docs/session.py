"""A page is followed from its top to its end: in a copy of the project, by one shell and one Python that live as long."""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from pages import Block, commands, differs

ROOT = Path(__file__).resolve().parents[2]

# What a project is made of, and what commands of pages name beside it.
COPIED = ("sql", "features", "models", "orchestration", "benches", "Makefile", "Cargo.toml", "Cargo.lock")

# Longest that one command may take, on a machine that has other things to do.
SECONDS = 240

# Reads blocks, one as JSON on a line, and runs them as if they were typed one after the other.
PYTHON = r"""
import json, sys, traceback
said = sys.stdout
names = {"__name__": "__main__"}
for line in sys.stdin:
    block = json.loads(line)
    sys.stdout = open(block["out"], "w")
    try:
        exec(compile("\n" * (block["line"] - 1) + block["text"], block["page"], "exec"), names)
        error = ""
    except BaseException:
        error = traceback.format_exc()
    sys.stdout.close()
    print(json.dumps(error), file=said, flush=True)
"""


class Failed(Exception):
    """What is said of a command that did not do what its page says."""


class Session:
    """The surroundings of one page."""

    def __init__(self, scratch: Path, scorehouse: Path, python: str, lake: dict[str, Path]):
        """`lake` has what lies in the project already: `raw` and `lake`, copied from there."""
        self.work = scratch / "project"
        self.notes = scratch / "notes"
        self.python = python
        self.shell = self.child = None
        self.seconds: list[tuple[float, str]] = []
        self.work.mkdir(parents=True)
        self.notes.mkdir()
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, self.work / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy2(source, self.work / name)
        for name, source in lake.items():
            subprocess.run(["cp", "-a", source, self.work / name], check=True)
        self.environment = self.surroundings(scratch, scorehouse)

    def surroundings(self, scratch: Path, scorehouse: Path) -> dict[str, str]:
        """A home in which the binary and the tools lie where `make` puts them by default."""
        home, programs = scratch / "home", scratch / "bin"
        cache = home / ".cache/scorehouse"
        (cache / "target/debug").mkdir(parents=True)
        programs.mkdir()
        for path in (cache / "target/debug/scorehouse", programs / "scorehouse"):
            path.symlink_to(scorehouse)
        tools = Path(self.python).parents[2]
        (cache / "tools").symlink_to(tools)
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("SCOREHOUSE", "AWS_"))}
        path = f"{programs}:{Path(self.python).parent}:{os.environ['PATH']}"
        return keep | {"HOME": str(home), "PATH": path, "TZ": "UTC", "LC_ALL": "C.UTF-8"}

    def close(self) -> None:
        for process in (self.shell, self.child):
            if process:
                process.stdin.close()
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                process.stdout.close()

    def follow(self, block: Block) -> str:
        """Does what a block says; the answer is what was done with it."""
        if "not run" in block.marks:
            if not block.marks["not run"]:
                raise Failed(f"{block.place}: `not run:` without a reason")
            return "not run"
        if "printed" in block.marks:
            self.compare(block)
            return "compared"
        if "file" in block.marks or "insert" in block.marks:
            self.write(block)
            return "written"
        language = block.language.split()[0] if block.language else ""
        if language in ("sh", "console"):
            self.type(block)
            return "run"
        if language == "python":
            self.execute(block)
            return "run"
        if language == "sql":
            (self.notes / "query.sql").write_text(block.text)
            query = Block(block.page, block.line, "sh", f"scorehouse query < {self.notes / 'query.sql'}\n", block.marks)
            self.type(query)
            return "run"
        if language == "yaml":
            try:
                yaml.safe_load(block.text)
            except yaml.YAMLError as error:
                raise Failed(f"{block.place}: no YAML\n{error}") from None
            return "parsed"
        return "shown"

    def write(self, block: Block) -> None:
        if "file" in block.marks:
            path = self.work / block.marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            return
        name, _, text = block.marks["insert"].partition(" after ")
        path = self.work / name
        lines = path.read_text().splitlines()
        at = after(lines, text)
        if at == 0:
            raise Failed(f"{block.place}: no line of {name} holds {text!r}")
        new = block.text.splitlines()
        path.write_text("\n".join(lines[:at] + new[after(new, text) :] + lines[at:]) + "\n")

    def compare(self, block: Block) -> None:
        printed = (self.notes / "python.out").read_text()
        if differs(block.text.splitlines(), printed):
            raise Failed(f"{block.place}: the python above prints other than is shown\n--- printed\n{printed}")

    def type(self, block: Block) -> None:
        typed = commands(block)
        if not typed:
            raise Failed(f"{block.place}: a block of {block.language} without a command")
        for command in typed:
            last = command is typed[-1]
            expected = int(block.marks["exit code"]) if last and "exit code" in block.marks else 0
            place = f"{block.page}:{command.line}"
            started = time.monotonic()
            code, out, err = self.run(command.text, place)
            self.seconds.append((time.monotonic() - started, f"{place} {command.text.splitlines()[0]}"))
            told = f"{place}\n$ {command.text}\n"
            if code != expected:
                raise Failed(f"{told}exit code {code}, not {expected}\n{tail(out)}\n{tail(err)}")
            if command.shown and "output varies" not in block.marks:
                if all(differs(command.shown, text) for text in (out, err, out + err, err + out)):
                    shown = "\n".join(command.shown)
                    raise Failed(f"{told}prints other than the page shows\n--- shown\n{shown}\n--- printed\n{out}{err}")

    def run(self, text: str, place: str) -> tuple[int, str, str]:
        """A command in the page's shell: exit code, stdout, stderr."""
        if self.shell is None:
            self.shell = self.start(["bash", "--norc", "--noprofile"])
            self.say(self.shell, "shopt -s expand_aliases")
        typed, out, err = (self.notes / name for name in ("typed", "out", "err"))
        typed.write_text(text + "\n")
        self.say(self.shell, f"source {typed} >{out} 2>{err} </dev/null; echo $?")
        answer = self.hear(self.shell, place, text)
        return int(answer), out.read_text(errors="replace"), err.read_text(errors="replace")

    def execute(self, block: Block) -> None:
        if self.child is None:
            self.child = self.start([self.python, "-c", PYTHON])
        told = {"text": block.text, "page": block.page, "line": block.line, "out": str(self.notes / "python.out")}
        self.say(self.child, json.dumps(told))
        started = time.monotonic()
        error = json.loads(self.hear(self.child, block.place, block.text))
        self.seconds.append((time.monotonic() - started, f"{block.place} python"))
        if error:
            raise Failed(f"{block.place}\n{block.text}\n{error}")

    def start(self, command: list[str]) -> subprocess.Popen:
        return subprocess.Popen(
            command,
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if command[0] == "bash" else None,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def say(self, process: subprocess.Popen, line: str) -> None:
        process.stdin.write(line + "\n")
        process.stdin.flush()

    def hear(self, process: subprocess.Popen, place: str, text: str) -> str:
        """One line of answer, within the time that a command may take."""
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while ready.select(timeout=SECONDS):
                line = process.stdout.readline()
                if not line:
                    raise Failed(f"{place}\n$ {text}\nends the shell in which it is typed")
                # What bash itself says of a process that was killed comes before the answer.
                if process is not self.shell or line.strip().isdigit():
                    return line
        os.killpg(process.pid, signal.SIGKILL)
        raise Failed(f"{place}\n$ {text}\ntakes longer than {SECONDS} s")


def after(lines: list[str], text: str) -> int:
    """How many lines there are up to the first one that holds a text, with it; 0 where none does."""
    return next((number for number, line in enumerate(lines, 1) if text in line), 0)


def tail(text: str, lines: int = 40) -> str:
    return "\n".join(text.splitlines()[-lines:])


def python() -> str:
    """The interpreter that has the readers: the one that runs the tests."""
    return sys.executable
