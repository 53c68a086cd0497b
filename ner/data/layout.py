"""Which column of a file holds the words and which the tags: found once per file, by its header or what is in it."""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ner.data.folders import ending_of
from ner.options import Options, UserError, closest
from ner.schemes import WITHOUT_TAG, looks_like_tag, plain_types
from ner.tags import quoted

logger = logging.getLogger(__name__)

WORD_NAMES = ("token", "tokens", "word", "words", "form", "text")
TAG_NAMES = ("tag", "tags", "ner", "ne", "ner_tag", "ner_tags", "ner-tag", "ne-tag", "nertag", "netag", "label",
             "labels", "entity", "iob", "bio", "iob2", "ne-coarse-lit")
CHUNKS = {"NP", "VP", "PP", "ADVP", "SBAR", "ADJP", "PRT", "CONJP", "INTJ", "LST", "UCP", "O",
          "NC", "VC", "PC"}  # the last three are those of the German CoNLL-2003
MISC_KEYS = ("name", "NE", "ner", "NER")  # under which corpora in CoNLL-U keep a word's tag
CONLLU_COLUMNS = 10
NUMBER = re.compile("[0-9]+")
NUMBERED = re.compile(".*[0-9].*")  # a number, or a name that holds one
Rows = Sequence[Sequence[str]]  # the cells of a file's rows


class Layout(NamedTuple):
    """Columns from 0. `counters`: how many before the words count or name; `key`: of the tag in a column of MISC."""

    width: int
    between: str  # "tabs" or "spaces"
    counters: int
    token: int
    tag: int
    key: str | None = None
    outside: str | None = None  # the tag of a word without the key; None: it must be there
    header: bool = False  # whether the first row is one

    def tag_of(self, cells: Sequence[str]) -> str:
        """ValueError where MISC lacks it."""
        if self.key is None:
            return cells[self.tag]
        found = misc(cells[self.tag]).get(self.key, self.outside)
        if found is None:
            raise ValueError(f"no {self.key}=TAG in the last column, {quoted(cells[self.tag])}; "
                             "expected it as in other rows")
        return found


def find_layout(path: Path, blocks: Sequence[Rows], between: str, names: Sequence[str] | None,
                options: Options) -> Layout:
    """The layout of the file with these sentences, whose first row may be a header; `names`: a header elsewhere in it.

    A second layer of tags gets a notice. UserError where --token_column or --tag_column name no column of the file.
    """
    header = names is None and is_header(blocks[0][0], options)
    if header:
        names, blocks = blocks[0][0], [blocks[0][1:], *blocks[1:]]
    rows = [cells for block in blocks for cells in block]
    width = len(rows[0] if rows else names or ())
    if names and rows and len(names) != width:
        raise UserError(f"{path}: the header names {len(names)} columns, and the first row has {width}; expected as "
                        "many")
    counters = max(count_counters(blocks, width), ending_of(path) == ".iob2")
    token = column_of(path, options.token_column, "token_column", names, width)
    tag = column_of(path, options.tag_column, "tag_column", names, width)
    if token is None:
        token = by_name(names, WORD_NAMES)
    columns = [c for c in range(counters, width) if c != token] or [width - 1]
    key = misc_key(rows, width, counters) if tag in (None, width - 1) else None
    if key is not None:
        tag = width - 1
    elif tag is None:
        tag = find_tag_column(path, rows, columns, names, options, counters if token is None else None)
    if token is None:
        token = find_token_column(path, [c for c in columns if c != tag], tag)
    if token == tag and width > 1:
        raise UserError(f"{path}: column {tag + 1} for words and for tags; expected two columns: set --token_column "
                        "and --tag_column")
    every = key is None or any(misc(cells[-1]).get(key) == "O" for cells in rows)
    return Layout(width, between, counters, token, tag, key, None if every else "O", header)


def is_header(cells: Sequence[str], options: Options) -> bool:
    """Whether a file's first row names its columns: one for words and one for tags, or those of the options."""
    asked = [name for name in (options.token_column, options.tag_column) if name and not NUMBER.fullmatch(name)]
    if any(name in cells for name in asked):
        return True
    return by_name(cells, WORD_NAMES) is not None and any(map(is_tag_name, cells))


def is_tag_name(name: str) -> bool:
    name = name.rpartition(":")[2].casefold()  # CoNLL-U Plus: PROJECT:NAME
    return name in TAG_NAMES or name.startswith(("ne-", "ner-"))


def by_name(names: Sequence[str] | None, known: Sequence[str]) -> int | None:
    return next((c for c, name in enumerate(names or ()) if name.casefold() in known), None)


def column_of(path: Path, asked: str | None, option: str, names: Sequence[str] | None, width: int) -> int | None:
    """The column that an option names."""
    if asked is None:
        return None
    if names and asked in names:
        return list(names).index(asked)
    if not NUMBER.fullmatch(asked):
        there = f"there are {', '.join(map(quoted, names))}" if names else "it has no header line"
        raise UserError(f"{path}: no column {asked!r}; expected {option} to be a number from 1 or a name in the header"
                        f" ({there}){closest(asked, names or ())}")
    if not 0 < int(asked) <= width:
        raise UserError(f"{path}: no column {asked}; expected {option} from 1 to {width}, as many as the file has")
    return int(asked) - 1


