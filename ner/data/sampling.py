"""Which sentences, and in what order: fractions, subsets, order = f(seed, epoch), the share of each process.

Trade-off. Order is arithmetic, not a stream: a batch is a function of (seed, epoch, step), so that a run continues at
any step without reading what came before, on any number of processes. The price is one permutation an epoch, in memory.
"""

import hashlib
import math
import re
from pathlib import Path

import numpy as np
from datasets import Dataset, concatenate_datasets

from ner.data import readers
from ner.options import UserError, shown

SUBSET_SEED = 42


def fraction(rows: Dataset, share: float, seed: int) -> Dataset:
    """The first ``int(share * rows)`` of a shuffle (the book's sampling, chapter 4)."""
    return rows.shuffle(seed=seed).select(range(int(share * len(rows))))


def training_set(languages: dict[str, Dataset], num_sentences: int | None) -> Dataset:
    """`num_sentences` of each language (the first of a shuffle with seed 42), several languages shuffled together."""
    parts = []
    for lang, rows in languages.items():
        if num_sentences is not None:
            if num_sentences > len(rows):
                raise UserError(f"num_train_sentences: asked for {num_sentences} of '{lang}', which has {len(rows)}")
            rows = rows.shuffle(seed=SUBSET_SEED).select(range(num_sentences))
        parts.append(rows)
    return parts[0] if len(parts) == 1 else concatenate_datasets(parts).shuffle(seed=SUBSET_SEED)


def sentence_hash(words: list[str]) -> str:
    """16 hexadecimal digits that know a sentence by its words."""
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def without(training: Dataset, path: str) -> Dataset:
    """The training set without the sentences that a TSV with the columns language, split, row and hash lists.

    To be applied after fractions and subsets: the other sentences are then the ones of the run it is compared with.
    Sentences of the file that this run does not train on are ignored; ``UserError`` where that is all of them, where a
    hash is not that of the row's words, or where the file is not such a table.
    """
    places = {place: i for i, place in enumerate(zip(training["lang"], training["row"]))}
    dropped = set()
    for line, (lang, split, row, expected) in enumerate(exclusions(path), 2):
        if split != "train" or not re.fullmatch("[0-9]{1,18}", row):
            raise UserError(f"{path}:{line}: expected a row of the split train, "
                            f"found row {shown(row)} of {shown(split)}")
        i = places.get((lang, int(row)))
        if i is not None:
            found = sentence_hash(training[i]["tokens"])
            if found != expected:
                raise UserError(f"{path}:{line}: row {row} of {lang} has the hash {found}, not {shown(expected)}; "
                                f"expected a file made from this very data")
            dropped.add(i)
    if not dropped:
        raise UserError(f"{path}: names none of this run's training sentences")
    if len(dropped) == len(training):
        raise UserError(f"{path}: leaves no sentence to train on")
    return training.select([i for i in range(len(training)) if i not in dropped])


def exclusions(path: str) -> list[list[str]]:
    """Language, split, row and hash of every line below the header."""
    wanted = ("language", "split", "row", "hash")
    try:
        lines = [line for _, line in readers.numbered_lines(Path(path))]
    except UserError as error:
        raise UserError(f"exclude: {error}") from None
    while lines and not lines[-1]:
        lines.pop()
    header, *rows = [line.split("\t") for line in lines] or [[]]
    if not set(wanted) <= set(header):
        raise UserError(f"{path}:1: expected the columns {', '.join(wanted)}, found {shown(', '.join(header))}")
    places = [header.index(name) for name in wanted]
    for line, row in enumerate(rows, 2):
        if len(row) <= max(places):
            raise UserError(f"{path}:{line}: expected {len(header)} cells separated by tabs, found {len(row)}")
    return [[row[i] for i in places] for row in rows]


def steps_per_epoch(sentences: int, batch_size: int) -> int:
    return math.ceil(sentences / batch_size)


def step_sentences(sentences: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """The sentences of optimizer step `step` (counted from 0 over all epochs): a slice of the epoch's permutation."""
    epoch, position = divmod(step, steps_per_epoch(sentences, batch_size))
    order = np.random.default_rng((seed, epoch)).permutation(sentences)
    return order[position * batch_size : (position + 1) * batch_size]


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
    batches = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
