"""Blocks of Markdown pages, and what a comment before a block says of it.

A block is between fences. `sh` and `console` are run, `python` and `sql` too, `yaml` is parsed. What is to happen
otherwise says an HTML comment on the line before the fence, which readers of the page do not see:

    <!-- not run: why -->              it is not; the reason says what runs it instead, or what it needs
    <!-- exit code: 2 -->              its last command ends with that
    <!-- output varies -->             the output that a `console` block shows is not compared
    <!-- file: models/new.yaml -->     it becomes that file
    <!-- insert: f.yaml after TEXT --> it becomes lines of that file, after the first one that holds TEXT; what the block
                                       has up to such a line of its own only says where
    <!-- printed -->                   a `text` block is what the `python` block before it prints
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

RUN = ("sh", "console", "python", "sql", "yaml")
MARKERS = ("not run", "exit code", "output varies", "file", "insert", "printed")

FENCE = re.compile(r"^(\s*)```(.*)$")
COMMENT = re.compile(r"^\s*<!--\s*(.+?)\s*-->\s*$")


@dataclass
class Block:
    page: str
    line: int  # of its first line of text, from 1
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass
class Command:
    line: int
    text: str
    shown: list[str] | None = None  # the output that a console block shows after it


def blocks(text: str, page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, current, indent, marks = [], None, "", {}
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if current is None:
            comment = COMMENT.match(line)
            if fence:
                indent = fence[1]
                current = Block(page, number + 1, fence[2].strip(), "", marks)
                marks = {}
            elif comment:
                marks = marks | mark(comment[1])
            else:
                marks = {}
        elif fence and not fence[2].strip():
            found.append(current)
            current = None
        else:
            current.text += line.removeprefix(indent) + "\n"
    if current is not None:
        raise ValueError(f"{current.place}: the block is never closed")
    return found


def mark(comment: str) -> dict[str, str]:
    """What a comment says, if it is one of ours."""
    for name in MARKERS:
        if comment == name or comment.startswith(f"{name}:"):
            return {name: comment.removeprefix(name).removeprefix(":").strip()}
    return {}


def commands(block: Block) -> list[Command]:
    """What is typed, one after the other. In a console block it stands after `$ `, and its output follows."""
    if block.language == "console":
        return console(block)
    found, lines = [], block.text.splitlines()
    at = 0
    while at < len(lines):
        taken = whole(lines, at)
        text = "\n".join(lines[at : at + taken])
        if any(line.strip() and not line.strip().startswith("#") for line in text.splitlines()):
            found.append(Command(block.line + at, text))
        at += taken
    return found


def console(block: Block) -> list[Command]:
    found, lines = [], block.text.splitlines()
    at = 0
    while at < len(lines):
        if lines[at].startswith("$ "):
            typed = [lines[at].removeprefix("$ ")] + [line.removeprefix("> ") for line in lines[at + 1 :]]
            taken = whole(typed, 0)
            found.append(Command(block.line + at, "\n".join(typed[:taken]), []))
            at += taken
        elif not found:
            raise ValueError(f"{block.page}:{block.line + at}: a console block begins with `$ ` and a command")
        else:
            found[-1].shown.append(lines[at])
            at += 1
    return found


def whole(lines: list[str], at: int) -> int:
    """How many lines the command takes that begins at `at`: here documents and continued lines are of it."""
    taken = 1
    while lines[at + taken - 1].endswith("\\") and at + taken < len(lines):
        taken += 1
    here = re.search(r"<<-?\s*(['\"]?)(\w+)\1", lines[at + taken - 1])
    if here:
        while at + taken < len(lines):
            taken += 1
            if lines[at + taken - 1].strip() == here[2]:
                break
    else:
        # A quote that is open goes on, too.
        while odd("\n".join(lines[at : at + taken])) and at + taken < len(lines):
            taken += 1
    return taken


def odd(text: str) -> bool:
    """Whether a quote is open at the end."""
    quote, escaped, comment, before = "", False, False, " "
    for char in text:
        if comment:
            comment = char != "\n"
        elif escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#" and before.isspace():
            comment = True
        before = char
    return bool(quote)


def differs(shown: list[str], printed: str) -> bool:
    """Whether an output is another than the page shows, where `…` stands for anything, on a line of its own for lines."""
    pattern = ""
    for line in shown:
        if line.strip() in ("…", "..."):
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.rstrip().split("…")) + r"\n"
    text = "".join(line.rstrip() + "\n" for line in printed.splitlines())
    return re.fullmatch(r"\n*" + pattern.strip("\n") + r"\n*", text) is None


def headings(text: str) -> set[str]:
    """The anchors that a page has, as GitHub makes them of its headings."""
    found, seen, fenced = set(), {}, False
    for line in text.splitlines():
        if FENCE.match(line):
            fenced = not fenced
        title = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if fenced or not title:
            continue
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title[1]).replace("`", "")
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        times = seen.get(anchor, 0)
        seen[anchor] = times + 1
        found.add(f"{anchor}-{times}" if times else anchor)
    return found


def links(text: str) -> list[tuple[int, str]]:
    """Where a page links to, with the lines; what stands in a fence or between backticks is no link."""
    found, fenced = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        if not fenced:
            plain = re.sub(r"(`+)(?:(?!\1).)+\1", lambda code: "x" * len(code[0]), line)
            found += [(number, target) for target in re.findall(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)", plain)]
    return found


def tracked(root: Path) -> list[Path]:
    """Every Markdown page of the checkout."""
    skipped = {".git", "target", "dist", "node_modules", "lake", "raw"}
    found = (path for path in sorted(root.rglob("*.md")) if not skipped & set(path.relative_to(root).parts[:-1]))
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts[:-1])]
