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

import logging
import os
from itertools import chain
from pathlib import Path

from ner.data.columns import read_columns
from ner.data.lines import is_blank, numbered_lines, reason
from ner.data.records import read_json, starts_json
from ner.data.sentences import LANGUAGE, Sentence
from ner.options import UserError
from ner.tags import iob1_to_iob2, is_iob1

logger = logging.getLogger(__name__)

SPLIT_NAMES = {"train": ("train",), "validation": ("dev", "validation"), "test": ("test",)}
EXTENSIONS = ("", ".txt", ".tsv", ".conll", ".iob2", ".jsonl")

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
