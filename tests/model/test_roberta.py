"""The model against transformers' own, and its two ways of attention against each other."""

import pytest
import torch
from transformers import XLMRobertaForTokenClassification

from ner.model import pretrained
from ner.model.roberta import TokenClassifier
from tests.helpers.models import batch_of, small_config

LENGTHS = [11, 9, 9, 5, 3, 2, 2, 1]
MANY = [9] * 3 + [7] * 20 + [6] * 30 + [5] + [4] * 20 + [3, 2, 1]  # rows enough for more groups in evaluation


def pair(config, attention):
    """Our model and transformers', with the same weights, in evaluation mode."""
    torch.manual_seed(0)
    theirs = XLMRobertaForTokenClassification(config).eval()
    ours = TokenClassifier(config, attention).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def assert_same_gradients(ours, theirs, relative=1e-5):
    theirs = dict(theirs.named_parameters())
    compared = 0
    for name, parameter in ours.named_parameters():
        if name.endswith("key.bias"):  # zero in theory: softmax does not see what all keys have in common
            continue
        other = theirs[name].grad
        scale = other.norm()
        assert scale > 0, name
        assert (parameter.grad - other).norm() <= relative * scale, name
        compared += 1
    return compared


@pytest.mark.parametrize("attention", ["packed", "padded"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("lengths", [LENGTHS, MANY])
def test_logits_and_gradients_equal_transformers(attention, side, lengths):
    config = small_config()
    ours, theirs = pair(config, attention)
    batch = batch_of(lengths, config.vocab_size, side)
    mask = batch["attention_mask"]
    logits = ours(batch["input_ids"], mask, batch["lengths"], batch["slots"])
    expected = theirs(batch["input_ids"], attention_mask=mask).logits.flatten(0, 1)[batch["slots"]]
    assert torch.allclose(logits, expected, atol=1e-5, rtol=0)
    with torch.inference_mode():  # where linear maps have kernels of their own
        assert torch.allclose(ours(batch["input_ids"], mask, batch["lengths"], batch["slots"]), expected, atol=1e-5,
                              rtol=0)
    labels = batch["labels"].flatten()[batch["slots"]]
    torch.nn.functional.cross_entropy(logits, labels).backward()
    torch.nn.functional.cross_entropy(expected, labels).backward()
    assert assert_same_gradients(ours, theirs) == len(list(ours.parameters())) - config.num_hidden_layers


@pytest.mark.parametrize("attention", ["packed", "padded"])
def test_wanted_logits_are_those_of_all(attention):
    config = small_config()
    model, _ = pair(config, attention)
    batch = batch_of(LENGTHS, config.vocab_size)
    args = (batch["input_ids"], batch["attention_mask"], batch["lengths"], batch["slots"])
    wanted = torch.tensor([1, 2, 5, 11, 30, 41])

    def run(logits):
        model.zero_grad()
        logits.square().sum().backward()
        return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if "key.bias" not in name}

    (every, expected), (few, found) = run(model(*args)[wanted]), run(model(*args, wanted))
    assert torch.allclose(few, every, atol=1e-6, rtol=0)
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm(), name
    none, gradients = run(model(*args, torch.tensor([], dtype=torch.int64)))
    assert none.shape == (0, 5) and all(gradient.abs().sum() == 0 for gradient in gradients.values())


def test_packed_equals_padded_and_needs_no_lengths():
    config = small_config()
    packed, _ = pair(config, "packed")
    padded, _ = pair(config, "padded")
    batch = batch_of(LENGTHS, config.vocab_size)
    full = packed(batch["input_ids"], batch["attention_mask"], batch["lengths"], batch["slots"])
    assert full.equal(packed(batch["input_ids"], batch["attention_mask"]))
    assert torch.allclose(full, padded(batch["input_ids"], batch["attention_mask"]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("attention", ["packed", "padded"])
def test_a_sentence_does_not_see_its_neighbours(attention, gradients):
    config = small_config()
    model, _ = pair(config, attention)
    batch = batch_of(LENGTHS, config.vocab_size)
    changed = batch["input_ids"].clone()
    changed[2, :9] = torch.randint(4, config.vocab_size, (9,))
    with torch.set_grad_enabled(gradients):
        before = model(batch["input_ids"], batch["attention_mask"])
        after = model(changed, batch["attention_mask"])
    row = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
    assert (before - after)[row != 2].abs().max() <= 1e-6
    assert (before - after)[row == 2].abs().max() > 1e-3


def test_more_padding_changes_nothing():
    config = small_config()
    model, _ = pair(config, "packed")
    narrow, wide = batch_of(LENGTHS, config.vocab_size), batch_of(LENGTHS, config.vocab_size, width=20)
    assert torch.allclose(model(narrow["input_ids"], narrow["attention_mask"]),
                          model(wide["input_ids"], wide["attention_mask"]), atol=1e-6, rtol=0)


def test_dropout_acts_in_training_only():
    config = small_config()
    model, _ = pair(config, "packed")
    batch = batch_of(LENGTHS, config.vocab_size)
    args = (batch["input_ids"], batch["attention_mask"])
    assert model(*args).equal(model(*args))
    model.train()
    torch.manual_seed(1)
    first = model(*args)
    assert not first.equal(model(*args))
    torch.manual_seed(1)
    assert first.equal(model(*args))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    assert not model(*args).equal(model(*args)), "attention has a dropout of its own"


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["packed", "padded"])
def test_equals_transformers_on_the_built_in_encoder(attention):
    """In fp32 to 1e-5 wherever transformers itself is that close to fp64 (its rounding of the last layer's query
    gradient is 2e-5); in fp64, where rounding cannot hide a mistake, to 1e-9."""
    folder = pretrained.folder_of("e5-small")
    config = pretrained.load_config(folder)
    config.num_labels = 7
    head = torch.Generator().manual_seed(0)
    ours = pretrained.load_model(folder, config, attention, new_head=head).eval()
    theirs = XLMRobertaForTokenClassification.from_pretrained(folder, num_labels=7).eval()
    theirs.classifier.load_state_dict(ours.classifier.state_dict())
    batch = batch_of([30, 21, 20, 7, 3], config.vocab_size, "left")
    labels = batch["labels"].flatten()[batch["slots"]]

    def gradients(model, forward):
        model.zero_grad()
        logits = forward()
        torch.nn.functional.cross_entropy(logits, labels).backward()
        return logits.detach(), {n: p.grad.double() for n, p in model.named_parameters() if not n.endswith("key.bias")}

    def both():
        yield gradients(ours, lambda: ours(batch["input_ids"], batch["attention_mask"], batch["lengths"],
                                           batch["slots"]))
        yield gradients(theirs, lambda: theirs(batch["input_ids"], attention_mask=batch["attention_mask"])
                        .logits.flatten(0, 1)[batch["slots"]])

    (logits, single), (expected, single_theirs) = both()
    assert torch.allclose(logits, expected, atol=1e-5, rtol=0)
    with torch.inference_mode():
        logits = ours(batch["input_ids"], batch["attention_mask"], batch["lengths"], batch["slots"])
    assert torch.allclose(logits, expected, atol=1e-5, rtol=0)
    ours.double(), theirs.double()
    (logits, exact), (expected, exact_theirs) = both()
    assert torch.allclose(logits, expected, atol=1e-9, rtol=0)
    for name, truth in exact_theirs.items():
        assert (exact[name] - truth).norm() <= 1e-9 * truth.norm(), name
        rounding = (single_theirs[name] - truth).norm()
        assert (single[name] - single_theirs[name]).norm() <= max(1e-5 * truth.norm(), 2 * rounding), name
