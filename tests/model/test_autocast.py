"""Rounding in 16 bits, in the arrangement that a GPU gets, against that of transformers with the same weights."""

import pytest
import torch
from transformers import XLMRobertaForTokenClassification

from ner.model import builtin, roberta
from ner.model.roberta import TokenClassifier
from tests.helpers.models import batch_of

pytestmark = pytest.mark.slow
LENGTHS = [41, 33, 30, 22, 17, 17, 9, 4]
SCALE = 2.0**10  # of the loss, as with a gradient scaler: fp16 has no smaller numbers than 6e-8


@pytest.fixture(scope="module")
def models():
    """The lower layers of the built-in encoder with a new head, ours and theirs, without dropout."""
    torch.manual_seed(0)
    theirs = XLMRobertaForTokenClassification.from_pretrained(
        builtin.encoder_folder(), num_labels=7, num_hidden_layers=4, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0)
    theirs.resize_token_embeddings(97)
    ours = TokenClassifier(theirs.config)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def results(model, logits, batch, double: bool = False) -> list[torch.Tensor]:
    """The logits of all tokens, and the gradient of all weights as one vector."""
    model.zero_grad()
    found = logits(model)
    gold = batch["labels"].flatten()[batch["slots"]]
    (SCALE * torch.nn.functional.cross_entropy(found if double else found.float(), gold)).backward()
    assert all(p.grad is not None for p in model.parameters())
    named = dict(model.named_parameters())
    return [found.detach().double(), torch.cat([named[name].grad.double().flatten() for name in sorted(named)])]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_error_is_at_most_one_and_a_half_times_that_of_transformers(models, monkeypatch, dtype):
    group_count = roberta.group_count
    monkeypatch.setattr(roberta, "group_count",
                        lambda lengths, training, device: group_count(lengths, training, torch.device("cuda")))
    batch = batch_of(LENGTHS, 97)
    ours, theirs = models

    def packed(model):
        return model(**{**batch, "labels": None})

    def padded(model):
        return model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.flatten(0, 1)[batch["slots"]]

    with torch.autocast("cpu", dtype):
        found, other = results(ours, packed, batch), results(theirs, padded, batch)
    single = results(ours, packed, batch)
    exact = results(theirs.double(), padded, batch, double=True)
    theirs.float()
    for name, mine, its, whole, right in zip(("logits", "gradients"), found, other, single, exact, strict=True):
        error, allowed, rounding = ((one - right).norm() / right.norm() for one in (mine, its, whole))
        assert 0 < error <= 1.5 * allowed, name
        assert rounding < 1e-4 < allowed < 0.2, name  # fp32 is exact in comparison, and 16 bits are not
