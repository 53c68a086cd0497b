"""Files of tagged sentences -> lists of words and tags; every complaint says file, line and what was expected.

The format is found once for a whole file, by what is in it, and every line must then be like it. That refuses files
that a guess line by line would let through with wrong words or tags; the price is that a file's lines are held in
memory (20,000 PAN-X sentences, 195,387 words, are read in about 0.7 s). A file is
- JSON Lines, when named ``*.jsonl`` or when ``{`` opens it, or a list of the same records, when ``[`` does: words with
  tags, or texts with character spans (`records`, `spans`);
- a CSV table, when named ``*.csv`` or when its first line names columns for words and tags (`table`);
- PAN-X, when every line starts with ``lang:``: ``lang:word<TAB>tag``. Where only most do, the first without is refused;
- else columns between single tabs or runs of spaces, as many on every line, with or without a header, comments and
  numbers of words (`columns`); which column holds what is found by what is in them (`layout`).

Any of them may be gzipped. A line of nothing but spaces and tabs is blank; `lines` says what a line is.
"""

import logging
from itertools import chain
from pathlib import Path

from ner.data.columns import read_columns
from ner.data.folders import BRAT, ending_of
from ner.data.json_list import list_items
from ner.data.lines import CHUNK, is_blank, numbered_lines, opened
from ner.data.records import parsed, read_records, starts_json, starts_list
from ner.data.sentences import Sentence
from ner.data.table import header, read_table
from ner.options import Options, UserError
from ner.schemes import TagError, looks_like_tag, to_iob2
from ner.tags import quoted

logger = logging.getLogger(__name__)
DEFAULTS = Options()
WEBANNO = "#FORMAT=WebAnno TSV"


def read_file(path: Path, lang: str, options: Options = DEFAULTS) -> list[Sentence]:
    """All sentences of a file, in order; tags of another scheme become IOB2 with a notice. UserError for whatever is
    wrong with it."""
    refuse_brat(path)
    sentences, numbers = read_any(path, lang, options)
    if not sentences:
        raise UserError(f"{path}: holds no sentence; expected words and their tags")
    return in_iob2(path, sentences, numbers, options.tag_scheme)


def read_any(path: Path, lang: str, options: Options) -> tuple[list[Sentence], list[list[int]]]:
    """The sentences of a file of any format with its tags, and the line number of every word where it is known."""
    ending = ending_of(path)
    with opened(path) as file:
        head = file.peek(CHUNK)
    if starts_list(head, ending == ".json"):
        return read_records(path, list_items(path), options, "item"), []
    lines = numbered_lines(path)
    first = next(((number, line) for number, line in lines if not is_blank(line)), (0, ""))
    lines = chain([first], lines)
    if ending in (".json", ".jsonl") or starts_json(first[1]):
        rows = (parsed(path, number, line) for number, line in lines if not is_blank(line))
        return read_records(path, rows, options), []
    if first[1].startswith(WEBANNO):
        raise UserError(f"{path}:{first[0]}: is WebAnno TSV; expected one column with tags: export the project as "
                        "CoNLL 2002 from WebAnno or INCEpTION")
    if header(first[1], options) or ending == ".csv" and first[1] and (
            "\t" not in first[1] or header(first[1], options, "\t")):
        return read_table(path, lines, options), []
    return read_columns(path, lines, lang, options)


def in_iob2(path: Path, sentences: list[Sentence], numbers: list[list[int]], scheme: str | None) -> list[Sentence]:
    """The sentences with IOB2 tags; a notice says what was converted. numbers: the line of every word, if known."""
    try:
        rows, notice = to_iob2([sentence.tags for sentence in sentences], scheme)
    except TagError as error:
        wrong = sentences[error.sentence]
        if not numbers:
            word = f"word {error.word + 1}, {quoted(wrong.tokens[error.word])}"
            raise UserError(f"{path}:{wrong.line}: {word}: {error}") from None
        first, *later = (tag for sentence in sentences for tag in sentence.tags)
        header_line = error.sentence == error.word == 0 and first not in later and not looks_like_tag(first) and any(
            tag != "O" and looks_like_tag(tag) for tag in later)
        hint = "; if this is a header line, name a column of it with --tag_column" if header_line else ""
        raise UserError(f"{path}:{numbers[error.sentence][error.word]}: {error}{hint}") from None
    if notice:
        logger.warning("%s: %s", path, notice)
    return [sentence._replace(tags=tags) for sentence, tags in zip(sentences, rows, strict=True)]


def refuse_brat(path: Path) -> None:
    """UserError for a text whose entities are in a .ann file beside it, and for a folder of such files."""
    if path.suffix == ".ann" or path.suffix == ".txt" and path.with_suffix(".ann").is_file() or (
            path.is_dir() and any(path.glob("*.ann"))):
        raise UserError(f"{path}: is not a file of words and tags. {BRAT}")
