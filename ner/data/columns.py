"""Sentences as lines of columns: one small reader per shape, chosen once per file by what is in it.

PAN-X, when every line starts with ``lang:``; else columns between tabs or spaces (`layout` says which is which).
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from ner.data.folders import ending_of
from ner.data.layout import Layout, counts, filled, find_layout
from ner.data.lines import is_blank
from ner.data.sentences import Sentence
from ner.options import Options, UserError
from ner.schemes import looks_like_tag
from ner.tags import quoted

logger = logging.getLogger(__name__)

LANGUAGE_PREFIX = re.compile(r"[a-z]{2,3}(-[a-z]+)*:")
# `# sent_id = 1`, `# file: a`, `# id 7 domain=de`, `# newdoc`, `# https://...`, `## klue-1`, `#<TAB>http://...`
COMMENT = re.compile(r"#\t|##+ |#+ ?[\w.-]+( \w+)? ?[=:]|# (id|newdoc|newpar)\b")
COMMENTS = "'# key = value', '# key: value', '# id ...' or '## ...'"
GLOBAL_COLUMNS = re.compile(r"# ?global\.columns ?= ?(.*)")  # CoNLL-U Plus
NOT_A_WORD = re.compile(r"[0-9]+[-.][0-9]+")  # ids of CoNLL-U: several words written as one, or an empty node
LONG_SENTENCE = 1000  # words; a file that is one such sentence has lost its blank lines
Block = list[tuple[int, str]]  # the lines of a sentence, each with its number
ReadRow = Callable[[str], tuple[str, str] | None]  # word and tag; None for a row that is not a word


def read_columns(path: Path, lines: Iterable[tuple[int, str]], lang: str,
                 options: Options) -> tuple[list[Sentence], list[list[int]]]:
    """The sentences of a file with columns, tags as they are written, and the line number of every word."""
    blocks = list(sentence_blocks(lines))
    if not blocks:
        return [], []
    if has_prefix(path, blocks, lang):
        if options.token_column or options.tag_column:
            raise UserError(f"{path}: all lines are {lang}:word<TAB>tag; expected no token_column and no tag_column")
        read_row: ReadRow = partial(panx_row, prefix=f"{lang}:")
    else:
        blocks, layout = prepare(path, blocks, options)
        read_row = partial(column_row, layout=layout, first=blocks[0][0][0] if blocks else 0)
    read = [read_block(path, block, read_row) for block in blocks]
    found = [(sentence, numbers) for sentence, numbers in read if numbers]
    if len(found) == 1 and (count := len(found[0][1])) > LONG_SENTENCE:
        logger.warning("%s: no blank line in the file, which is read as one sentence of %s words", path, f"{count:,}")
    return [sentence for sentence, _ in found], [numbers for _, numbers in found]


def sentence_blocks(lines: Iterable[tuple[int, str]]) -> Iterator[Block]:
    """What is between blank lines or -DOCSTART- lines: a sentence, comments before it included."""
    block: Block = []
    for number, line in lines:
        if not is_blank(line) and line != "-DOCSTART-" and not line.startswith(("-DOCSTART- ", "-DOCSTART-\t")):
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def prepare(path: Path, blocks: list[Block], options: Options) -> tuple[list[Block], Layout]:
    """Rows of words alone, without comments and header, and what their columns are."""
    lines = [line for block in blocks for _, line in block]
    named = next((match[1].split() for line in lines if (match := GLOBAL_COLUMNS.match(line))), None)
    sample = [line for line in lines if not line.startswith("#")] or lines
    first, between = columns(sample[0])
    width = len(first)
    counted = ending_of(path) == ".iob2" or width >= 3 and counts(
        [[columns(line)[0][0] for _, line in block if not line.startswith("#")] for block in blocks])
    tags = {columns(line)[0][-1] for line in sample} if any(map(COMMENT.match, lines)) else set()

    def is_row(line: str) -> bool:
        """Whether a line that may be a comment is a word: it has the columns of one, and a tag."""
        cells, found = columns(line)
        return (len(cells), found) == (width, between) and (cells[-1] in tags or any(map(looks_like_tag, cells[1:])))

    rows = []
    for block in blocks:
        start = next((i for i, (_, line) in enumerate(block) if not line.startswith("#")), len(block)) if counted else 0
        block = [(number, line) for number, line in block[start:] if not COMMENT.match(line) or is_row(line)]
        if block:
            rows.append(block)
    if not rows:
        return [], Layout(width, between, 0, 0, width - 1)
    cells = [[columns(line)[0] for _, line in block] for block in rows]
    layout = find_layout(path, cells, between, named, options)
    if layout.header:
        rows = [block for block in (rows[0][1:], *rows[1:]) if block]
    if len(rows) == 1 and layout.counters:
        rows = split_by_counter(path, rows[0])
    if layout.header and cells[0][0][-1] == "MISC":
        rows = split_at_ends(rows, -1)
    return rows, layout


def split_by_counter(path: Path, block: Block) -> list[Block]:
    """The sentences of a file without blank lines: one starts where the count of words does, or with each name."""
    first = filled([columns(line)[0][0] for _, line in block])
    changes = [i for i in range(1, len(block)) if first[i] != first[i - 1]]
    if counts([first]) == "words":
        changes = [i for i in changes if first[i] == "0" or first[i] == "1" and first[i - 1] != "0"]
    if not changes:
        return [block]
    logger.warning("%s: no blank line in the file; its first column tells %d sentences apart", path, len(changes) + 1)
    return [block[start:end] for start, end in zip([0, *changes], [*changes, None], strict=True)]


def split_at_ends(blocks: list[Block], column: int) -> list[Block]:
    """HIPE's documents, whose sentences end where the last column says ``EndOfSentence``."""
    sentences: list[Block] = []
    for block in blocks:
        start = 0
        for end, (_, line) in enumerate(block, start=1):
            if end == len(block) or "EndOfSentence" in columns(line)[0][column].split("|"):
                sentences.append(block[start:end])
                start = end
    return sentences


