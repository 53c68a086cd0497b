"""Log-probabilities of words -> one label per word: the most probable ones, or the most probable legal sequence.

IOB2 allows I-X only after B-X or I-X. Forbidding all other steps when decoding is about as good as a CRF (Lester et al.
2020, arXiv:2010.04362). Shapes: N words of S sentences, K tags.
"""

from collections.abc import Sequence

import numpy as np


def decode(log_probabilities: np.ndarray, lengths: Sequence[int], names: Sequence[str], how: str) -> np.ndarray:
    """(N,) labels; how: the option `decode`."""
    return viterbi(log_probabilities, lengths, names) if how == "viterbi" else argmax(log_probabilities)


def argmax(log_probabilities: np.ndarray) -> np.ndarray:
    """(N, K) -> (N,) the most probable label of each word, of equals the lowest."""
    return log_probabilities.argmax(1)


def viterbi(log_probabilities: np.ndarray, lengths: Sequence[int], names: Sequence[str]) -> np.ndarray:
    """(N,) labels: for each sentence, those with the highest sum of log-probabilities among the legal sequences.

    log_probabilities: (N, K). lengths: words of each sentence, in order. names: the K tags, with a B-X for every I-X.
    Of equal sequences the one with the lowest last label, then the lowest before it, and so on.
    """
    labels, words_of = argmax(log_probabilities), np.asarray(lengths, np.int64)
    sentence_of, starts = np.repeat(np.arange(len(words_of)), words_of), np.cumsum(words_of) - words_of
    # Where argmax is legal, no legal sequence can have a higher sum.
    searched = np.unique(sentence_of[illegal_steps(labels, sentence_of, names)])
    searched = searched[np.argsort(-words_of[searched], kind="stable")]  # longest first: those that go on come first
    starts, words_of = starts[searched], words_of[searched]
    inside, before = inside_and_before(names)
    finite = np.finfo(np.float32).min  # a tag of probability 0 is still better than an illegal one
    scores = np.zeros((len(searched), len(names)))
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    for position in range(words_of.max(initial=0)):
        count = int(np.count_nonzero(words_of > position))
        reached, words = scores[:count], starts[:count] + position
        back = np.repeat(reached.argmax(1)[:, None], len(names), 1)
        if position:
            pairs = reached[:, before]
            back[:, inside] = np.where(pairs[..., 0] >= pairs[..., 1], before[:, 0], before[:, 1])
        reached[:] = np.take_along_axis(reached, back, 1) + np.maximum(log_probabilities[words], finite)
        if not position:
            reached[:, inside] = -np.inf
        steps.append((words, back))
    label = scores.argmax(1)
    for words, back in reversed(steps):
        now = label[: len(words)]  # a view
        labels[words] = now
        now[:] = back[np.arange(len(now)), now]
    return labels


def illegal_steps(labels: np.ndarray, sentence_of: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """(N,) bool: I-X at the start of a sentence, or after anything but B-X or I-X. sentence_of: (N,) its number."""
    kinds = {name[2:]: number for number, name in enumerate(names)}
    kind, inside = np.array([kinds[name[2:]] for name in names]), np.array([name.startswith("I-") for name in names])
    same = (kind[labels[1:]] == kind[labels[:-1]]) & (sentence_of[1:] == sentence_of[:-1])
    return inside[labels] & ~np.concatenate([[False], same])[: len(labels)]


def inside_and_before(names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The labels of all I-X, and (I, 2) for each the labels that may come before it, in ascending order."""
    inside = [label for label, name in enumerate(names) if name.startswith("I-")]
    before = [sorted((label, names.index("B-" + names[label][2:]))) for label in inside]
    return np.array(inside, np.int64), np.array(before, np.int64).reshape(-1, 2)
