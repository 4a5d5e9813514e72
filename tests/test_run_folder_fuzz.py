"""Random damage of run folders: no traceback, no hang, no silently different result."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "fuzz_run_folders.py"


def fuzz(*arguments):
    """Run the script in a process of its own, which it forks."""
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_eight_damaged_folders():
    fuzz("--cases", "8", "--agents", "linear")


@pytest.mark.slow
def test_500_damaged_folders():
    fuzz("--cases", "500")
