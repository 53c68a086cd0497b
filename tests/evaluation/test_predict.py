"""Answers put back by word number: every word once, or no figure at all; and an evaluation leaves no trace."""

import random

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from ner.data.alignment import encode
from ner.evaluation import evaluate
from ner.evaluation.evaluate import Encoded
from ner.evaluation.predict import assemble, predict
from ner.tags import TagSet
from tests.helpers.folders import LEXICON, TAGS, lexicon_folder, opened

WORDS = [*LEXICON, "wohnt", "in"]


def part(*places: int) -> tuple[np.ndarray, np.ndarray]:
    """The answers of one process: label, loss and confidence of each word tell its number."""
    return np.array(places, np.int64), np.array([[p, p / 10, p / 100] for p in places], np.float32).reshape(-1, 3).T


@pytest.mark.parametrize("parts", [[part(0, 1, 2, 3, 4)], [part(3, 0), part(4, 2, 1)],
                                   [part(), part(4, 3, 2, 1, 0), part()]])
def test_answers_of_all_processes_in_the_order_of_the_words(parts):
    found = assemble(parts, 5)
    assert found.labels.tolist() == [0, 1, 2, 3, 4] and found.labels.dtype == np.int64
    assert found.loss == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert found.confidence == pytest.approx([0, 0.01, 0.02, 0.03, 0.04])


@pytest.mark.parametrize("parts, message", [
    ([part(0, 1), part(3)], "word 2 of 4 was answered 0 times"),
    ([part(0, 1, 2), part()], "word 3 of 4 was answered 0 times"),
    ([part(0, 1, 2), part(2, 3)], "word 2 of 4 was answered 2 times"),
    ([part(0, 1, 2, 3, 4)], "word 4 of 4 was answered 1 times"),
    ([part()], "word 0 of 4 was answered 0 times"),
])
def test_a_word_missing_double_or_beyond_the_last_stops(parts, message):
    with pytest.raises(RuntimeError, match=message):
        assemble(parts, 4)


def test_no_word_at_all():
    assert assemble([part()], 0).labels.tolist() == []


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model with dropout, and its tokenizer."""
    ours, config, tokenizer = opened(lexicon_folder(tmp_path_factory.mktemp("known") / "model", hidden_dropout_prob=0.5,
                                                    attention_probs_dropout_prob=0.5))
    return ours, tokenizer


def encoded(tokenizer, sentences: list[list[str]]) -> Encoded:
    labels = [[TAGS.index(LEXICON.get(word, "O")) for word in one] for one in sentences]
    return Encoded(sentences, np.concatenate(labels), [len(one) for one in sentences],
                   encode(sentences, labels, tokenizer, 16, 8), [("de", i) for i in range(len(sentences))])


def states() -> list:
    kind, keys, *rest = np.random.get_state()
    return [random.getstate(), kind, keys.tolist(), *rest, torch.get_rng_state().tolist()]


def test_an_evaluation_uses_no_randomness_of_the_training(model):
    ours, tokenizer = model
    data = encoded(tokenizer, [random.Random(i).choices(WORDS, k=1 + i) for i in range(30)])
    before, figures = states(), []
    for _ in range(2):
        ours.train()
        scored = evaluate.evaluate(ours, {"de": data}, TagSet(TAGS), tokenizer, Accelerator(cpu=True))
        figures.append(scored["de"].figures)
    assert states() == before and figures[0] == figures[1] and figures[0]["f1"] == 1.0


def test_any_size_of_batch_gives_the_same_answers(model):
    ours, tokenizer = model
    data = encoded(tokenizer, [random.Random(i).choices(WORDS, k=1 + 7 * i % 40) for i in range(30)])
    found = [predict(ours, data.windows, data.lengths, 1, "right", Accelerator(cpu=True), slots)
             for slots in (1, 100, 4096)]
    assert all(one.labels.tolist() == data.gold.tolist() for one in found)


def test_sentences_alike_are_computed_once_and_answered_each(model):
    ours, tokenizer = model
    lines = [["Anna", "wohnt", "in", "Bern"], ["in", "Bern"], ["Anna", "wohnt", "in", "Bern"], ["wohnt"], ["in", "Bern"]]
    data, rows = encoded(tokenizer, lines), []
    hook = ours.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))

    def answers(windows):
        rows.clear()
        return predict(ours, windows, data.lengths, tokenizer.pad_token_id, "right", Accelerator(cpu=True))

    try:
        once = answers(data.windows)
        assert sum(rows) == 3
        # another gold label: the same prediction, but a loss of its own, so not the same answer
        other = data.windows[4]._replace(labels=np.where(data.windows[4].labels < 0, -100, 3))
        apart = answers([*data.windows[:4], other])
        assert sum(rows) == 4
    finally:
        hook.remove()
    assert once.labels.tolist() == data.gold.tolist() == apart.labels.tolist()
    assert once.loss[:4].tolist() == once.loss[6:10].tolist() and once.loss[4:6].tolist() == once.loss[11:].tolist()
    assert apart.loss[:11] == pytest.approx(once.loss[:11], abs=1e-5) and (apart.loss[11:] > once.loss[11:] + 1).all()