def count_counters(blocks: Sequence[Rows], width: int) -> int:
    """How many columns before the words count words or sentences, or name the sentence (``sent-3``)."""
    found = 0
    while width - found >= 3 and counts([[cells[found] for cells in block if len(cells) > found] for block in blocks]):
        found += 1
    return found


def counts(blocks: Sequence[Sequence[str]]) -> str | None:
    """Whether a column, here by sentence, counts "words", from 0 or 1, by sentence or by file, or numbers or names
    "sentences", most of them of several words."""
    last, follow = -1, 0
    for block in blocks:
        for position, value in enumerate(block):
            if value.isascii() and value.isdigit() and len(value) < 10:
                number = int(value)
                follow += number == last + 1 or number in (0, 1) and (position == 0 or number != last)
                last = number
    values = filled([value for block in blocks for value in block])
    if follow > len(values) / 2:
        return "words"
    runs = [value for i, value in enumerate(values) if i == 0 or values[i - 1] != value]
    named = (len(values) > 2 and len(values) >= 1.5 * len(runs) and len(set(runs)) > len(runs) / 2
             and all(map(NUMBERED.fullmatch, runs)) and not any(map(looks_like_tag, runs)))
    return "sentences" if named else None


def filled(values: Sequence[str]) -> list[str]:
    """With the value before in place of an empty one, for the sentence's number may be on its first word alone."""
    found: list[str] = []
    for value in values:
        found.append(value or (found[-1] if found else value))
    return found


def misc(cell: str) -> dict[str, str]:
    """The last column of CoNLL-U: ``name=B-PER|SpaceAfter=No``"""
    return dict(part.split("=", 1) for part in cell.split("|") if "=" in part)


def misc_key(rows: Rows, width: int, counters: int) -> str | None:
    """The key of tags in the last column, where the file is CoNLL-U."""
    if width != CONLLU_COLUMNS or not counters:
        return None
    entries = [misc(cells[-1]) for cells in rows if len(cells) == width]
    return next((key for key in MISC_KEYS if any(looks_like_tag(entry.get(key, "")) for entry in entries)), None)


def find_tag_column(path: Path, rows: Rows, columns: Sequence[int], names: Sequence[str] | None, options: Options,
                    first: int | None) -> int:
    """The first of `columns` with entities, else one with O alone or with types (IO), else the last.

    `first` is likely to hold the words, so that it is only taken where there are tags in it and nowhere else.
    """
    named = [c for c in columns if names and c < len(names) and is_tag_name(names[c])]
    pool = named or [c for c in columns if c != first] or list(columns)
    entries = {c: Counter(cells[c] for cells in rows if len(cells) > c) for c in {*pool, *columns}}
    tagged = {c: share_of_tags(entries[c], options.tag_scheme) > 0.5 for c in entries}
    types = {c: {tag.rpartition("-")[2] for tag in entries[c] if tag not in ("O", *WITHOUT_TAG)
                 and looks_like_tag(tag, options.tag_scheme)} for c in entries}
    layers = [c for c in pool if tagged[c] and types[c] and not types[c] <= CHUNKS] or [
        c for c in pool if not types[c] and plain_types(entries[c])]
    without_entities = [c for c in pool if tagged[c] and not types[c]]
    if len(layers) > 1:
        shown = [f"{c + 1}{f' ({names[c]})' if names else ''}" for c in layers]
        logger.warning("%s: columns %s hold layers of tags; took the first; --tag_column %s takes another", path,
                       ", ".join(shown), layers[1] + 1)
    if layers or without_entities:
        return layers[0] if layers else without_entities[-1]
    if first in entries and not any(tagged[c] for c in pool) and tagged[first] and types[first]:
        return first
    if len(rows[0]) == CONLLU_COLUMNS and first == 1:
        raise UserError(f"{path}: CoNLL-U, but no column has tags; expected {MISC_KEYS[0]}=B-TYPE in the last, or "
                        "--tag_column")
    return next((c for c in reversed(pool) if tagged[c]), pool[-1])


def find_token_column(path: Path, others: Sequence[int], tag: int) -> int:
    """The first column; where the tags come first, the only other one."""
    if len(others) > 1 and tag < others[0]:
        raise UserError(f"{path}: the tags are in column {tag + 1}, and {len(others)} columns follow; "
                        "expected --token_column to say which of them holds the words")
    return others[0] if others else 0


def share_of_tags(entries: Counter[str], scheme: str | None) -> float:
    """The share of a column's cells that hold a tag; none where no cell is more than a sign for "without"."""
    found = sum(n for tag, n in entries.items() if looks_like_tag(tag, scheme))
    without = sum(entries[tag] for tag in WITHOUT_TAG)
    return (found + without) / max(entries.total(), 1) if found else 0
