"""Logits, losses and gradients on the GPU are those of transformers there, with and without padding in a batch."""

import pytest
import torch

from tests.helpers.models import batch_of, small_config
from tests.model.test_roberta import LENGTHS, MANY, pair


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("attention", ["packed", "padded"])
@pytest.mark.parametrize("lengths", [LENGTHS, MANY, [9] * 16])
@pytest.mark.parametrize("dtype, rounding", [(torch.float32, 1e-4), (torch.bfloat16, 3e-2), (torch.float16, 5e-3)])
def test_logits_and_gradients_equal_those_of_transformers(gpu, attention, lengths, dtype, rounding):
    config = small_config()
    ours, theirs = (model.to(gpu) for model in pair(config, attention))
    batch = {name: value.to(gpu) if isinstance(value, torch.Tensor) else value
             for name, value in batch_of(lengths, config.vocab_size).items()}
    mask, slots = batch["attention_mask"], batch["slots"]
    gold = batch["labels"].flatten()[slots]
    with torch.autocast(gpu.type, dtype, enabled=dtype != torch.float32):
        logits = ours(batch["input_ids"], mask, batch["lengths"], slots)
        expected = theirs(batch["input_ids"], attention_mask=mask).logits.flatten(0, 1)[slots]
    assert relative(logits, expected) <= rounding
    for found in (logits, expected):
        (1024 * torch.nn.functional.cross_entropy(found.float(), gold)).backward()  # as a scaler does for fp16
    named = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        if not name.endswith("key.bias"):  # zero in theory: what is there is rounding
            assert relative(parameter.grad, named[name].grad) <= 10 * rounding, name
