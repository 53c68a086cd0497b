"""Files of tagged sentences -> lists of words and tags; every complaint says file, line and what was expected.

The format is found once for a whole file, by what is in it, and every line is then held to it. That refuses files that
a guess line by line would let through with wrong words or tags; the price is that a file's lines are held in memory
(20,000 PAN-X sentences, 195,387 words, are read in about 0.6 s). A file is
- JSON Lines, when named ``*.jsonl`` or when ``{`` opens it: objects with ``tokens`` and ``tags``, other keys ignored;
- UNER IOB2, when named ``*.iob2`` or when most lines carry their own number in the sentence: id, word, tag, perhaps
  more columns, between tabs; ``#`` lines before a sentence are comments (here alone: elsewhere ``#`` is a word);
- PAN-X, when every line starts with ``lang:``: ``lang:word<TAB>tag``. Where only most do, the first without is refused;
- else CoNLL: the word in the first column, the tag in the last, as many columns on every line, between single tabs or
  runs of spaces; a ``-DOCSTART-`` line is dropped and ends a sentence.

Files are UTF-8. Only ``\\n`` ends a line, since words may hold other line separators; one ``\\r`` before it (CRLF) is
dropped, which loses nothing, because a line ends in a tag. A byte order mark is dropped, too. A line of nothing but
spaces and tabs is blank.
"""

import json
import logging
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, dropwhile
from pathlib import Path
from typing import NamedTuple, TypeGuard

from ner.options import UserError
from ner.tags import check_tag, iob1_to_iob2, is_iob1

logger = logging.getLogger(__name__)

SPLIT_NAMES = {"train": ("train",), "validation": ("dev", "validation"), "test": ("test",)}
EXTENSIONS = ("", ".txt", ".tsv", ".conll", ".iob2", ".jsonl")
MAX_LINE_BYTES = 1 << 20
LANGUAGE_PREFIX = re.compile(r"[a-z]{2,3}(-[a-z]+)*:")
LANGUAGE = re.compile(r"(?!mean_f1)\w[\w.+-]{0,63}")  # its name is part of file names and a key in results.json
NOT_IN_A_WORD = re.compile("[\t\n\0\ud800-\udfff]")

Block = tuple[int, list[str]]  # the number of the first line, the lines


class Sentence(NamedTuple):
    """Words and IOB2 tags of one sentence, as many of each, at least one; ``line`` is where its first word stands."""

    tokens: list[str]
    tags: list[str]
    line: int


class Raw(NamedTuple):
    """Sentences as read; where there is no file, their `line` is their number, from 1."""

    source: str
    unit: str  # stands between source and line in a complaint: ":" or ", row "
    sentences: list[Sentence]

    def place(self, line: int) -> str:
        return f"{self.source}{self.unit}{line}"


def split_files(data_dir: Path, lang: str, split: str) -> list[Path]:
    """Everything in the language's folder that has a name of this split, a folder or a dead link included."""
    names = [name + extension for name in SPLIT_NAMES[split] for extension in EXTENSIONS]
    return [path for name in names if os.path.lexists(path := data_dir / lang / name)]


def find_file(data_dir: Path, lang: str, split: str) -> Path | None:
    """``data_dir/lang/{train,dev|validation|test}[.txt|.tsv|.conll|.iob2|.jsonl]``; UserError where two would serve."""
    found = split_files(data_dir, lang, split)
    if len(found) > 1:
        raise UserError(f"{found[0]} and {found[1]} both hold the {split} split of {lang!r}; expected one file")
    return found[0] if found else None


def languages(data_dir: Path) -> list[str]:
    """The folders in ``data_dir`` with a name for a language and a file of some split, sorted; UserError where there is
    none."""
    expected = "expected a folder with <lang>/train, dev and test files"
    try:
        names = sorted(os.listdir(data_dir))
    except (OSError, ValueError) as error:
        raise UserError(f"{data_dir}: {reason(error)}; {expected}") from None
    found = [name for name in names
             if LANGUAGE.fullmatch(name) and any(split_files(data_dir, name, split) for split in SPLIT_NAMES)]
    if not found:
        raise UserError(f"{data_dir}: no language in this folder; {expected}")
    return found


