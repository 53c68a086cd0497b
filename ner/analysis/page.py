"""The HTML page of the error analysis: a single file without scripts, readable on a phone and in print.

The template (page.html) escapes all text from the data, and a content security policy forbids every request, so that no
sentence can do harm. For sorting and filtering there are the TSV files.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ner.evaluation.predictions import TaggedSentence
from ner.tags import UNANNOTATED, TagSet, spans

HUES = (212, 28, 140, 330, 265, 185, 52, 0)  # degrees; with more types they repeat, slightly shifted
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


def render(title: str, parts: list[Part], tags: TagSet, contains: str | None) -> str:
    """The whole page."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True,
                              undefined=StrictUndefined, keep_trailing_newline=True)
    hues = [HUES[i % len(HUES)] + 20 * (i // len(HUES)) for i in range(len(tags.types))]
    return environment.get_template("page.html").render(
        title=title, parts=[part._replace(confusion=part.confusion.tolist()) for part in parts], tags=tags.names,
        types=tags.types, hues=hues, contains=contains, shown_loss=SHOWN_LOSS, marked=marked, number=number)


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
