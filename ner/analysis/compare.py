"""Two runs' predictions on the same sentences: is a difference more than chance?

The tests are paired, so words and gold tags must be the same line by line. In place of a run there may be the folder of
its seeds: then the mean F1 over the seeds counts.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

from ner.evaluation import intervals, predictions, scoring
from ner.options import UserError


def compare(a: Path, b: Path) -> list[dict]:
    """One row per SPLIT.LANG that both runs have: F1 of each, difference (a minus b) with its 95 % interval, and p of
    paired bootstrap and approximate randomisation (None unless both have as many seeds). After several languages of a
    split, a row for their mean."""
    files_a, files_b = predictions.files_of(a), predictions.files_of(b)
    common = [name for name in files_a if name in files_b]
    if not common:
        raise UserError(f"{a} and {b}: no split and language in common "
                        f"({', '.join(files_a)} against {', '.join(files_b)})")
    splits: dict[str, list[str]] = {}
    for name in common:
        splits.setdefault(name.split(".", 1)[0], []).append(name)
    rows = []
    for split, names in splits.items():
        pairs = [pair_of(files_a[name], files_b[name]) for name in names]
        rows += [row_of(name, [one]) for name, one in zip(names, pairs, strict=True)]
        if len(pairs) > 1:
            rows.append(row_of(f"{split}.mean", pairs))
    return rows


class Pair(NamedTuple):
    """(R, S, types, 3) entities of R runs each, as `scoring.entity_counts`, on the same S sentences; and the types."""

    a: np.ndarray
    b: np.ndarray
    types: tuple[str, ...]


def pair_of(files_a: Sequence[Path], files_b: Sequence[Path]) -> Pair:
    """The files of one SPLIT.LANG, one for each seed."""
    counts, types = predictions.counts([*files_a, *files_b])
    return Pair(np.stack(counts[: len(files_a)]), np.stack(counts[len(files_a) :]), types)


def row_of(name: str, pairs: Sequence[Pair]) -> dict:
    """The row of SPLIT.LANG: the mean over the pairs, one for each language."""
    split, lang = name.split(".", 1)
    f1_a, f1_b = ([scoring.scores(counts, pair.types)["f1"] for pair in pairs for counts in getattr(pair, side)]
                  for side in "ab")
    both = [(pair.a, pair.b) for pair in pairs]
    alike = all(len(a) == len(b) for a, b in both)
    return {"split": split, "lang": lang, "f1_a": fmean(f1_a), "f1_b": fmean(f1_b),
            **intervals.languages_bootstrap(both), "sentences": sum(a.shape[1] for a, _ in both),
            "p_randomisation": intervals.languages_randomisation(both)["p"] if alike else None}


def p_value(p: float | None) -> str:
    return "n/a" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def comparison_table(rows: list[dict]) -> str:
    """The table on the screen; F1 and differences in points."""
    lines = []
    for row in rows:
        low, high = row["interval"]
        lines.append([row["split"], row["lang"], row["sentences"], f"{100 * row['f1_a']:.2f}",
                      f"{100 * row['f1_b']:.2f}", f"{100 * row['difference']:+.2f}",
                      f"{100 * low:+.2f} to {100 * high:+.2f}", p_value(row["p"]), p_value(row["p_randomisation"])])
    header = ["split", "lang", "sentences", "F1 A", "F1 B", "A - B", "95 %", "p bootstrap", "p randomisation"]
    return tabulate(lines, header, "plain", disable_numparse=True, colalign=["left", "left", *["right"] * 7])
