"""The sentences of one language, ready for the model: words, gold labels, and the windows of each sentence.

What is known of every word of a corpus (labels, losses) is one flat array in the order of the words, which
`per_sentence` cuts up.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from datasets import Dataset

from ner.data import alignment
from ner.data.alignment import IGNORED, Window

MOST_WINDOWS = 8  # of a sentence that is trained on as a whole


class Encoded(NamedTuple):
    """S sentences of N words."""

    tokens: list[list[str]]
    gold: np.ndarray  # (N,) label of every word, -1 where nobody has annotated it
    windows: list[list[Window]]  # of every sentence
    source: list[tuple[str, int]]  # language and row in the source of every sentence

    @property
    def lengths(self) -> list[int]:
        """Words in each sentence."""
        return [len(words) for words in self.tokens]

    def per_sentence(self, values: np.ndarray) -> list[np.ndarray]:
        """(N,) one value for every word -> S arrays, views of it."""
        return per_sentence(values, self.lengths)

    def with_ids(self, change: Callable[[np.ndarray], np.ndarray]) -> "Encoded":
        """The same sentences with `change` applied to the subword ids of every window."""
        return self._replace(windows=[[window._replace(input_ids=change(window.input_ids)) for window in sentence]
                                      for sentence in self.windows])


def encode(rows: Dataset, tokenizer, max_length: int, stride: int | None = None, training: bool = False) -> Encoded:
    """Windows and gold labels of a data set.

    A word without annotation (-1) is not trained on; elsewhere it is predicted as the others are, with label 0 standing
    in for the one that it lacks.
    """
    tokens, labels = list(rows["tokens"]), list(rows["ner_tags"])
    stand_in = IGNORED if training else 0
    windows = alignment.encode(tokens, [[stand_in if label < 0 else label for label in ids] for ids in labels],
                               tokenizer, max_length, stride)
    gold = np.concatenate([np.asarray(ids, np.int64) for ids in labels])
    return Encoded(tokens, gold, windows, list(zip(rows["lang"], rows["row"], strict=True)))


def in_windows(encoded: Encoded) -> Encoded:
    """For training: a sentence of more than `MOST_WINDOWS` windows, as a file without blank lines is one, becomes one
    sentence for each window, so that neither a step nor its memory grows with the length of a text."""
    tokens, gold, windows, source = [], [], [], []
    for words, labels, found, place in zip(encoded.tokens, encoded.per_sentence(encoded.gold), encoded.windows,
                                           encoded.source, strict=True):
        if len(found) <= MOST_WINDOWS:
            parts = [(0, len(words), found)]
        else:
            starts = [window.first_word for window in found]
            parts = [(start, end, [window._replace(first_word=0)])
                     for window, start, end in zip(found, starts, [*starts[1:], len(words)], strict=True)]
        for start, end, part in parts:
            tokens.append(words[start:end])
            gold.append(labels[start:end])
            windows.append(part)
            source.append(place)
    return Encoded(tokens, np.concatenate(gold), windows, source)


def unlabelled(tokens: list[list[str]], tokenizer, max_length: int, stride: int | None = None) -> Encoded:
    """Sentences without gold labels; label 0 stands in for them, so that every word is predicted."""
    labels = [[0] * len(words) for words in tokens]
    windows = alignment.encode(tokens, labels, tokenizer, max_length, stride)
    return Encoded(tokens, np.zeros(sum(map(len, tokens)), np.int64), windows, [])


def first(encoded: Encoded, count: int) -> Encoded:
    """Its first `count` sentences."""
    return select(encoded, range(min(count, len(encoded.tokens))))


def select(encoded: Encoded, numbers: Sequence[int]) -> Encoded:
    """Its sentences of these numbers, in their order."""
    gold = encoded.per_sentence(encoded.gold)
    return Encoded([encoded.tokens[i] for i in numbers], np.concatenate([gold[i] for i in numbers]),
                   [encoded.windows[i] for i in numbers], [encoded.source[i] for i in numbers])


def per_sentence(values: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
    """``[5, 6, 7], [1, 2] -> [[5], [6, 7]]``, views."""
    return np.split(values, np.cumsum(lengths, dtype=np.int64))[:-1]
