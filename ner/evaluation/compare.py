"""Predictions on the same sentences, read back from predictions/SPLIT.LANG.tsv: is a difference more than chance?

The files hold words, gold and predicted tags, which is all that counts need: models, data and GPU are not. Before
anything is compared, words and gold must be equal line by line; figures of different sentences are not paired.
Trade-off: tags are read as text (10,000 PAN-X sentences: 0.2 s a file, as long as the resampling takes).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ner import tags
from ner.data import readers
from ner.evaluation import scoring
from ner.options import UserError, shown


class Tagged(NamedTuple):
    """One file: words, gold and predicted tags of N words, and the words of each sentence."""

    words: list[str]
    gold: list[str]
    predicted: list[str]
    lengths: list[int]


def read(path: Path) -> Tagged:
    """UserError where the file is not of this form."""
    rows, ends = [], []
    for number, line in readers.numbered_lines(path):
        cells = line.split("\t")
        if len(cells) == 3:
            rows.append(cells)
        elif line:
            raise UserError(f"{path}:{number}: expected word<TAB>gold<TAB>predicted, found {len(cells)} cells")
        elif rows and (not ends or len(rows) > ends[-1]):
            ends.append(len(rows))
    if not rows:
        raise UserError(f"{path}: holds no sentence; expected word<TAB>gold<TAB>predicted")
    if ends[-1:] != [len(rows)]:
        ends.append(len(rows))
    return Tagged(*map(list, zip(*rows)), np.diff([0, *ends]).tolist())


def counts(paths: Sequence[Path]) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """(S, types, 3) entities of each file, as `scoring.entity_counts`, and the types; UserError unless words, gold and
    sentences are the same in all of them."""
    files = [read(path) for path in paths]
    first = files[0]
    for path, other in zip(paths[1:], files[1:]):
        if (first.words, first.gold, first.lengths) != (other.words, other.gold, other.lengths):
            raise UserError(f"{paths[0]} and {path}: {difference(first, other)}; "
                            "expected predictions for the same sentences")
    try:
        known = tags.tag_set({tag[2:] for file in files for tag in {*file.gold, *file.predicted} if tag != "O"})
    except ValueError as error:
        raise UserError(f"{' and '.join(map(str, paths))}: {error}") from None
    result = []
    for path, file in zip(paths, files):
        try:
            gold, predicted = (np.array(known.labels(names)) for names in (file.gold, file.predicted))
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        result.append(scoring.entity_counts(gold, predicted, file.lengths, known.names))
    return result, known.types


def difference(a: Tagged, b: Tagged) -> str:
    """What tells the sentences of two files apart."""
    for number, (left, right) in enumerate(zip(zip(a.words, a.gold), zip(b.words, b.gold)), 1):
        if left != right:
            one, other = (f"{shown(word)} ({tag[:40]})" for word, tag in (left, right))
            return f"word {number} is {one} in one and {other} in the other"
    return f"{len(a.lengths)} sentences of {len(a.words)} words against {len(b.lengths)} of {len(b.words)}"


def prediction_files(run: Path) -> dict[str, Path]:
    """SPLIT.LANG -> file, in the order of their names; UserError where the run has none."""
    files = {path.stem: path for path in sorted(run.glob("predictions/*.*.tsv"))}
    if not files and (seeds := sorted(path.name for path in run.glob("seed-*"))):
        raise UserError(f"{run}: holds several seeds; name one of them: {', '.join(seeds)[:80]}")
    if not files:
        raise UserError(f"{run}: holds no predictions; expected the folder of a finished run or of evaluate.py score")
    return files


def compare(a: Path, b: Path) -> list[dict]:
    """A row for every SPLIT.LANG that both runs have: F1 of each, difference (a minus b) with its 95 % interval, and p
    of paired bootstrap and approximate randomisation."""
    files_a, files_b = prediction_files(a), prediction_files(b)
    common = [name for name in files_a if name in files_b]
    if not common:
        raise UserError(f"{a} and {b}: no split and language in common "
                        f"({', '.join(files_a)} against {', '.join(files_b)})")
    return [compare_files(name, files_a[name], files_b[name]) for name in common]


def compare_files(name: str, a: Path, b: Path) -> dict:
    (counts_a, counts_b), types = counts([a, b])
    bootstrap = scoring.paired_bootstrap(counts_a, counts_b)
    split, lang = name.split(".", 1)
    return {"split": split, "lang": lang, "f1_a": scoring.scores(counts_a, types)["f1"],
            "f1_b": scoring.scores(counts_b, types)["f1"], **bootstrap, "sentences": len(counts_a),
            "p_randomisation": scoring.approximate_randomisation(counts_a, counts_b)["p"]}


def p_value(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def table(rows: list[dict]) -> str:
    """The table on the screen; F1 and differences in points."""
    lines = [f"{'split':<11}{'lang':<6}{'sentences':>10}{'F1 A':>8}{'F1 B':>8}{'A - B':>8}{'95 %':>19}"
             f"{'p bootstrap':>13}{'p randomisation':>17}"]
    for row in rows:
        low, high = row["interval"]
        lines.append(f"{row['split']:<11}{row['lang']:<6}{row['sentences']:>10}"
                     f"{100 * row['f1_a']:>8.2f}{100 * row['f1_b']:>8.2f}{100 * row['difference']:>+8.2f}"
                     f"{f'{100 * low:+.2f} to {100 * high:+.2f}':>19}"
                     f"{p_value(row['p']):>13}{p_value(row['p_randomisation']):>17}")
    return "\n".join(lines)
