"""Random damage of run folders: no traceback, no hang, no silently different result."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "fuzz_run_folders.py"


def fuzz(cases):
    spec = importlib.util.spec_from_file_location("fuzz_run_folders", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.main(["--cases", str(cases)])


def test_twelve_damaged_folders():
    assert fuzz(12) == 0


@pytest.mark.slow
def test_500_damaged_folders():
    assert fuzz(500) == 0
