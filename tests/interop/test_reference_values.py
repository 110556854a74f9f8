"""The numbers that jobs/learn is tested against are still those of the pinned libraries."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("script", ["sklearn_metrics.py", "measures.py"])
def test_reference_values_are_the_libraries_own(script: str) -> None:
    path = Path(__file__).with_name("learn") / script
    checked = subprocess.run([sys.executable, path, "--check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "agree" in checked.stdout
