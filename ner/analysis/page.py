"""The HTML page of the error analysis (templates/errors.html). For sorting there are the TSV files.

Its filters are radio buttons and CSS, `:root:has(#k0:checked)`.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ner.analysis.kinds import KINDS, pairs
from ner.evaluation.predictions import TaggedSentence, annotated
from ner.html import write_page
from ner.tags import UNANNOTATED, TagSet, spans

SHOWN_LOSS = 0.6931  # nats: the gold tag was less likely than all others together
CONFIDENCES = (("below 0.5", 0.5), ("0.5 to 0.9", 0.9), ("0.9 and above", 1.01))  # name, upper bound


class Part(NamedTuple):
    """The part of the page on one language."""

    lang: str
    tables: list[tuple[Sequence[str], list[tuple]]]  # header and rows
    confusion: np.ndarray  # (K, K) words
    sentences: list[TaggedSentence]  # in the order of the page
    found: int  # sentences before the page's limit


class MarkedWord(NamedTuple):
    """A word with the types of the entities that it opens and closes, and notes on its tag."""

    opens: str | None
    word: str
    wrong: bool
    loss: float | None
    closes: str | None


class Error(NamedTuple):
    """An entity that is wrong."""

    kind: str
    types: tuple[str, ...]  # the gold one and the predicted one, once if they are the same
    words: str  # of the gold entity, or of a spurious one
    confidence: float  # mean probability of the tags predicted for the predicted entity's words, or a missed one's


def write_errors_page(path: Path, title: str, parts: list[Part], tags: TagSet, contains: str | None) -> None:
    """The whole page."""
    write_page(path, "errors.html", title, tags.types, tags=tags.names, contains=contains, shown_loss=SHOWN_LOSS,
               parts=[part._replace(confusion=part.confusion.tolist()) for part in parts], marked=marked, number=number,
               errors_of=errors_of, level=level, kinds=KINDS[1:], confidences=[name for name, _ in CONFIDENCES],
               choices=choices(len(tags.types)))


def errors_of(sentence: TaggedSentence) -> list[Error]:
    """Its wrong entities, without regard to words that nobody has annotated."""
    one, found = annotated(sentence), []
    for kind, gold, predicted in pairs(spans(one.gold), spans(one.predicted)):
        if kind != "correct":
            entities = [entity for entity in (gold, predicted) if entity]
            (first, end, _), (start, stop, _) = entities[0], entities[-1]
            found.append(Error(kind, tuple(dict.fromkeys(entity[2] for entity in entities)),
                               " ".join(one.words[first:end]), sum(one.confidence[start:stop]) / (stop - start)))
    return found


def level(confidence: float) -> int:
    """The place in `CONFIDENCES`."""
    return next(i for i, (_, bound) in enumerate(CONFIDENCES) if confidence < bound)


def choices(types: int) -> list[tuple[str, ...]]:
    """The ids of all sets of buttons that can be on at once, but for those for everything; a class each has their name.

    One rule for each, since a sentence must have *one* error that is all of what was chosen: a missed PER next to a
    spurious LOC is no missed LOC.
    """
    groups = [[None, *(f"{letter}{i}" for i in range(count))]
              for letter, count in (("k", len(KINDS) - 1), ("e", types), ("c", len(CONFIDENCES)))]
    return [chosen for one in product(*groups) if (chosen := tuple(filter(None, one)))]


def number(value: int | float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def marked(sentence: TaggedSentence, tags: Sequence[str], noted: bool) -> list[MarkedWord]:
    """The words with the entities of `tags`; if `noted`, also with wrong tags and high losses."""
    found = spans(tags)
    opens, closes = {first: kind for first, _, kind in found}, {end - 1: kind for _, end, kind in found}
    return [MarkedWord(opens.get(i), word, noted and gold not in (tag, UNANNOTATED),
                       loss if noted and loss >= SHOWN_LOSS else None, closes.get(i))
            for i, (word, tag, gold, loss) in enumerate(zip(sentence.words, tags, sentence.gold, sentence.loss,
                                                            strict=True))]
