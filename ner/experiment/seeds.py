"""Summaries of runs that differ only in their seed."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from ner.evaluation import intervals, predictions


def over_seeds(folder: Path, seeds: Sequence[int], results: Sequence[dict]) -> dict:
    """The results.json of several seeds: means, and for each language `f1_sd` (n - 1), `f1_by_seed` and the 95 %
    interval of the mean F1 over test sentences. Curves and other intervals are in the single runs only."""
    whole = average(results)
    options = {**results[0]["options"], "seed": None, "seeds": list(seeds)}
    teachers = [one["options"].get("teacher") for one in results]
    if len(set(teachers)) > 1:  # each the run of its seed
        options["teacher"] = str(Path(teachers[0]).parent)
    whole |= {"name": folder.name, "seeds": list(seeds), "options": options}
    for split, langs in whole["eval"].items():
        means = [one["eval"][split]["mean_f1"] for one in results]
        langs["mean_f1_sd"] = deviation(means)
        for lang, metrics in langs.items():
            if isinstance(metrics, dict):
                values = [one["eval"][split][lang]["f1"] for one in results]
                files = [folder / f"seed-{seed}" / "predictions" / f"{split}.{lang}.tsv" for seed in seeds]
                known = all(one["eval"][split][lang].get("f1_ci95") for one in results)
                interval = list(intervals.mean_f1_interval(predictions.counts(files)[0])) if known else None
                metrics |= {"f1_sd": deviation(values), "f1_by_seed": values, "f1_ci95": interval}
    return whole


def average(values: Sequence):
    """The mean of numbers; mappings key by key; any other value if all agree, else None."""
    first = values[0]
    if all(value == first for value in values):
        return first
    if all(isinstance(value, dict) for value in values):
        common = [key for key in first if all(key in value for value in values)]
        return {key: average([value[key] for value in values]) for key in common}
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return statistics.fmean(values)
    return None


def deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def seed_table(summary: dict) -> str:
    """One line per language: mean F1 in points, standard deviation over seeds, 95 % interval over sentences."""
    rows = []
    for lang, metrics in summary["eval"]["test"].items():
        if isinstance(metrics, dict):
            sd = "-" if metrics["f1_sd"] is None else f"{100 * metrics['f1_sd']:.2f}"
            interval = "-".join(f"{100 * end:.1f}" for end in metrics["f1_ci95"] or ()) or "n/a"
            rows.append([lang, f"{100 * metrics['f1']:.2f}", sd, interval])
    return tabulate(rows, ["lang", "mean F1", "sd", "95 %"], "plain", disable_numparse=True,
                    colalign=["left", "right", "right", "right"])
