"""The suite passes on any machine: it does not see the GPU, nor what a launcher left in the environment."""

import os
import subprocess
import sys

import pytest
import torch
from accelerate import Accelerator

from tests.helpers.paths import ROOT

HOSTILE = {"ACCELERATE_TORCH_DEVICE": "meta", "ACCELERATE_MIXED_PRECISION": "fp8", "ACCELERATE_DYNAMO_BACKEND": "eager",
           "CUDA_VISIBLE_DEVICES": "0"}


def pytest_in(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Exit status and output of a test run in an environment."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--durations=0", *arguments],
                          cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_the_device_is_the_cpu_and_no_launcher_is_heard():
    assert not torch.cuda.is_available() and Accelerator().device.type == "cpu"
    assert {name: value for name, value in os.environ.items() if name.startswith("ACCELERATE_")} == {
        "ACCELERATE_USE_CPU": "true"}


@pytest.mark.slow
def test_a_hostile_environment_changes_nothing():
    """The suite's own tests of the step, which compute on whatever device Accelerate chooses."""
    status, output = pytest_in(HOSTILE, "tests/test_ambient.py::test_the_device_is_the_cpu_and_no_launcher_is_heard",
                               "tests/training/test_loop.py", "-k", "device or progress or clipped")
    assert status == 0 and "4 passed" in output, output


@pytest.mark.slow
@pytest.mark.parametrize("asked", [["tests/gpu"], ["tests/gpu", "tests/test_files.py"]])
def test_without_a_gpu_its_tests_are_skipped_with_a_reason(asked):
    status, output = pytest_in({"CUDA_VISIBLE_DEVICES": ""}, *asked, "-rs", "-k", "gpu")
    assert status == 0 and "needs a GPU" in output and "failed" not in output and "passed" not in output, output
