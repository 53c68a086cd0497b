"""Steps on the GPU: those of the CPU up to rounding, in every precision, and the same twice where that is asked for."""

import pytest
import torch
from accelerate.state import AcceleratorState

from ner.options import Options
from ner.training import loop, machine, optim
from ner.training.loop import Progress
from tests.training.test_loop import OPTIONS, PADDING, make_data, make_model


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once in a process
    yield
    AcceleratorState._reset_state(True)
    torch.use_deterministic_algorithms(False)


def train(options: Options, dropout: float = 0.0) -> tuple[list, dict[str, torch.Tensor]]:
    """Losses and norms of two steps, and the weights after them."""
    AcceleratorState._reset_state(True)
    accelerator, model = machine.accelerator(options), make_model(dropout)
    torch.manual_seed(7)
    model, optimizer = accelerator.prepare(model, optim.adamw(model, 1e-3, 0.01))
    found = list(loop.steps(model, optimizer, make_data(), PADDING, OPTIONS, accelerator, Progress(), lambda: False))
    return found, {name: p.detach().cpu() for name, p in model.named_parameters()}


@pytest.mark.parametrize("precision, rounding", [("no", 1e-4), ("bf16", 3e-2), ("fp16", 2e-2)])
def test_the_steps_of_the_cpu(gpu, precision, rounding):
    expected, _ = train(Options(device="cpu", mixed_precision="no"))
    found, _ = train(Options(device=gpu.type, mixed_precision=precision))
    assert len(found) == 2 and found[0].loss == pytest.approx(expected[0].loss, rel=rounding)
    if found[0].moved:  # fp16 may begin with too large a scale
        assert found[0].grad_norm == pytest.approx(expected[0].grad_norm, rel=10 * rounding)


def test_deterministic_steps_are_the_same_twice(gpu):
    options = Options(device=gpu.type, deterministic=True)
    (one, weights), (other, again) = train(options, dropout=0.1), train(options, dropout=0.1)
    assert one == other and all(torch.equal(weights[name], again[name]) for name in weights)
