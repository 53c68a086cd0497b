"""The rehearsal of a step: which one it is, that it leaves nothing behind, and what it says if memory is too small."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from ner.options import UserError
from ner.training import checkpoint, loop, optim
from ner.training.rehearsal import largest_step, rehearse
from tests.training.test_loop import OPTIONS, PADDING, make_data, make_model

CPU = torch.device("cpu")
OPTIONS = replace(OPTIONS, batch_size=16, epochs=2)


@pytest.fixture
def pretended(monkeypatch) -> Accelerator:
    """Alone, but it computes what one of two processes would."""
    accelerator = Accelerator(cpu=True)
    monkeypatch.setattr(type(accelerator), "num_processes", 2)
    return accelerator


def test_it_is_the_step_with_the_most_subwords():
    data = make_data()
    sizes = []
    for step in range(loop.total_steps(70, OPTIONS)):
        (batch,), _ = loop.step_batches(data, PADDING, step, OPTIONS, 0, 1)
        sizes.append(sum(batch["lengths"]))
    assert len(sizes) == 10 and sizes.count(max(sizes)) == 1
    assert largest_step(data, OPTIONS) == sizes.index(max(sizes))


def test_it_leaves_nothing_behind(pretended, monkeypatch):
    model, computed = make_model(dropout=0.5), []
    optimizer = optim.adamw(model, 1e-3, 0.01)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    before = checkpoint.random_state(CPU)
    accumulate = loop.accumulate
    monkeypatch.setattr(loop, "accumulate", lambda *args: computed.append((accumulate(*args), [
        p.grad for p in model.parameters() if p.requires_grad])))
    rehearse(model, optimizer, make_data(), PADDING, OPTIONS, pretended)
    ((loss, gradients),) = computed
    assert loss > 0 and all(gradient is not None for gradient in gradients)
    assert all(p.grad is None for p in model.parameters()) and not optimizer.state
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    after = checkpoint.random_state(CPU)
    assert all(torch.equal(state, after[name]) for name, state in before.items())


def test_memory_that_is_too_small_is_one_sentence(monkeypatch):
    def out_of_memory(*args):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(loop, "accumulate", out_of_memory)
    accelerator = SimpleNamespace(num_processes=2, process_index=0, device=CPU)
    with pytest.raises(UserError, match=r"^micro_batch_size: a pass over 8 windows with \d+ subwords needs more memory "
                                        r"than cpu has; expected fewer windows per pass, such as 4 \(same result\)$"):
        rehearse(make_model(), None, make_data(), PADDING, OPTIONS, accelerator)


def test_one_process_on_a_cpu_needs_none():
    rehearse(None, None, make_data(), PADDING, OPTIONS, SimpleNamespace(num_processes=1, device=CPU))
