"""Sentences with gold and predicted tags, and their files, predictions/SPLIT.LANG.tsv: writer and reader.

These files are enough to compute scores again, without model, data or GPU.
"""

from collections.abc import Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ner import tags
from ner.data.encoded import Encoded
from ner.data.lines import numbered_lines
from ner.evaluation import scoring
from ner.evaluation.predict import Predictions
from ner.files import write_whole
from ner.options import UserError, shown
from ner.tags import UNANNOTATED, TagSet


class TaggedSentence(NamedTuple):
    """One sentence with gold and predicted tags; loss and confidence are empty if it was read from a file."""

    words: list[str]
    gold: list[str]
    predicted: list[str]
    loss: Sequence[float] = ()  # of the gold tag, in nats
    confidence: Sequence[float] = ()  # probability of the predicted tag
    lang: str = ""
    row: int = -1  # in the source


def annotated(one: TaggedSentence) -> TaggedSentence:
    """The sentence without unannotated words, for which no prediction is right or wrong."""
    if UNANNOTATED not in one.gold:
        return one
    kept = [tag != UNANNOTATED for tag in one.gold]
    words, gold, predicted = (list(compress(values, kept)) for values in (one.words, one.gold, one.predicted))
    loss, confidence = (list(compress(values, kept)) for values in (one.loss, one.confidence))
    return TaggedSentence(words, gold, predicted, loss, confidence, one.lang, one.row)


def sentences(encoded: Encoded, predictions: Predictions, tags: TagSet) -> list[TaggedSentence]:
    """The sentences of a corpus with predicted tags, in its order."""
    gold, predicted, loss, confidence = (encoded.per_sentence(values) for values in (encoded.gold, *predictions[:3]))
    return [TaggedSentence(words, tags.names_of(gold[i]), tags.names_of(predicted[i]), loss[i].tolist(),
                           confidence[i].tolist(), *encoded.source[i]) for i, words in enumerate(encoded.tokens)]


def write_predictions(path: Path, tagged: Iterable[TaggedSentence]) -> None:
    """Write ``word<TAB>gold<TAB>predicted``, with a blank line after each sentence: exactly the words of the input."""
    rows = ("".join(f"{word}\t{gold}\t{predicted}\n" for word, gold, predicted in
                    zip(one.words, one.gold, one.predicted, strict=True)) for one in tagged)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(f"{row}\n" for row in rows))


def read_predictions(path: Path) -> list[TaggedSentence]:
    """Read such a file; UserError if it does not have this format."""
    found, rows = [], []
    for number, line in numbered_lines(path):
        cells = line.split("\t")
        if len(cells) == 3:
            rows.append(cells)
        elif line:
            raise UserError(f"{path}:{number}: expected word<TAB>gold<TAB>predicted, found {len(cells)} cells")
        elif rows:
            found.append(rows)
            rows = []
    found += [rows] if rows else []
    if not found:
        raise UserError(f"{path}: holds no sentence; expected word<TAB>gold<TAB>predicted")
    return [TaggedSentence(words, gold, predicted)
            for words, gold, predicted in (map(list, zip(*rows, strict=True)) for rows in found)]


def counts(paths: Sequence[Path]) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """(S, types, 3) entities of each file, as `scoring.entity_counts`, and the types; UserError unless all files have
    the same sentences, words and gold tags."""
    files = [read_predictions(path) for path in paths]
    for path, other in zip(paths[1:], files[1:], strict=True):
        if [(one.words, one.gold) for one in files[0]] != [(one.words, one.gold) for one in other]:
            raise UserError(f"{paths[0]} and {path}: {difference(files[0], other)}; "
                            "expected predictions for the same sentences")
    files = [[one for one in map(annotated, file) if one.words] for file in files]
    if not files[0]:
        raise UserError(f"{paths[0]}: no word is annotated; expected gold tags in the second column")
    try:
        known = tags.tag_set({tag[2:] for file in files for one in file for tag in {*one.gold, *one.predicted}
                              if tag != "O"})
    except ValueError as error:
        raise UserError(f"{' and '.join(map(str, paths))}: {error}") from None
    result = []
    for path, file in zip(paths, files, strict=True):
        try:
            gold, predicted = (np.array(known.labels(tag for one in file for tag in getattr(one, name)))
                               for name in ("gold", "predicted"))
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        result.append(scoring.entity_counts(gold, predicted, [len(one.words) for one in file], known.names))
    return result, known.types


def difference(a: list[TaggedSentence], b: list[TaggedSentence]) -> str:
    """The first difference between the sentences of two files."""
    ours, theirs = ([pair for one in file for pair in zip(one.words, one.gold, strict=True)] for file in (a, b))
    for number, (left, right) in enumerate(zip(ours, theirs, strict=False), 1):
        if left != right:
            one, other = (f"{shown(word)} ({tag[:40]})" for word, tag in (left, right))
            return f"word {number} is {one} in one and {other} in the other"
    return f"{len(a)} sentences of {len(ours)} words against {len(b)} of {len(theirs)}"


def files_of(run: Path) -> dict[str, list[Path]]:
    """SPLIT.LANG -> file, in order of name; of a folder of several seeds the file of each that has any, where all these
    have it. UserError if the run has none."""
    folders = [run] if any(run.glob("predictions/*.*.tsv")) else sorted(run.glob("seed-*"))
    found = [{path.stem: path for path in sorted(folder.glob("predictions/*.*.tsv"))} for folder in folders]
    found = [files for files in found if files]
    files = {name: [one[name] for one in found] for name in (found or [{}])[0] if all(name in one for one in found)}
    if not files:
        raise UserError(f"{run}: holds no predictions; expected the folder of a finished run or of evaluate.py score")
    return files
