"""Files of tagged sentences -> lists of words and tags; every complaint says file, line and what was expected.

The format is found once for a whole file, by what is in it, and every line must then be like it. That refuses files
that a guess line by line would let through with wrong words or tags; the price is that a file's lines are held in
memory (20,000 PAN-X sentences, 195,387 words, are read in about 0.6 s). A file is
- JSON Lines, when named ``*.jsonl`` or when ``{`` opens it, or a list of the same records, when ``[`` does: words with
  tags, or texts with character spans (`records`, `spans`);
- a CSV table, when named ``*.csv`` or when its first line names columns for words and tags (`table`);
- UNER IOB2, when named ``*.iob2`` or when most lines carry their own number in the sentence: id, word, tag, perhaps
  more columns, between tabs; ``#`` lines before a sentence are comments (here alone: elsewhere ``#`` is a word);
- PAN-X, when every line starts with ``lang:``: ``lang:word<TAB>tag``. Where only most do, the first without is refused;
- else CoNLL: the word in the first column, the tag in the last, as many columns on every line, between single tabs or
  runs of spaces; a ``-DOCSTART-`` line is dropped and ends a sentence.

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
from ner.options import UserError
from ner.tags import iob1_to_iob2, is_iob1

logger = logging.getLogger(__name__)
WEBANNO = "#FORMAT=WebAnno TSV"


def read_file(path: Path, lang: str) -> list[Sentence]:
    """All sentences of a file, in order; IOB1 becomes IOB2 with a notice. UserError for whatever is wrong with it."""
    refuse_brat(path)
    sentences = read_any(path, lang)
    if not sentences:
        raise UserError(f"{path}: holds no sentence; expected words and their tags")
    if is_iob1(sentence.tags for sentence in sentences):
        logger.warning("%s: the tags are IOB1 and were converted to IOB2", path)
        sentences = [sentence._replace(tags=iob1_to_iob2(sentence.tags)) for sentence in sentences]
    return sentences


def read_any(path: Path, lang: str) -> list[Sentence]:
    """The sentences of a file of any format, with its tags."""
    ending = ending_of(path)
    with opened(path) as file:
        head = file.peek(CHUNK)
    if starts_list(head, ending == ".json"):
        return read_records(path, list_items(path), "item")
    lines = numbered_lines(path)
    first = next(((number, line) for number, line in lines if not is_blank(line)), (0, ""))
    lines = chain([first], lines)
    if ending in (".json", ".jsonl") or starts_json(first[1]):
        return read_records(path, (parsed(path, number, line) for number, line in lines if not is_blank(line)))
    if first[1].startswith(WEBANNO):
        raise UserError(f"{path}:{first[0]}: is WebAnno TSV; expected one column with tags: export the project as "
                        "CoNLL 2002 from WebAnno or INCEpTION")
    if header(first[1]) or ending == ".csv" and first[1] and (header(first[1], "\t") or "\t" not in first[1]):
        return read_table(path, lines)
    return read_columns(path, lines, lang)


def refuse_brat(path: Path) -> None:
    """UserError for a text whose entities are in a .ann file beside it, and for a folder of such files."""
    if path.suffix == ".ann" or path.suffix == ".txt" and path.with_suffix(".ann").is_file() or (
            path.is_dir() and any(path.glob("*.ann"))):
        raise UserError(f"{path}: is not a file of words and tags. {BRAT}")
