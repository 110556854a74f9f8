"""Models read back by the libraries of their kind: see learn/heads.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_python_reads_every_head_and_gives_its_numbers() -> None:
    folder = os.environ.get("SCOREHOUSE_LEARN_INTEROP")
    if not folder:
        pytest.skip("SCOREHOUSE_LEARN_INTEROP names no folder of artifacts")
    path = Path(__file__).with_name("learn") / "heads.py"
    checked = subprocess.run([sys.executable, path, folder], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "agree" in checked.stdout