def has_prefix(path: Path, blocks: list[Block], lang: str) -> bool:
    """Whether all lines start with ``lang:``; UserError where only most do, or all start with another language."""
    prefix = f"{lang}:"
    lines = [line for block in blocks for _, line in block]
    found = [line.startswith(prefix) for line in lines]
    if all(found):
        return True
    if sum(found) > len(found) / 2:
        number, line = next(row for block in blocks for row in block if not row[1].startswith(prefix))
        raise UserError(f"{path}:{number}: {quoted(line)} does not start with {prefix!r}; expected it as on most lines")
    first, line = blocks[0][0]
    other = LANGUAGE_PREFIX.match(line)
    if other and all(line.startswith(other[0]) for line in lines):
        raise UserError(f"{path}:{first}: all lines start with {other[0]!r}; expected {prefix!r} in this folder")
    return False


def read_block(path: Path, block: Block, read_row: ReadRow) -> tuple[Sentence, list[int]]:
    """The sentence in these lines, and the numbers of its lines; what is wrong with a row gets its place."""
    tokens: list[str] = []
    tags: list[str] = []
    numbers: list[int] = []
    for number, line in block:
        try:
            row = read_row(line)
            if row is None:
                continue
            token, tag = row
            if not token:
                raise ValueError("the word is empty; expected a word before its tag")
        except ValueError as error:
            raise UserError(f"{path}:{number}: {error}") from None
        tokens.append(token)
        tags.append(tag)
        numbers.append(number)
    return Sentence(tokens, tags, numbers[0] if numbers else 0), numbers


def panx_row(line: str, prefix: str) -> tuple[str, str]:
    cells = line.split("\t")
    if len(cells) != 2:
        raise ValueError(f"{len(cells) - 1} tabs; expected one: {prefix}word<TAB>tag")
    return cells[0].removeprefix(prefix), cells[1]


def column_row(line: str, layout: Layout, first: int) -> tuple[str, str] | None:
    """Word and tag of a row, which must have the columns of the first: where one is lost, another would be taken for
    the tag."""
    cells, found = columns(line)
    numbered = layout.counters > 0
    if numbered and len(cells) > 1 and (NOT_A_WORD.fullmatch(cells[0]) or cells[0] == "0" and not cells[1].strip()):
        return None
    ragged = numbered and found == "tabs" == layout.between  # UNER: more columns, or fewer, after the tag
    if numbered and cells[0] and not any(char.isdigit() for char in cells[0]):
        raise ValueError(f"{quoted(line)} does not start with a number; expected number, word and tag, as on most "
                         "lines")
    if ragged and len(cells) <= max(layout.token, layout.tag):
        raise ValueError(f"{len(cells)} columns in {quoted(line)}; expected the tag in column {layout.tag + 1}, "
                         f"as in line {first}")
    if len(cells) < 2:
        table = ", or *.csv as the file's name" if "," in line else ""
        raise ValueError(f"{quoted(line)} has no tab and no space; expected a word and its tag{table}")
    if not ragged and (len(cells), found) != (layout.width, layout.between):
        comment = f", or a comment as {COMMENTS}" if line.startswith("#") else ""
        raise ValueError(f"{len(cells)} columns between {found} in {quoted(line)}; expected {layout.width} between "
                         f"{layout.between}, as in line {first}{comment}")
    return cells[layout.token], layout.tag_of(cells)


def columns(line: str) -> tuple[list[str], str]:
    """The columns and what separates them; only spaces of ASCII do, since a word may be a no-break space."""
    if "\t" in line:
        return line.split("\t"), "tabs"
    return [cell for cell in line.split(" ") if cell], "spaces"
