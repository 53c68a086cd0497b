"""The compact table, trained, against the full table trained the plain way."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ner.model import pretrained, vocabulary
from ner.training import optim
from tests.helpers.folders import tiny_folder
from tests.helpers.models import batch_of

PEAK, DECAY, PAD = 1e-2, 0.1, 1


class Tagger(nn.Module):
    """A table and a head: the least that has an embedding and another parameter."""

    def __init__(self, table, head):
        super().__init__()
        self.table = nn.Embedding.from_pretrained(table.clone(), freeze=False, padding_idx=PAD)
        self.head = nn.Linear(*head.shape[::-1], bias=False)
        self.head.weight = nn.Parameter(head.clone())

    def forward(self, ids):
        return self.head(self.table(ids).tanh())


def train(model, batches, rates, max_norm, targets):
    """Plain AdamW of torch at the rates of a schedule; the gradient norms before clipping."""
    optimizer = optim.adamw(model, PEAK, DECAY)
    norms = []
    for ids, target, rate in zip(batches, targets, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        F.cross_entropy(model(ids).flatten(0, -2), target.flatten()).backward()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), max_norm)))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return norms


def relative(ours, theirs):
    """The largest relative difference of a row."""
    return float(((ours - theirs).norm(dim=-1) / theirs.norm(dim=-1)).max().detach())


def test_active_rows_are_sorted_unique_and_hold_everything_up_to_the_padding():
    texts = [np.array([7, 5], np.int32), np.array([7], np.int32)]
    assert vocabulary.active_rows(texts, [2], 1).tolist() == [0, 1, 2, 5, 7]
    assert vocabulary.active_rows([], [], 3).tolist() == [0, 1, 2, 3]


def test_compact_ids_count_rows_and_leave_the_padding_where_it_is():
    rows = np.array([0, 1, 2, 5, 7])
    compact = vocabulary.compact_ids(np.array([0, 7, 5, 2, 1, 1], np.int32), rows)
    assert compact.tolist() == [0, 4, 3, 2, 1, 1] and compact.dtype == np.int32
    for stranger in (6, 8):
        with pytest.raises(ValueError, match=rf"\[{stranger}\]"):
            vocabulary.compact_ids(np.array([5, stranger], np.int32), rows)


def test_decay_product():
    assert vocabulary.decay_product(np.array([0.1, 0.2]), 0.5) == pytest.approx(0.95 * 0.9, abs=1e-15)
    assert vocabulary.decay_product(np.array([]), 0.5) == 1.0


def test_full_table_leaves_its_arguments_alone():
    before = torch.arange(8.0).view(4, 2)
    table = vocabulary.full_table(before, np.array([0, 2]), torch.full((2, 2), 9.0), 0.5)
    assert table.tolist() == [[9, 9], [1, 1.5], [9, 9], [3, 3.5]]
    assert before.equal(torch.arange(8.0).view(4, 2))


@pytest.mark.parametrize("max_norm", [1e9, 0.05])
@pytest.mark.parametrize("steps, tolerance", [(40, 1e-5), (400, 2e-5)])
def test_compact_training_is_full_training(steps, tolerance, max_norm):
    """Learning rate 1e-2, weight decay 0.1, 9 of 60 rows touched, row 50 at step 1 only, padding in every batch."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(60, 12, generator=generator)
    head = torch.randn(5, 12, generator=generator)
    often = torch.tensor([PAD, 4, 9, 10, 23, 31, 32, 59])
    batches = [often[torch.randint(0, len(often), (6, 9), generator=generator)] for _ in range(steps)]
    batches[0][0, 0] = 50
    targets = [torch.randint(0, 5, (6, 9), generator=generator) for _ in range(steps)]
    rates = np.array([optim.learning_rate(step, steps, PEAK, 0.0) for step in range(steps)])
    full = Tagger(table, head)
    norms = train(full, batches, rates, max_norm, targets)
    assert max_norm > 1 or min(norms) > max_norm, "every step was to be clipped"

    rows = vocabulary.active_rows([ids.flatten().numpy() for ids in batches], [0, 2], PAD)
    assert rows.tolist() == [0, 1, 2, 4, 9, 10, 23, 31, 32, 50, 59]
    compact = Tagger(table[rows], head)
    numbered = [torch.from_numpy(vocabulary.compact_ids(ids.numpy(), rows)) for ids in batches]
    train(compact, numbered, rates, max_norm, targets)
    written = vocabulary.full_table(table, rows, compact.table.weight.detach(), vocabulary.decay_product(rates, DECAY))
    trained = full.table.weight.detach()
    assert relative(written, trained) <= tolerance
    assert relative(compact.head.weight, full.head.weight) <= tolerance
    assert relative(written, table) > 10 * tolerance, "weight decay moves every row"
    forgotten = vocabulary.full_table(table, rows, compact.table.weight.detach(), 1.0)
    assert relative(forgotten, trained) > 10 * tolerance, "without the decay the test notices"


