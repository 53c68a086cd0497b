"""Answers are put back by word number: every word once, or no score at all; and evaluation has no side effects."""

import random

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.utils._python_dispatch import TorchDispatchMode

from ner.data.alignment import Window, encode
from ner.data.collate import Padding, collate, padding_of, to_device
from ner.data.encoded import Encoded
from ner.evaluation import per_language
from ner.evaluation.predict import answer, assemble, predict
from ner.model.head import Head
from ner.tags import TagSet
from tests.helpers.folders import LEXICON, TAGS, lexicon_folder, opened
from tests.helpers.models import small_config

WORDS = [*LEXICON, "wohnt", "in"]


def part(*places: int) -> tuple[np.ndarray, np.ndarray]:
    """The answers of one process: all log-probabilities of a word tell its number."""
    return np.array(places, np.int64), np.array([[p, p / 10, p / 100] for p in places], np.float32).reshape(-1, 3)


@pytest.mark.parametrize("parts", [[part(0, 1, 2, 3, 4)], [part(3, 0), part(4, 2, 1)],
                                   [part(), part(4, 3, 2, 1, 0), part()]])
def test_answers_of_all_processes_in_the_order_of_the_words(parts):
    found = assemble(parts, 5)
    assert found.dtype == np.float32 and found == pytest.approx(part(0, 1, 2, 3, 4)[1])


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
    assert assemble([part()], 0).shape == (0, 3)


@pytest.mark.parametrize("side", ["right", "left"])
def test_an_answer_is_that_of_the_labelled_tokens(side):
    class Model:
        classifier = Head(small_config(num_labels=10))

        def __call__(self, input_ids, attention_mask, lengths, slots, wanted, labels, words):
            return 50 * torch.nn.functional.one_hot(input_ids.flatten()[slots][wanted], 10).half()

    def window(ids, labels):
        return Window(np.array(ids, np.int32), np.array(labels, np.int32), 0)

    windows = [window([0, 7, 2], [-100, 4, -100]), window([0, 8, 9, 6, 2], [-100, 8, -100, 3, -100])]
    found = answer(Model(), to_device(collate(windows, Padding(1, side)), torch.device("cpu")))
    assert found.dtype == torch.float32 and found.shape == (3, 10)
    assert found.numpy() == pytest.approx(50 * np.eye(10)[[8, 6, 7]] - 50, abs=1e-5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model with dropout, and its tokenizer."""
    ours, _, tokenizer = opened(lexicon_folder(tmp_path_factory.mktemp("known") / "model", hidden_dropout_prob=0.5,
                                               attention_probs_dropout_prob=0.5))
    return ours, tokenizer


def encoded(tokenizer, sentences: list[list[str]]) -> Encoded:
    labels = [[TAGS.index(LEXICON.get(word, "O")) for word in one] for one in sentences]
    return Encoded(sentences, np.concatenate(labels), encode(sentences, labels, tokenizer, 16, 8),
                   [("de", i) for i in range(len(sentences))])


def states() -> list:
    kind, keys, *rest = np.random.get_state()
    return [random.getstate(), kind, keys.tolist(), *rest, torch.get_rng_state().tolist()]


def test_an_evaluation_uses_no_randomness_of_the_training(model):
    ours, tokenizer = model
    data = encoded(tokenizer, [random.Random(i).choices(WORDS, k=1 + i) for i in range(30)])
    before, figures = states(), []
    for _ in range(2):
        ours.train()
        scored = per_language.evaluate(ours, {"de": data}, TagSet(TAGS), padding_of(tokenizer), Accelerator(cpu=True),
                                       decode="argmax")  # random words are not legal sentences
        figures.append(scored["de"].metrics)
    assert states() == before and figures[0] == figures[1] and figures[0]["f1"] == 1.0


def test_any_size_of_batch_gives_the_same_answers(model):
    ours, tokenizer = model
    data = encoded(tokenizer, [random.Random(i).choices(WORDS, k=1 + 7 * i % 40) for i in range(30)])
    found = [predict(ours, data, TagSet(TAGS), Padding(1, "right"), Accelerator(cpu=True), "argmax", slots)
             for slots in (1, 100, 4096)]
    assert all(one.labels.tolist() == data.gold.tolist() for one in found)


class Casts(TorchDispatchMode):
    """The shapes of the fp32 tensors that are cast to bf16."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name == "aten::_to_copy" and kwargs.get("dtype") == torch.bfloat16:
            self.shapes.append(args[0].shape)
        return func(*args, **(kwargs or {}))


def test_weights_are_cast_once_however_many_batches(model):
    ours, tokenizer = model
    data = encoded(tokenizer, [[WORDS[i % 7], WORDS[i // 7]] for i in range(49)])
    AcceleratorState._reset_state(True)
    accelerator, weight = Accelerator(cpu=True, mixed_precision="bf16"), ours.classifier.weight
    counts = []
    for slots in (10**6, 4):
        with Casts() as casts:
            predict(ours, data, TagSet(TAGS), padding_of(tokenizer), accelerator, "argmax", slots)
        counts.append((casts.shapes.count(weight.shape), len(casts.shapes)))
    AcceleratorState._reset_state(True)
    assert counts[0][0] == counts[1][0] == 1 and counts[1][1] > 10 * counts[0][1]


def test_equal_sentences_are_computed_once_and_each_gets_an_answer(model):
    ours, tokenizer = model
    lines = [text.split() for text in ("Anna wohnt in Bern", "in Bern", "Anna wohnt in Bern", "wohnt", "in Bern")]
    data, rows = encoded(tokenizer, lines), []
    hook = ours.register_forward_pre_hook(lambda _, __, given: rows.append(len(given["input_ids"])), with_kwargs=True)

    def answers(gold):
        rows.clear()
        return predict(ours, data._replace(gold=gold), TagSet(TAGS), padding_of(tokenizer), Accelerator(cpu=True))

    try:
        once = answers(data.gold)
        assert sum(rows) == 3
        apart = answers(np.array([*data.gold[:11], 3, 3]))  # the same predictions, but losses of their own
        assert sum(rows) == 3
    finally:
        hook.remove()
    assert once.labels.tolist() == data.gold.tolist() == apart.labels.tolist()
    assert once.loss[:4].tolist() == once.loss[6:10].tolist() and once.loss[4:6].tolist() == once.loss[11:].tolist()
    assert apart.loss[:11] == pytest.approx(once.loss[:11], abs=1e-5) and (apart.loss[11:] > once.loss[11:] + 1).all()


def test_brief_scores_are_the_same_without_the_slow_intervals(model):
    ours, tokenizer = model
    data = encoded(tokenizer, [["Anna", "wohnt", "in", "Bern"], ["Keller"], ["Genf"]])
    found = predict(ours, data, TagSet(TAGS), padding_of(tokenizer), Accelerator(cpu=True))
    full, brief = (per_language.score(data, found, TagSet(TAGS), None, brief).metrics for brief in (False, True))
    assert full["f1_ci95"] == brief["f1_ci95"] and full.pop("f1_strict_ci95")
    for part in (*full["by_type"].values(), full["macro"], full["weighted"]):
        part.pop("f1_ci95")
    assert full == brief
