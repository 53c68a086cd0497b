"""What several tests need: the folder with the real data."""

from pathlib import Path

import pytest

from tests.helpers.paths import ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder next to the repository with PAN-X and the published results; tests that need it skip without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "panx").is_dir():
        pytest.skip("../shared is not there")
    return folder