@pytest.mark.slow
@pytest.mark.parametrize("max_norm", [1e9, 0.5])
def test_through_the_real_pieces(tmp_path, max_norm):
    """Folder -> load_model(rows) -> adamw -> full_table, over a run with a linear schedule: table and predictions."""
    words = [f"wort{i}" for i in range(200)]
    folder = tiny_folder(tmp_path / "model", words=words, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    config = pretrained.load_config(folder)
    tokenizer = pretrained.load_tokenizer(folder, config)
    steps = 200
    rates = np.array([optim.learning_rate(step, steps, PEAK, 0.1) for step in range(steps)])
    batches = [batch_of([7, 5, 5, 2], 40) for _ in range(4)]
    for number, batch in enumerate(batches):
        shift = number * (batch["input_ids"] != PAD)  # not the same ids in every batch
        batch["input_ids"] += shift

    def run(rows):
        model = pretrained.load_model(folder, config, "packed", rows, torch.Generator().manual_seed(1))
        optimizer = optim.adamw(model, PEAK, DECAY)
        number = torch.arange(config.vocab_size)
        if rows is not None:
            number[rows] = torch.arange(len(rows))

        def logits(batch):
            return model(number[batch["input_ids"]], batch["attention_mask"], batch["lengths"], batch["slots"])

        for step, rate in enumerate(rates):
            batch = batches[step % len(batches)]
            for group in optimizer.param_groups:
                group["lr"] = rate
            F.cross_entropy(logits(batch), batch["labels"].flatten()[batch["slots"]]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        answers = torch.cat([logits(batch) for batch in batches]).detach()
        return {name: p.detach() for name, p in model.named_parameters()}, answers

    full, logits = run(None)
    rows = vocabulary.active_rows([b["input_ids"].flatten().numpy() for b in batches], tokenizer.all_special_ids, PAD)
    compact, compact_logits = run(rows)
    assert len(compact[pretrained.WORD_EMBEDDINGS]) == len(rows) < config.vocab_size / 2
    compact[pretrained.WORD_EMBEDDINGS] = vocabulary.full_table(
        pretrained.read_tensor(folder, pretrained.WORD_EMBEDDINGS), rows, compact[pretrained.WORD_EMBEDDINGS],
        vocabulary.decay_product(rates, DECAY))
    # The padding's row starts at zero, where there is no relative difference.
    start = pretrained.read_tensor(folder, pretrained.WORD_EMBEDDINGS)
    table, expected = compact[pretrained.WORD_EMBEDDINGS], full[pretrained.WORD_EMBEDDINGS]
    real = start.norm(dim=-1) > 0
    assert relative(table[real], expected[real]) <= 2e-5
    assert table[~real].equal(expected[~real])
    assert compact_logits.argmax(-1).equal(logits.argmax(-1))
    assert torch.allclose(compact_logits, logits, atol=1e-3, rtol=0)
    assert relative(expected[real], start[real]) > 1e-3
