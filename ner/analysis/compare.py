"""Two runs' predictions on the same sentences: is a difference more than chance?

The tests are paired, so words and gold tags must be the same line by line.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from tabulate import tabulate

from ner.evaluation import intervals, predictions, scoring
from ner.options import UserError


def compare(a: Path, b: Path) -> list[dict]:
    """One row per SPLIT.LANG that both runs have: F1 of each, difference (a minus b) with its 95 % interval, and p of
    paired bootstrap and approximate randomisation. After several languages of a split, a row for their mean."""
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
        counted = [predictions.counts([files_a[name], files_b[name]]) for name in names]
        rows += [row_of(name, [one]) for name, one in zip(names, counted, strict=True)]
        if len(counted) > 1:
            rows.append(row_of(f"{split}.mean", counted))
    return rows


def compare_files(name: str, a: Path, b: Path) -> dict:
    """The row of `compare` for two files of one SPLIT.LANG."""
    return row_of(name, [predictions.counts([a, b])])


def row_of(name: str, counted: Sequence[tuple[list[np.ndarray], tuple[str, ...]]]) -> dict:
    """The row of SPLIT.LANG: the mean over what `predictions.counts` found in the files of each language."""
    split, lang = name.split(".", 1)
    pairs = [(counts[0], counts[1]) for counts, _ in counted]
    f1_a, f1_b = ([scoring.scores(counts[side], types)["f1"] for counts, types in counted] for side in (0, 1))
    return {"split": split, "lang": lang, "f1_a": fmean(f1_a), "f1_b": fmean(f1_b),
            **intervals.languages_bootstrap(pairs), "sentences": sum(len(a) for a, _ in pairs),
            "p_randomisation": intervals.languages_randomisation(pairs)["p"]}


def p_value(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


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
