"""Decoding: equal to brute force over all legal sequences, to argmax where that is legal, and sentence by sentence."""

import itertools

import numpy as np
import pytest
from accelerate import Accelerator

from ner.data import encoded
from ner.evaluation.decoding import argmax, decode, viterbi
from ner.inference.trained import load, predicted
from tests.helpers.folders import TAGS, lexicon_folder

PANX = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
MIXED = ("I-LOC", "O", "B-PER", "B-LOC", "I-PER", "B-DATE")  # ids in any order, a type without I-


def legal(path, names) -> bool:
    tags = ["O", *(names[label] for label in path)]
    return all(now[:2] != "I-" or before in ("B-" + now[2:], now) for before, now in itertools.pairwise(tags))


def brute_force(scores: np.ndarray, names) -> list[int]:
    """The legal sequence with the highest sum; of equals, the one with the lowest last label, and so on backwards."""
    paths = (path for path in itertools.product(range(len(names)), repeat=len(scores)) if legal(path, names))
    return list(min(paths, key=lambda path: (-sum(scores[i, label] for i, label in enumerate(path)), path[::-1])))


def rows_of(lengths) -> list[slice]:
    return [slice(end - length, end) for end, length in zip(np.cumsum(lengths), lengths)]


@pytest.mark.parametrize("names", [PANX, MIXED])
@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_equals_brute_force_on_random_sentences(names, levels):
    """Whole numbers add up exactly, and few levels make ties."""
    generator = np.random.default_rng(levels)
    lengths = generator.integers(1, 5, 60).tolist()
    scores = -generator.integers(0, levels, (sum(lengths), len(names))).astype(np.float32)
    found, free = viterbi(scores, lengths, names), argmax(scores)
    for rows in rows_of(lengths):
        assert found[rows].tolist() == brute_force(scores[rows], names)
        assert not legal(free[rows], names) or found[rows].tolist() == free[rows].tolist()
    assert 5 < sum(not legal(free[rows], names) for rows in rows_of(lengths)) < 55, "both kinds of sentences occur"


def test_any_choice_and_order_of_sentences_gives_the_same():
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, 30, 50).tolist()
    scores = np.log(generator.dirichlet(np.ones(5), sum(lengths))).astype(np.float32)
    found = viterbi(scores, lengths, PANX)
    rows = rows_of(lengths)
    assert all(legal(found[one], PANX) for one in rows) and (found != argmax(scores)).any()
    for numbers in (generator.permutation(50), generator.choice(50, 20, replace=False), [7]):
        part = viterbi(np.concatenate([scores[rows[i]] for i in numbers]), [lengths[i] for i in numbers], PANX)
        assert part.tolist() == [label for i in numbers for label in found[rows[i]]]


def test_exact_examples():
    """I-PER opens nothing: the next best is B-PER if the entity is sure, O if the word alone was unsure."""
    sure = np.log([[0.1, 0.4, 0.5, 0, 0], [0.01, 0.01, 0.98, 0, 0]], where=[[True] * 3 + [False] * 2] * 2,
                  out=np.full((2, 5), -np.inf)).astype(np.float32)
    assert viterbi(sure, [2], PANX).tolist() == [1, 2] and viterbi(sure, [1, 1], PANX).tolist() == [1, 0]
    assert decode(sure, [2], PANX, "viterbi").tolist() == [1, 2]
    assert decode(sure, [2], PANX, "argmax").tolist() == [2, 2]


def test_legal_even_where_every_legal_sequence_is_impossible():
    only_inside = np.full((3, 5), -np.inf, np.float32)
    only_inside[:, 2] = 0
    assert legal(viterbi(only_inside, [3], PANX), PANX) and legal(viterbi(only_inside[:1], [1], PANX), PANX)


def test_nothing_to_decode():
    assert viterbi(np.zeros((0, 5), np.float32), [], PANX).tolist() == []
    assert viterbi(np.zeros((2, 1), np.float32), [2], ("O",)).tolist() == [0, 0]


def test_windows_are_joined_before_tags_are_chosen(tmp_path):
    """Wherever their borders fall: within an entity, and before an I-X that opens one. The model sees single words, so
    that windows change its answers in no other way."""
    accelerator = Accelerator(cpu=True)
    trained = load(str(lexicon_folder(tmp_path / "model")), accelerator)
    for before in range(20):
        words = ["in"] * before + ["Anna", "Keller", "und", "Keller", "Keller"] + ["in"] * (25 - before)
        whole, cut = (encoded.unlabelled([words], trained.tokenizer, length) for length in (64, 16))
        assert len(whole.windows[0]) == 1 and len(cut.windows[0]) > 2
        one, other = (predicted(trained, sentence, accelerator) for sentence in (whole, cut))
        assert other.labels.tolist() == one.labels.tolist() and legal(other.labels, TAGS)
        assert [TAGS[label] for label in other.labels[before : before + 2]] == ["B-PER", "I-PER"]
        assert not legal(other.argmax, TAGS)