def read_file(path: Path, lang: str) -> list[Sentence]:
    """All sentences of a file, in order; IOB1 becomes IOB2 with a notice. UserError for whatever is wrong with it."""
    lines = numbered_lines(path)
    first = next(((number, line) for number, line in lines if not is_blank(line)), (0, ""))
    lines = chain([first], lines)
    if path.suffix == ".jsonl" or starts_json(first[1]):
        sentences = [read_json(path, number, line) for number, line in lines if not is_blank(line)]
    else:
        sentences = read_columns(path, lines, lang)
    if not sentences:
        raise UserError(f"{path}: holds no sentence; expected words and their tags")
    if is_iob1(sentence.tags for sentence in sentences):
        logger.warning("%s: the tags are IOB1 and were converted to IOB2", path)
        sentences = [sentence._replace(tags=iob1_to_iob2(sentence.tags)) for sentence in sentences]
    return sentences


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of every line. However long a line is, no more than MAX_LINE_BYTES of it are read."""
    try:
        # before opening, since opening a pipe would wait for ever
        if not stat.S_ISREG(mode := os.stat(path).st_mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
            raise UserError(f"{path}: is {kind}; expected a file with sentences")
        with open(path, "rb") as file:
            for number, raw in enumerate(iter(partial(file.readline, MAX_LINE_BYTES + 1), b""), start=1):
                try:
                    text = decode(raw)
                except ValueError as error:
                    raise UserError(f"{path}:{number}: {error}") from None
                yield number, text.removeprefix("\ufeff") if number == 1 else text
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {reason(error)}; expected a readable file with sentences") from None


def decode(raw: bytes) -> str:
    """The text of one line without its end; ValueError unless it is UTF-8 of a bounded length."""
    if len(raw) > MAX_LINE_BYTES:
        raise ValueError(f"the line is longer than {MAX_LINE_BYTES:,} bytes; expected one word or JSON sentence a line")
    if b"\0" in raw:
        raise ValueError("holds a NUL byte; expected UTF-8 text, not UTF-16 or a binary file")
    try:
        return raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + 1} (0x{raw[error.start]:02x})"
        raise ValueError(f"{byte} of the line is not UTF-8; expected UTF-8 text") from None


def reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


def is_blank(line: str) -> bool:
    return not line.strip(" \t")


def starts_json(line: str) -> bool:
    """Whether ``{`` opens an object; it may be the first word of a file with columns, but then a tag ends the line."""
    if not line.startswith("{"):
        return False
    try:
        check_tag(re.split("[ \t]", line)[-1])
    except ValueError:
        return True
    return False


def read_json(path: Path, number: int, line: str) -> Sentence:
    try:
        return Sentence(*json_row(line), number)
    except ValueError as error:
        expected = '{"tokens": [...], "tags": [...]}, a tag for every token'
        raise UserError(f"{path}:{number}: {error}; expected {expected}") from None


def json_row(line: str) -> tuple[list[str], list[str]]:
    """Tokens and tags of one object; ValueError for tokens, too, that no file of columns could hold."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({getattr(error, 'msg', error)})") from None
    tokens, tags = (row.get("tokens"), row.get("tags")) if isinstance(row, dict) else (None, None)
    if not (is_string_list(tokens) and is_string_list(tags)):
        raise ValueError("no lists of strings under 'tokens' and 'tags'")
    if not tokens or len(tokens) != len(tags):
        raise ValueError(f"{len(tokens)} tokens and {len(tags)} tags")
    for token, tag in zip(tokens, tags, strict=True):
        if not token:
            raise ValueError("a word is empty")
        if bad := NOT_IN_A_WORD.search(token):
            raise ValueError(f"{bad[0]!r} inside the word {token[:40]!r}")
        check_tag(tag)
    return tokens, tags


def is_string_list(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


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
