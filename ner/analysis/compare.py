"""Two runs' predictions on the same sentences: is a difference more than chance?

The tests are paired, so words and gold tags must be the same line by line.
"""

from pathlib import Path

from tabulate import tabulate

from ner.evaluation import intervals, predictions, scoring
from ner.options import UserError


def compare(a: Path, b: Path) -> list[dict]:
    """One row per SPLIT.LANG that both runs have: F1 of each, difference (a minus b) with its 95 % interval, and p of
    paired bootstrap and approximate randomisation."""
    files_a, files_b = predictions.files_of(a), predictions.files_of(b)
    common = [name for name in files_a if name in files_b]
    if not common:
        raise UserError(f"{a} and {b}: no split and language in common "
                        f"({', '.join(files_a)} against {', '.join(files_b)})")
    return [compare_files(name, files_a[name], files_b[name]) for name in common]


def compare_files(name: str, a: Path, b: Path) -> dict:
    (counts_a, counts_b), types = predictions.counts([a, b])
    bootstrap = intervals.paired_bootstrap(counts_a, counts_b)
    split, lang = name.split(".", 1)
    return {"split": split, "lang": lang, "f1_a": scoring.scores(counts_a, types)["f1"],
            "f1_b": scoring.scores(counts_b, types)["f1"], **bootstrap, "sentences": len(counts_a),
            "p_randomisation": intervals.approximate_randomisation(counts_a, counts_b)["p"]}


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
