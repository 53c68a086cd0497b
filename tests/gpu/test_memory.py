"""What the GPU's allocator reports."""

import torch

from ner.training import machine


def test_peak_memory(gpu):
    before = machine.peak_memory_mib(gpu)
    block = torch.ones(int(before + 64) * 2**20, dtype=torch.uint8, device=gpu)
    assert machine.peak_memory_mib(gpu) >= before + 64
    del block
