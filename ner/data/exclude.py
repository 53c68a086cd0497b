"""Sentences to leave out of the training set: the TSV that `analysis.suspects` writes, both ways."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from datasets import Dataset

from ner.data.lines import numbered_lines
from ner.files import write_table
from ner.options import UserError, shown

PLACE = ("language", "split", "row", "hash")  # what reading needs; the other columns are for whoever looks through them
HEADER = (*PLACE, "confidence", "gold", "suggestion", "words")


def write_exclusions(path: Path, rows: Iterable[Sequence]) -> None:
    """The table that `without` reads: rows of `HEADER`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, HEADER, rows)


def sentence_hash(words: list[str]) -> str:
    """16 hexadecimal digits that know a sentence by its words."""
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def without(training: Dataset, path: str) -> Dataset:
    """The training set without the sentences that a TSV with the columns language, split, row and hash lists.

    To be applied after fractions and subsets: the other sentences are then the ones of the run it is compared with.
    Sentences of the file that this run does not train on are ignored; ``UserError`` where that is all of them, where a
    hash is not that of the row's words, or where the file is not such a table.
    """
    places = {place: i for i, place in enumerate(zip(training["lang"], training["row"], strict=True))}
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
    try:
        lines = [line for _, line in numbered_lines(Path(path))]
    except UserError as error:
        raise UserError(f"exclude: {error}") from None
    while lines and not lines[-1]:
        lines.pop()
    header, *rows = [line.split("\t") for line in lines] or [[]]
    if not set(PLACE) <= set(header):
        raise UserError(f"{path}:1: expected the columns {', '.join(PLACE)}, found {shown(', '.join(header))}")
    places = [header.index(name) for name in PLACE]
    for line, row in enumerate(rows, 2):
        if len(row) <= max(places):
            raise UserError(f"{path}:{line}: expected {len(header)} cells separated by tabs, found {len(row)}")
    return [[row[i] for i in places] for row in rows]
