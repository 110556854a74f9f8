"""Every link within the checkout leads somewhere, to its heading too."""

from pathlib import Path

import pytest

from pages import headings, links, tracked
from session import ROOT

PAGES = tracked(ROOT)


def wrong(page: Path) -> list[str]:
    found = []
    for line, target in links(page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        place = f"{page.name}:{line}: {target}"
        if not file.exists():
            found.append(f"{place}: there is no such file")
        elif anchor and file.suffix == ".md" and anchor not in headings(file.read_text()):
            found.append(f"{place}: there is no such heading")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path):
    assert not wrong(page)


def test_every_page_is_reached_from_the_first():
    """A page of docs/ that nothing links to is read by nobody."""
    reached, left = set(), [ROOT / "README.md", ROOT / "docs/README.md"]
    while left:
        page = left.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        left += [(page.parent / target.partition("#")[0]).resolve() for _, target in links(page.read_text()) if "://" not in target]
    lost = sorted(str(page.relative_to(ROOT)) for page in set((ROOT / "docs").rglob("*.md")) - reached)
    assert not lost, lost


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# A `page`, twice\n[a](page.md#a-page-twice) [b](#none) [c](gone.md) `[d](no-link.md)`\n")
    assert [text.split(": ", 1)[1] for text in wrong(page)] == [
        "#none: there is no such heading",
        "gone.md: there is no such file",
    ]
