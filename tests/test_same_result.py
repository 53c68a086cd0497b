"""Computing less changes nothing: whole training steps, the plain way against the defaults."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from ner.experiment import experiment
from ner.model import pretrained
from ner.options import resolve
from ner.training import loop, optim

pytestmark = pytest.mark.slow


def train(dtype: torch.dtype, **plain):
    """Losses and weights after a few steps of the built-in encoder without dropout, and the active rows."""
    options = resolve({"train_langs": ["de"], "eval_langs": ["de"], "num_train_sentences": 40, "dropout": 0,
                       "batch_size": 8, "learning_rate": 2e-4, "max_steps": 6, "epochs": 2, **plain})
    state = experiment.build(options, Path("unused"), Accelerator())
    state.bare.to(dtype)
    optimizer = state.accelerator.prepare(optim.adamw(state.bare, options.learning_rate, options.weight_decay))
    steps = loop.steps(state.bare, optimizer, state.training, state.padding, options, state.accelerator,
                       state.progress, lambda: False)
    return [step.loss for step in steps], dict(state.bare.named_parameters()), state.vocabulary_rows


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_same_weights_after_whole_steps(dtype, tolerance):
    """In fp64 to rounding. In fp32 AdamW turns the rounding of gradients near zero into steps of its full length, so
    that two runs drift apart slowly, as any two orders of summation do."""
    losses, fast, rows = train(dtype)
    expected, plain, _ = train(dtype, attention="padded", active_vocabulary=False)
    assert losses == pytest.approx(expected, rel=1e-6 if dtype == torch.float64 else 1e-4)
    for name, weight in fast.items():
        if name.endswith("key.bias"):  # its gradient is rounding alone
            continue
        other = plain[name][torch.from_numpy(rows)] if name == pretrained.WORD_EMBEDDINGS else plain[name]
        assert (weight - other).norm() <= tolerance * other.norm(), name
