"""Which sentences, and in what order: fractions, subsets, order = f(seed, epoch), the share of each process.

Trade-off. Order is arithmetic, not a stream: a batch is a function of (seed, epoch, step), so that a run continues at
any step without reading what came before, on any number of processes. The price is one permutation an epoch, in memory.
"""

import functools
import math
from collections.abc import Mapping

import numpy as np
from datasets import Dataset, concatenate_datasets

from ner.options import UserError

SUBSET_SEED = 42


def fraction(rows: Dataset, share: float, seed: int) -> Dataset:
    """The first ``int(share * rows)`` of a shuffle (the book's sampling, chapter 4)."""
    return rows.shuffle(seed=seed).select(range(int(share * len(rows))))


def subset(rows: Dataset, lang: str, num_sentences: int | None) -> Dataset:
    """`num_sentences` of a language: the first of a shuffle with seed 42."""
    if num_sentences is None:
        return rows
    if num_sentences > len(rows):
        raise UserError(f"num_train_sentences: asked for {num_sentences} of '{lang}', which has {len(rows)}")
    return rows.shuffle(seed=SUBSET_SEED).select(range(num_sentences))


def training_set(languages: dict[str, Dataset], num_sentences: int | None,
                 pseudo: Mapping[str, Dataset] | None = None) -> Dataset:
    """`num_sentences` of each language, followed by those that a teacher has tagged; several languages are shuffled
    together."""
    parts = [*(subset(rows, lang, num_sentences) for lang, rows in languages.items()), *(pseudo or {}).values()]
    return parts[0] if len(parts) == 1 else concatenate_datasets(parts).shuffle(seed=SUBSET_SEED)


def steps_per_epoch(sentences: int, batch_size: int) -> int:
    return math.ceil(sentences / batch_size)


def step_sentences(sentences: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """The sentences of optimizer step `step` (counted from 0 over all epochs): a slice of the epoch's permutation."""
    epoch, position = divmod(step, steps_per_epoch(sentences, batch_size))
    return epoch_order(sentences, seed, epoch)[position * batch_size : (position + 1) * batch_size]


@functools.lru_cache(maxsize=1)  # of a million sentences, it takes more time than a step
def epoch_order(sentences: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of an epoch, not to be changed."""
    order = np.random.default_rng((seed, epoch)).permutation(sentences)
    order.setflags(write=False)
    return order


def micro_batches(lengths: list[int], rank: int, processes: int, size: int | None) -> list[list[int]]:
    """The items (by number) that process `rank` computes, cut into forward passes of at most `size` of alike length.

    Items are dealt out by length, so that all processes have about the same work, and all get the same number of
    passes, some perhaps empty: a process that skipped one would leave the others waiting.
    ``micro_batches([5, 9, 7], 0, 2, None) -> [[1, 0]]``, ``micro_batches([5, 9, 7], 1, 2, None) -> [[2]]``.
    """
    by_length = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    share = by_length[rank::processes]
    largest = math.ceil(len(lengths) / processes)
    size = size or max(largest, 1)
    return [share[start : start + size] for start in range(0, max(largest, 1), size)]


def token_batches(lengths: list[int], budget: int) -> list[list[int]]:
    """All items by length, in batches of at most `budget` slots or of one item: ``[3, 9, 4], 9 -> [[1], [2, 0]]``."""
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
