"""A model and sentences in several languages -> the metrics of each language in results.json."""

from typing import NamedTuple

import numpy as np
from accelerate import Accelerator
from tabulate import tabulate

from ner.data.collate import Padding
from ner.data.encoded import Encoded
from ner.evaluation import intervals, scoring
from ner.evaluation.predict import Predictions, predict
from ner.tags import TagSet


class Scored(NamedTuple):
    """The scores of one language: `metrics` as in results.json, and what they were computed from."""

    metrics: dict
    predictions: Predictions
    counts: np.ndarray  # (S, types, 3) as `scoring.entity_counts`


def evaluate(model, languages: dict[str, Encoded], tags: TagSet, padding: Padding, accelerator: Accelerator,
             training: list[list[str]] | None = None, decode: str = "viterbi", slots: int | None = None,
             brief: bool = False) -> dict[str, Scored]:
    """Score every language; all processes return the same. `training`: sentences, to score unseen ones separately.
    `brief`: as in `score`."""
    return {lang: score(encoded, predict(model, encoded, tags, padding, accelerator, decode, slots), tags, training,
                        brief) for lang, encoded in languages.items()}


def interval_of(counts: np.ndarray) -> list[float] | None:
    """The 95 % interval of micro F1; None if there is nothing to resample: a single sentence, or no entity at all."""
    return list(intervals.f1_interval(counts)) if len(counts) > 1 and counts.any() else None


def score(encoded: Encoded, predictions: Predictions, tags: TagSet, training: list[list[str]] | None,
          brief: bool = False) -> Scored:
    """Scores of one language in the layout of results.json, over the words that are annotated. `brief`: with no
    interval but that of F1, because resampling by type would take up to a second after every epoch."""
    known = encoded.gold >= 0
    labels, loss, confidence, argmax = (values[known] for values in predictions)
    lengths = np.array([int(part.sum()) for part in encoded.per_sentence(known)])
    data = (encoded.gold[known], labels, lengths[lengths > 0], tags.names)
    types = scoring.entity_types(tags.names)
    counts = scoring.entity_counts(*data)
    metrics = scoring.scores(counts, types)
    strict = scoring.entity_counts(*data, strict=True)
    metrics |= {"f1_strict": scoring.scores(strict, types)["f1"], "f1_ci95": interval_of(counts)}
    metrics["f1_argmax"] = scoring.scores(scoring.entity_counts(data[0], argmax, *data[2:]), types)["f1"]
    if not brief:
        metrics["f1_strict_ci95"] = interval_of(strict)
        by_type = intervals.by_type_intervals(counts)
        for name, interval in zip(types, by_type["by_type"].tolist(), strict=True):
            if name in metrics["by_type"]:
                metrics["by_type"][name]["f1_ci95"] = interval if metrics["f1_ci95"] else None
        for mean in ("macro", "weighted"):
            metrics[mean]["f1_ci95"] = list(by_type[mean]) if metrics["f1_ci95"] else None
    metrics["loss"] = float(loss.mean(dtype=np.float64))
    metrics |= {"sentences": len(encoded.tokens), "words": len(encoded.gold)}
    if not known.all():
        metrics["words_without_annotation"] = int((~known).sum())
    metrics |= calibration(confidence, labels == encoded.gold[known])
    if training is not None:
        unseen = scoring.unseen(encoded.tokens, training)[lengths > 0]
        metrics["unseen_sentences"] = int(unseen.sum())
        metrics["f1_unseen"] = scoring.scores(counts[unseen], types)["f1"] if unseen.any() else None
        metrics["f1_unseen_ci95"] = interval_of(counts[unseen])
    return Scored(metrics, predictions, counts)


def calibration(confidence: np.ndarray, correct: np.ndarray) -> dict:
    """`ece`, and `calibration` for the reliability diagram: mean confidence, accuracy, words of each non-empty bin."""
    found = intervals.calibration(confidence, correct)
    bins = zip(found["confidence"].tolist(), found["accuracy"].tolist(), found["count"].tolist(), strict=True)
    return {"ece": found["ece"], "calibration": [[round(c, 5), round(a, 5), n] for c, a, n in bins if n]}


def mean_f1(scored: dict[str, Scored]) -> float:
    """The mean of micro F1 over languages."""
    return float(np.mean([item.metrics["f1"] for item in scored.values()]))


def mean_f1_interval(scored: dict[str, Scored]) -> list[float] | None:
    """The 95 % interval of `mean_f1` over the sentences of all languages; None if a language has none."""
    if any(item.metrics["f1_ci95"] is None for item in scored.values()):
        return None
    return list(intervals.languages_interval([item.counts for item in scored.values()]))


def metrics_of(scored: dict[str, Scored]) -> dict[str, dict]:
    """The metrics of each language, as results.json has them."""
    return {lang: item.metrics for lang, item in scored.items()}


def results_of(scored: dict[str, Scored]) -> dict:
    """A split's part of results.json: the metrics of each language, the mean of their F1 and its interval."""
    return {**metrics_of(scored), "mean_f1": mean_f1(scored), "mean_f1_ci95": mean_f1_interval(scored)}


def f1_table(scored: dict[str, Scored]) -> str:
    """The F1 table on the screen, one line per language; F1 in points with its 95 % interval."""
    def points(f1: float, interval: list[float] | None) -> tuple[str, str]:
        return f"{100 * f1:.2f}", "-".join(f"{100 * end:.1f}" for end in interval) if interval else "n/a"

    rows = [[lang, *points(m["f1"], m["f1_ci95"]),
             *(f"{100 * m[key]:.2f}" for key in ("precision", "recall", "f1_argmax")), m["sentences"], m["entities"]]
            for lang, m in metrics_of(scored).items()]
    argmax = float(np.mean([m["f1_argmax"] for m in metrics_of(scored).values()]))
    rows.append(["mean", *points(mean_f1(scored), mean_f1_interval(scored)), "", "", f"{100 * argmax:.2f}", "", ""])
    header = ["lang", "F1", "95 %", "precision", "recall", "argmax F1", "sentences", "entities"]
    # The header is passed as a row, because tabulate makes columns with headers two characters wider.
    return tabulate([header, *rows], tablefmt="plain", disable_numparse=True, colalign=["left", *["right"] * 7])
