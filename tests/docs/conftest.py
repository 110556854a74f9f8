"""Where the binary is, and the lake that pages are followed on: raw events and two nights, made by `make gate-check`."""

import os
from pathlib import Path

import pytest

COUNTS: dict[str, int] = {}
REASONS: list[str] = []
SECONDS: list[tuple[float, str]] = []


def pytest_configure(config: pytest.Config) -> None:
    """What is missing is a failure, not a skip: pages that nobody follows are held by nothing."""
    for name, child in (("SCOREHOUSE", ""), ("SCOREHOUSE_PREPARED", "lake/scores"), ("SCOREHOUSE_PREPARED", "first/scores")):
        if not os.environ.get(name) or not (Path(os.environ[name]) / child).exists():
            raise pytest.UsageError(f"{name} is not set, or leads nowhere; `make docs` sets it")


@pytest.fixture(scope="session")
def scorehouse() -> Path:
    return Path(os.environ["SCOREHOUSE"]).resolve()


@pytest.fixture(scope="session")
def prepared() -> Path:
    return Path(os.environ["SCOREHOUSE_PREPARED"])


def pytest_terminal_summary(terminalreporter) -> None:
    if not COUNTS:
        return
    told = ", ".join(f"{count} {what}" for what, count in sorted(COUNTS.items()))
    terminalreporter.write_line(f"Blocks of pages: {told}")
    for reason in REASONS:
        terminalreporter.write_line(f"  not run: {reason}")
    for seconds, what in sorted(SECONDS, reverse=True)[:5]:
        terminalreporter.write_line(f"  {seconds:.1f} s: {what}")
