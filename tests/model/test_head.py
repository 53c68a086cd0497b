"""The head: its losses against PyTorch's, what the options change, and another head against brute force."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from transformers import XLMRobertaForTokenClassification

from ner.data.alignment import IGNORED
from ner.model import roberta
from ner.model.head import Head
from ner.model.roberta import TokenClassifier
from tests.helpers.crf import CrfHead
from tests.helpers.models import batch_of, small_config

WORDS = [3, 0, 4]


def logits_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(sum(WORDS), 5, generator=generator), torch.randint(0, 5, (sum(WORDS),), generator=generator)


def test_loss_and_log_probabilities_are_those_of_pytorch():
    logits, labels = logits_and_labels()
    head = Head(small_config())
    expected = F.cross_entropy(logits, labels, reduction="none")
    found = head.log_probabilities(logits, WORDS)
    assert torch.equal(found, F.log_softmax(logits, -1))
    assert torch.allclose(-found[range(len(labels)), labels], expected, atol=1e-6)
    assert torch.allclose(head.loss(logits, labels, WORDS), expected.sum(), rtol=1e-6)


def test_model_returns_the_loss_where_labels_are_given():
    """The same as transformers' with all labels, and as the wanted words alone."""
    config = small_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    torch.manual_seed(0)
    theirs = XLMRobertaForTokenClassification(config)
    ours = TokenClassifier(config)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    batch = batch_of([9, 5, 2], config.vocab_size)
    batch["labels"][batch["labels"] == 3] = IGNORED
    count = int((batch["labels"] != IGNORED).sum())
    expected = theirs(batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]).loss * count
    assert ours(batch["input_ids"], batch["attention_mask"], labels=batch["labels"]).item() == pytest.approx(
        expected.item(), rel=1e-5)
    wanted = (batch["labels"].flatten()[batch["slots"]] != IGNORED).nonzero().flatten()
    loss = ours(**batch, wanted=wanted, words=(batch["labels"] != IGNORED).sum(1).tolist())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_smoothing_and_weights_are_those_of_pytorch():
    logits, labels = logits_and_labels()
    head = Head(small_config())
    head.label_smoothing, head.class_weights = 0.1, [1.0, 2.0, 2.0, 0.5, 0.5]
    weights = torch.tensor(head.class_weights)
    expected = F.cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=0.1)
    assert torch.equal(head.loss(logits, labels, WORDS), expected)
    assert not torch.isclose(expected, F.cross_entropy(logits, labels, reduction="sum"))
    parts = sum(head.loss(logits[part], labels[part], []) for part in (slice(0, 3), slice(3, 7)))
    assert torch.allclose(parts, expected)  # a sum over words: micro-batches and processes add up
    # evaluation knows nothing of either
    assert torch.equal(head.log_probabilities(logits, WORDS), F.log_softmax(logits, -1))


def crf() -> CrfHead:
    head = CrfHead(small_config())
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        head.start.copy_(torch.randn(5, generator=generator))
        head.step.copy_(torch.randn(5, 5, generator=generator))
    return head


def path_scores(head: CrfHead, emissions: torch.Tensor) -> dict[tuple[int, ...], torch.Tensor]:
    return {path: emissions[range(len(path)), path].sum() + head.start[path[0]]
            + sum(head.step[pair] for pair in itertools.pairwise(path))
            for path in itertools.product(range(5), repeat=len(emissions))}


def test_a_crf_equals_brute_force():
    logits, labels = logits_and_labels()
    head = crf()
    losses, found = head.losses(logits, labels, WORDS), head.log_probabilities(logits, WORDS)
    for loss, emissions, gold, marginals in zip(losses, *(x.split(WORDS) for x in (logits, labels, found))):
        if not len(gold):
            assert loss == 0
            continue
        scores = path_scores(head, emissions)
        total = torch.stack(list(scores.values())).logsumexp(0)
        assert loss.item() == pytest.approx((total - scores[tuple(gold.tolist())]).item(), rel=1e-5)
        for place, tag in itertools.product(range(len(gold)), range(5)):
            through = torch.stack([score for path, score in scores.items() if path[place] == tag]).logsumexp(0)
            assert marginals[place, tag].item() == pytest.approx((through - total).item(), abs=1e-4)


@pytest.mark.parametrize("head", [Head, CrfHead])
def test_without_a_word_all_parameters_have_a_gradient_of_zero(monkeypatch, head):
    """A process without a sentence must take part in the exchange of all gradients, whatever the head."""
    monkeypatch.setattr(roberta, "Head", head)
    model, batch = TokenClassifier(small_config()), batch_of([4], 97)
    loss = model(**batch, wanted=torch.zeros(0, dtype=torch.int64), words=[0])
    loss.backward()
    assert loss.item() == 0 and all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_the_model_takes_the_head_that_is_named(monkeypatch):
    monkeypatch.setattr(roberta, "Head", CrfHead)
    model = TokenClassifier(small_config())
    batch = batch_of([9, 5, 2], 97)
    model(**batch, words=batch["lengths"]).backward()
    assert model.classifier.step.grad.norm() > 0
