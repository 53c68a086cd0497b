"""Sentences as lines of columns: CoNLL, PAN-X, UNER IOB2."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import dropwhile
from pathlib import Path

from ner.data.lines import is_blank
from ner.data.sentences import Sentence
from ner.options import UserError
from ner.tags import check_tag

LANGUAGE_PREFIX = re.compile(r"[a-z]{2,3}(-[a-z]+)*:")
Block = tuple[int, list[str]]  # the number of the first line, the lines


def read_columns(path: Path, lines: Iterable[tuple[int, str]], lang: str) -> list[Sentence]:
    """The sentences of a UNER, PAN-X or CoNLL file."""
    blocks = list(sentence_blocks(lines))
    if not blocks:
        return []
    if path.suffix == ".iob2" or has_ids(blocks):
        blocks = [block for block in map(without_comments, blocks) if block[1]]
        read_row: Callable[[str], tuple[str, str]] = uner_row
    elif has_prefix(path, blocks, lang):
        read_row = partial(panx_row, prefix=f"{lang}:")
    else:
        cells, between = columns(blocks[0][1][0])
        read_row = partial(conll_row, width=len(cells), between=between)
    return [read_block(path, first, block, read_row) for first, block in blocks]


def sentence_blocks(lines: Iterable[tuple[int, str]]) -> Iterator[Block]:
    """What stands between blank lines or -DOCSTART- lines: a sentence, comments before it included."""
    block: list[str] = []
    for number, line in lines:
        if not is_blank(line) and line != "-DOCSTART-" and not line.startswith(("-DOCSTART- ", "-DOCSTART-\t")):
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []
    if block:
        yield number - len(block) + 1, block


def without_comments(block: Block) -> Block:
    number, lines = block
    rows = list(dropwhile(lambda line: line.startswith("#"), lines))
    return number + len(lines) - len(rows), rows


def has_ids(blocks: list[Block]) -> bool:
    """Whether most words have a first column, of three or more, that is their number in the sentence."""
    found = [
        line.count("\t") >= 2 and line.startswith(f"{position}\t")
        for block in blocks
        for position, line in enumerate(without_comments(block)[1], start=1)
    ]
    return sum(found) > len(found) / 2


def has_prefix(path: Path, blocks: list[Block], lang: str) -> bool:
    """Whether all lines start with ``lang:``; UserError where only most do, or all start with another language."""
    prefix = f"{lang}:"
    found = [line.startswith(prefix) for _, block in blocks for line in block]
    if all(found):
        return True
    if sum(found) > len(found) / 2:
        numbers = (number for first, block in blocks for number in range(first, first + len(block)))
        number = next(number for number, good in zip(numbers, found, strict=True) if not good)
        raise UserError(f"{path}:{number}: the line does not start with {prefix!r}; expected it as on most lines")
    first, block = blocks[0]
    other = LANGUAGE_PREFIX.match(block[0])
    if other and all(line.startswith(other[0]) for _, block in blocks for line in block):
        raise UserError(f"{path}:{first}: all lines start with {other[0]!r}; expected {prefix!r} in this folder")
    return False


def read_block(path: Path, first: int, block: list[str], read_row: Callable[[str], tuple[str, str]]) -> Sentence:
    """The sentence in the lines from number ``first`` on; what is wrong with a row gets its place."""
    tokens: list[str] = []
    tags: list[str] = []
    for line in block:
        try:
            token, tag = read_row(line)
            if not token:
                raise ValueError("the word is empty; expected a word before its tag")
            check_tag(tag)
        except ValueError as error:
            raise UserError(f"{path}:{first + len(tokens)}: {error}") from None
        tokens.append(token)
        tags.append(tag)
    return Sentence(tokens, tags, first)


def panx_row(line: str, prefix: str) -> tuple[str, str]:
    cells = line.split("\t")
    if len(cells) != 2:
        raise ValueError(f"{len(cells) - 1} tabs; expected one: {prefix}word<TAB>tag")
    return cells[0].removeprefix(prefix), cells[1]


def uner_row(line: str) -> tuple[str, str]:
    cells = line.split("\t")
    if len(cells) < 3 or not (cells[0].isascii() and cells[0].isdigit()):
        raise ValueError(f"not a word of UNER IOB2: {line[:40]!r}; expected number<TAB>word<TAB>tag")
    return cells[1], cells[2]


def conll_row(line: str, width: int, between: str) -> tuple[str, str]:
    """Held to what the file's first row has: where a column is lost, another would be taken for the tag."""
    cells, found = columns(line)
    if len(cells) < 2 or (len(cells), found) != (width, between):
        like = f", {width} columns between {between} as in the first row" if width > 1 else ""
        raise ValueError(f"columns between {found}: {len(cells)}; expected the word first and the tag last{like}")
    return cells[0], cells[-1]


def columns(line: str) -> tuple[list[str], str]:
    """The columns and what stands between them; only spaces of ASCII do, since a word may be a no-break space."""
    if "\t" in line:
        return line.split("\t"), "tabs"
    return [cell for cell in line.split(" ") if cell], "spaces"
