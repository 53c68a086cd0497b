"""Sentences as a CSV table: one word per row, the names of the columns in the first row, as Kaggle's corpora have it.

A new value in the sentence column begins a sentence, and so does an empty row; the column may be filled in every row or
in a sentence's first row only.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ner.data.folders import ending_of
from ner.data.layout import NUMBER, column_of
from ner.data.sentences import NOT_IN_A_WORD, Sentence
from ner.options import Options, UserError

WORD = ("word", "words", "token", "tokens")
TAG = ("ner_tag", "ner_tags", "ner", "ne", "nertag", "tag", "tags", "label", "labels", "bio", "iob")
SENTENCE = ("sentence #", "sentence_idx", "sentence_id", "sent_id", "sentence", "sentence_number", "sentence number")
EXPECTED = "expected a header with the columns Word and Tag, as in Sentence #,Word,POS,Tag"


class Header(NamedTuple):
    """Where word, tag and sentence are in the rows of a table."""

    delimiter: str
    width: int
    word: int
    tag: int
    sentence: int | None


def header(line: str, options: Options, delimiters: str = ",;", numbers: bool = False) -> Header | None:
    """What a table's first line says; None where it does not name columns for words and tags.

    numbers: whether --token_column and --tag_column may be numbers, as they may where it is known to be a table.
    """
    for delimiter in delimiters:
        names = split(line, delimiter)
        folded = [name.casefold() for name in names]
        word, tag, sentence = (next((folded.index(name) for name in known if name in folded), None)
                               for known in (WORD, TAG, SENTENCE))
        word, tag = asked(options.token_column, names, numbers, word), asked(options.tag_column, names, numbers, tag)
        if word is not None and tag is not None and word != tag:
            return Header(delimiter, len(names), word, tag, sentence)
    return None


def split(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def asked(option: str | None, names: list[str], numbers: bool, found: int | None) -> int | None:
    """The column that an option names, if it does; else the one found."""
    if option is None:
        return found
    if option in names:
        return names.index(option)
    return int(option) - 1 if numbers and NUMBER.fullmatch(option) and 0 < int(option) <= len(names) else None


def read_table(path: Path, lines: Iterable[tuple[int, str]], options: Options) -> list[Sentence]:
    """The sentences of a table; the first of the numbered lines is its header."""
    lines = iter(lines)
    number, line = next(lines)
    columns = header(line, options, ",;\t", ending_of(path) == ".csv")
    if columns is None:
        names = max((split(line, delimiter) for delimiter in ",;\t"), key=len)
        for name in ("token_column", "tag_column"):
            column_of(path, getattr(options, name), name, names, len(names))
        raise UserError(f"{path}:{number}: {line[:80]!r} does not name a table's columns; {EXPECTED}")
    rows = csv.reader((f"{text}\n" for _, text in lines), delimiter=columns.delimiter, strict=True)
    sentences: list[Sentence] = []
    current, is_new = "", True
    above = number
    try:
        for row in rows:
            line_number, above = above + 1, number + rows.line_num
            if not any(cell.strip() for cell in row):
                is_new = True
                continue
            word, tag = cells(row, columns)
            sentence = "" if columns.sentence is None else row[columns.sentence].strip()
            if sentence and sentence != current:
                current, is_new = sentence, True
            if is_new:
                sentences.append(Sentence([], [], line_number))
            is_new = False
            sentences[-1].tokens.append(word)
            sentences[-1].tags.append(tag)
    except (ValueError, csv.Error) as error:
        message = str(error) if isinstance(error, ValueError) else f"not CSV ({error}); expected quotes in pairs"
        raise UserError(f"{path}:{number + rows.line_num}: {message}") from None
    return sentences


def cells(row: list[str], columns: Header) -> tuple[str, str]:
    """Word and tag of a row."""
    if len(row) != columns.width:
        raise ValueError(f"{len(row)} cells; expected {columns.width} between {columns.delimiter!r}, as in the header")
    word, tag = row[columns.word], row[columns.tag].strip()
    if not word:
        raise ValueError("the word is empty; expected a word before its tag")
    if bad := NOT_IN_A_WORD.search(word):
        raise ValueError(f"{bad[0]!r} inside the word {word[:40]!r}; expected a word")
    if tag.startswith("["):
        raise ValueError(f"a list in one cell: {tag[:40]!r}; expected one word per row")
    return word, tag
