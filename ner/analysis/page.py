"""The HTML page of the error analysis (templates/errors.html). For sorting there are the TSV files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ner.evaluation.predictions import TaggedSentence
from ner.html import write_page
from ner.tags import UNANNOTATED, TagSet, spans

SHOWN_LOSS = 0.6931  # nats: the gold tag was less likely than all others together


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


def write_errors_page(path: Path, title: str, parts: list[Part], tags: TagSet, contains: str | None) -> None:
    """The whole page."""
    write_page(path, "errors.html", title, tags.types, tags=tags.names, contains=contains, shown_loss=SHOWN_LOSS,
               parts=[part._replace(confusion=part.confusion.tolist()) for part in parts], marked=marked, number=number)


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
