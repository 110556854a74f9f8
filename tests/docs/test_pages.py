"""README.md and docs/ do what they say: each page is followed from top to end, in a project and on a lake of its own.

`make docs` runs it. A page in which `<!-- starts after the first night -->` stands has the lake of one night, all others
of two.
"""

from pathlib import Path

import pytest

import conftest
from pages import RUN, blocks
from session import ROOT, Failed, Session, python

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FIRST = "<!-- starts after the first night -->"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path, scorehouse: Path, prepared: Path):
    text = page.read_text()
    found = blocks(text, name(page))
    lake = {"raw": prepared / "raw", "lake": prepared / ("first" if FIRST in text else "lake")} if running(found) else {}
    session = Session(tmp_path, scorehouse, python(), lake)
    try:
        for block in found:
            done = session.follow(block)
            conftest.COUNTS[done] = conftest.COUNTS.get(done, 0) + 1
            if done == "not run":
                conftest.REASONS.append(f"{block.place}: {block.marks['not run']}")
    except Failed as failure:
        pytest.fail(str(failure), pytrace=False)
    finally:
        session.close()
        conftest.SECONDS.extend(session.seconds)


def running(found: list) -> bool:
    """Whether a page has anything that needs a lake."""
    return any(block.language in RUN and block.language != "yaml" and "not run" not in block.marks for block in found)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_has_a_language_that_says_what_becomes_of_it(page: Path):
    known = (*RUN, "yaml example", "text", "mermaid", "json", "csv")
    wrong = [f"{block.place}: {block.language!r}" for block in blocks(page.read_text(), name(page)) if block.language not in known]
    assert not wrong, wrong
