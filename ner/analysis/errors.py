"""Where a model is wrong: loss by subword and by tag, confusions, kinds of error, the sentences with the highest loss.

A word counts under its first subword, the only one with a label and therefore a loss. So the counts for German PAN-X
are the published ones (Tunstall, von Werra and Wolf 2022, Natural Language Processing with Transformers, chapter 4).
Losses are cross-entropies in nats.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.image import imsave
from tabulate import tabulate

from ner.analysis import page
from ner.analysis.kinds import KINDS_HEADER, kind_table
from ner.data.alignment import IGNORED
from ner.data.encoded import Encoded
from ner.evaluation import board, scoring
from ner.evaluation.predict import Predictions
from ner.evaluation.predictions import TaggedSentence, annotated, sentences
from ner.files import cell, write_table
from ner.tags import TagSet

SUBWORDS_SHOWN = 12  # on the page and in TensorBoard; the TSV file has all


class Analysis(NamedTuple):
    """One language of a split."""

    subwords: list[tuple[str, int, float, float]]  # subword, count, mean, sum
    tags: list[tuple[str, int, float, float]]
    confusion: np.ndarray  # (K, K) words: rows gold, columns predicted
    kinds: list[tuple]  # type, entities in gold, predicted, each of KINDS; last row: sums
    sentences: list[TaggedSentence]  # highest summed loss first


def analyse(encoded: Encoded, predictions: Predictions, tags: TagSet, tokenizer) -> Analysis:
    found = sentences(encoded, predictions, tags)
    return Analysis(
        loss_table(first_subwords(encoded, tokenizer), predictions.loss),
        loss_table(tags.names_of(encoded.gold), predictions.loss),
        scoring.confusion(encoded.gold, predictions.labels, len(tags.names)),
        kind_table(((one.gold, one.predicted) for one in map(annotated, found)), tags.types),
        sorted(found, key=lambda one: -sum(one.loss)),
    )


def first_subwords(encoded: Encoded, tokenizer) -> list[str]:
    """(N,) the subword of each word that has its label."""
    owned = [window.input_ids[window.labels != IGNORED] for sentence in encoded.windows for window in sentence]
    return tokenizer.convert_ids_to_tokens(np.concatenate(owned).tolist())


def loss_table(keys: Sequence[str], loss: Sequence[float] | np.ndarray) -> list[tuple[str, int, float, float]]:
    """Count, mean and sum of loss by key, highest sum first: ``"aba", [1, 5, 2] -> [(b, 1, 5, 5), (a, 2, 1.5, 3)]``."""
    names, place = np.unique(np.asarray(keys, object), return_inverse=True)
    count, total = np.bincount(place), np.bincount(place, np.asarray(loss, np.float64))
    return [(names[i], int(count[i]), float(total[i] / count[i]), float(total[i]))
            for i in np.argsort(-total, kind="stable")]


def containing(found: list[TaggedSentence], text: str | None) -> list[TaggedSentence]:
    """Sentences whose words, joined by spaces, contain `text`; all of them for None."""
    return [one for one in found if text is None or text in " ".join(one.words)]


def write_errors(folder: Path, title: str, split: str, analyses: dict[str, Analysis], tags: TagSet,
          contains: str | None = None, shown: int = 100) -> None:
    """TSV files, confusion matrices (PNG), TensorBoard events, and ``errors.html`` with the `shown` worst sentences per
    language.

    `contains` selects sentences; the tables are always for the whole split.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loss = ("count", "mean_loss", "sum_loss")
    write_table(folder / "loss_by_subword.tsv", ("language", "subword", *loss), with_lang(analyses, "subwords"))
    write_table(folder / "loss_by_tag.tsv", ("language", "tag", *loss), with_lang(analyses, "tags"))
    write_table(folder / "error_kinds.tsv", ("language", *KINDS_HEADER), with_lang(analyses, "kinds"))
    write_table(folder / "confusion.tsv", ("language", "gold", *tags.names), (
        (lang, name, *row) for lang, one in analyses.items()
        for name, row in zip(tags.names, one.confusion.tolist(), strict=True)))
    chosen = {lang: containing(one.sentences, contains) for lang, one in analyses.items()}
    write_table(folder / "sentences.tsv",
                ("language", "split", "row", "sum_loss", "mean_loss", "words", "gold", "predicted", "loss"),
                (sentence_cells(one, split) for found in chosen.values() for one in found))
    writer = board.open_board(folder)
    for lang, one in analyses.items():
        picture = board.confusion_image(one.confusion, tags.names, f"{lang}, {split}: {one.confusion.sum():,} words")
        imsave(folder / f"confusion.{board.tag_part(lang)}.png", picture)
        board.log_confusion(writer, 0, lang, split, one.confusion, tags.names)
        for name, header, rows in (("loss_by_subword", ("subword", *loss), one.subwords[:SUBWORDS_SHOWN]),
                                   ("loss_by_tag", ("tag", *loss), one.tags),
                                   ("error_kinds", KINDS_HEADER, one.kinds)):
            board.log_report(writer, 0, f"errors_{split}/{name}/{board.tag_part(lang)}", columns(header, rows))
    writer.close()
    parts = [page.Part(lang, [transposed(KINDS_HEADER, one.kinds), (("tag", *loss), one.tags),
                              (("subword", *loss), one.subwords[:SUBWORDS_SHOWN])],
                       one.confusion, chosen[lang][:shown], len(chosen[lang])) for lang, one in analyses.items()]
    page.write_errors_page(folder / "errors.html", title, parts, tags, contains)


def transposed(header: Sequence[str], rows: Sequence[tuple]) -> tuple[tuple, list[tuple]]:
    """Header and rows with one kind per row: narrow enough for a phone."""
    first, *others = zip(header, *rows, strict=True)
    return first, others


def with_lang(analyses: dict[str, Analysis], field: str) -> list[tuple]:
    return [(lang, *row) for lang, one in analyses.items() for row in getattr(one, field)]


def sentence_cells(one: TaggedSentence, split: str) -> tuple:
    total = sum(one.loss)
    return (one.lang, split, one.row, total, total / len(one.words), " ".join(one.words), " ".join(one.gold),
            " ".join(one.predicted), " ".join(f"{loss:.3f}" for loss in one.loss))


def columns(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A table in plain text."""
    return tabulate([[cell(value) for value in row] for row in rows], header, "plain", disable_numparse=True,
                    colalign=["left", *["right"] * (len(header) - 1)])
