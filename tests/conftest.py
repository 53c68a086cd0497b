"""What all tests need: the CPU, and threads that wait asleep; and what several need: the folder with the real data."""

import os
import platform
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

# Before torch is imported: its threads would otherwise spin at every small tensor, waiting for one that another process
# keeps from its core. Beside one busy process that takes the fast tests from one minute to four.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_configure(config: pytest.Config) -> None:
    """Tests compare numbers that hold on a CPU, so they and the processes that they start see nothing else, whatever
    the machine has and whatever a launcher left in the environment. ``pytest tests/gpu`` alone sees the machine.

    Before torch is imported, because CUDA asks once.
    """
    places = [Path(word.split("::")[0]).resolve() for word in config.args]
    if all(place.is_relative_to(ROOT / "tests" / "gpu") for place in places):
        return
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        del os.environ[name]
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["ACCELERATE_USE_CPU"] = "true"  # no variable hides a Mac's GPU from torch, but this one from Accelerate
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ["ATEN_CPU_CAPABILITY"] = "avx2"  # fp32 everywhere: with AVX-512, `auto` may be bf16


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder next to the repository with PAN-X and the published results; tests that need it skip without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "panx").is_dir():
        pytest.skip("../shared is not there")
    return folder
