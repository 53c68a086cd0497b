"""What all tests need: threads that wait asleep; and what several need: the folder with the real data."""

import os
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

# Before torch is imported: its threads would otherwise spin at every small tensor, waiting for one that another process
# keeps from its core. Beside one busy process that takes the fast tests from one minute to four.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder next to the repository with PAN-X and the published results; tests that need it skip without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "panx").is_dir():
        pytest.skip("../shared is not there")
    return folder
