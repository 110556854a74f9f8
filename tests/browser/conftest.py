"""The pages under test: all below the directories of $SCOREHOUSE_PAGES, and one browser for all of them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chrome import Chrome


def pytest_configure(config: pytest.Config) -> None:
    """Missing pages are a failure, not a skip: a test that opens nothing proves nothing."""
    if not any(pages()):
        raise pytest.UsageError("SCOREHOUSE_PAGES names no directory with pages; `make pages` writes some and sets it")


def pages() -> list[Path]:
    directories = os.environ.get("SCOREHOUSE_PAGES", "").split(os.pathsep)
    return sorted(path.resolve() for directory in directories if directory for path in Path(directory).rglob("*.html"))


@pytest.fixture(scope="session")
def chrome() -> Iterator[Chrome]:
    browser = Chrome()
    yield browser
    browser.close()
