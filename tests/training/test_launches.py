"""How many kernels a GPU is asked to launch, counted on tensors without numbers, which take its branches.

Counted is every operation that is not a view or an allocation. Dropout and attention, for which a GPU has fused kernels
and these tensors have none, count as one in either direction. Small layers: the number does not depend on the size. To
read such a tensor back raises, so nothing waits for the device. The casts of mixed precision are counted on a CPU,
because autocast does nothing for these tensors.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import XLMRobertaForTokenClassification

from ner.data.alignment import IGNORED, Window
from ner.data.collate import Padding, collate, to_device
from ner.evaluation import predict
from ner.model.roberta import SCORES, TokenClassifier, group_count
from ner.training import loop
from tests.helpers.models import small_config

META = torch.device("meta")
LAYERS = 12
FREE = ("empty", "detach", "_unsafe_view")  # parts of the names of operations that launch nothing


class Launches(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        is_view = any(one.alias_info is not None and not one.alias_info.is_write for one in func._schema.returns)
        self.count += not is_view and not any(part in func._schema.name for part in FREE)
        return func(*args, **(kwargs or {}))


class Fused(torch.autograd.Function):
    """One operation forward and one backward, in the shape of the first input."""

    @staticmethod
    def forward(ctx, first, *others):
        return first.relu()

    @staticmethod
    def backward(ctx, grad):
        grad = grad.relu()
        return grad, grad.view(grad.shape), grad.view(grad.shape)


class FusedOne(Fused):
    @staticmethod
    def backward(ctx, grad):
        return grad.relu()


@pytest.fixture(autouse=True)
def fused(monkeypatch):
    monkeypatch.setattr("torch.nn.functional.dropout", lambda x, p, *_: FusedOne.apply(x))
    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention",
                        lambda q, k, v, attn_mask, dropout_p: Fused.apply(q, k, v))


def batch(rows: int = 64, longest: int = 60) -> dict:
    generator = np.random.default_rng(0)
    lengths = [longest, *generator.integers(3, longest, rows - 1)]
    windows = [Window(np.arange(4, n + 4, dtype=np.int32) % 90, np.where(np.arange(n) % 2, 1, IGNORED), 0)
               for n in lengths]
    return collate(windows, Padding(1, "right"))


@pytest.fixture(scope="module")
def model():
    return TokenClassifier(small_config(num_hidden_layers=LAYERS)).to(META)


def test_launches_of_a_training_step(model):
    """Forward and backward."""
    accelerator = SimpleNamespace(device=META, num_processes=1, backward=torch.Tensor.backward)
    model.train()
    model.zero_grad()
    with Launches() as seen:
        loop.accumulate(model, [batch()], 100, accelerator)
    assert seen.count <= 560
    assert seen.count > 40 * LAYERS, "it looks into the backward pass"


def test_launches_with_the_casts_of_bf16_are_fewer_than_those_of_transformers(monkeypatch):
    """Of the same batch; here, weights of queries, keys and values are cast together."""
    monkeypatch.setattr("ner.model.cpu.Dropout.forward", lambda self, x: FusedOne.apply(x))
    monkeypatch.setattr("ner.model.roberta.group_count", lambda lengths, training, device: 1)
    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", lambda q, k, v, **_: Fused.apply(q, k, v))
    config = small_config(num_hidden_layers=LAYERS, max_position_embeddings=80, attention_probs_dropout_prob=0.0)
    ours, theirs, sent = TokenClassifier(config), XLMRobertaForTokenClassification(config), batch()
    accelerator = SimpleNamespace(device=torch.device("cpu"), num_processes=1, backward=torch.Tensor.backward)
    with torch.autocast("cpu", torch.bfloat16):
        with Launches() as seen:
            loop.accumulate(ours.train(), [sent], 100, accelerator)
        with Launches() as others:
            theirs.train()(sent["input_ids"], attention_mask=sent["attention_mask"], labels=sent["labels"]
                           ).loss.backward()
    assert 560 < seen.count <= 824 < 0.9 * others.count


def test_launches_of_an_evaluation(model):
    model.eval()
    with Launches() as seen, torch.no_grad():
        predict.answer(model, to_device(batch(), META))
    assert 12 * LAYERS < seen.count <= 18 * LAYERS


def test_long_rows_are_not_padded_to_the_longest_on_a_gpu():
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert group_count([60] * 64, True, gpu) == group_count([60] * 64, False, gpu) == 1
    assert group_count([512] * 64, True, gpu) == 4 and 64 * 512**2 == 16 * SCORES
    assert group_count([128] * 128, True, gpu) == group_count([128] * 128, False, gpu) == 2
    assert group_count([60] * 64, True, cpu) == 4 and group_count([60] * 64, False, cpu) == 8
