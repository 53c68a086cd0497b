"""What several tests need: the folder with the real data, and the repository's own root."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the repository with PAN-X and the published figures; tests that need it skip without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "panx").is_dir():
        pytest.skip("../shared is not there")
    return folder
