"""Tests on a real GPU, run by ``pytest tests/gpu`` on a machine that has one; anywhere else they are skipped."""

import pytest
import torch


@pytest.fixture(autouse=True)
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU, and `pytest tests/gpu` by itself, because the other tests hide GPUs")
    return torch.device("cuda")
