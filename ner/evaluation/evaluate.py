"""A model and its sentences in several languages -> what results.json says of each language."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from accelerate import Accelerator
from datasets import Dataset

from ner.data import alignment
from ner.data.alignment import Window
from ner.evaluation import scoring
from ner.evaluation.predict import SLOTS, Predictions, predict
from ner.files import write_whole
from ner.tags import TagSet


class Encoded(NamedTuple):
    """The sentences of one language and split, ready for the model."""

    tokens: list[list[str]]
    gold: np.ndarray  # (N,) label of every word
    lengths: list[int]  # words a sentence
    windows: list[Window]
    source: list[tuple[str, int]]  # language and row in the source of every sentence


class Scored(NamedTuple):
    """One language scored: `figures` as in results.json, and what they were made from."""

    figures: dict
    predictions: Predictions
    counts: np.ndarray  # (S, types, 3) as `scoring.entity_counts`


def encode(rows: Dataset, tokenizer, max_length: int, stride: int | None = None) -> Encoded:
    """Windows and gold labels of a data set."""
    tokens, labels = list(rows["tokens"]), list(rows["ner_tags"])
    windows = alignment.encode(tokens, labels, tokenizer, max_length, stride)
    gold = np.concatenate([np.asarray(ids, np.int64) for ids in labels])
    return Encoded(tokens, gold, [len(w) for w in tokens], windows, list(zip(rows["lang"], rows["row"])))


def first(encoded: Encoded, count: int) -> Encoded:
    """Its first `count` sentences."""
    return select(encoded, range(min(count, len(encoded.lengths))))


def select(encoded: Encoded, numbers: Sequence[int]) -> Encoded:
    """Its sentences of these numbers, ascending."""
    place = {number: i for i, number in enumerate(numbers)}
    kept = np.zeros(len(encoded.lengths), bool)
    kept[list(numbers)] = True
    windows = [window._replace(sentence=place[window.sentence])
               for window in encoded.windows if window.sentence in place]
    return Encoded([encoded.tokens[i] for i in numbers], encoded.gold[np.repeat(kept, encoded.lengths)],
                   [encoded.lengths[i] for i in numbers], windows, [encoded.source[i] for i in numbers])


def evaluate(model, languages: dict[str, Encoded], tags: TagSet, tokenizer, accelerator: Accelerator,
             training: list[list[str]] | None = None, slots: int = SLOTS) -> dict[str, Scored]:
    """Every language scored; each process returns all of it. `training`: sentences, to score unseen ones apart."""
    result = {}
    for lang, encoded in languages.items():
        predictions = predict(model, encoded.windows, encoded.lengths, tokenizer.pad_token_id, tokenizer.padding_side,
                              accelerator, slots)
        result[lang] = score(encoded, predictions, tags, training)
    return result


def score(encoded: Encoded, predictions: Predictions, tags: TagSet, training: list[list[str]] | None) -> Scored:
    """Scores of one language in the layout of results.json."""
    data = (encoded.gold, predictions.labels, encoded.lengths, tags.names)
    types = scoring.entity_types(tags.names)
    counts = scoring.entity_counts(*data)
    figures = scoring.scores(counts, types)
    strict = scoring.entity_counts(*data, strict=True)
    figures |= {"f1_strict": scoring.scores(strict, types)["f1"], "f1_ci95": list(scoring.f1_interval(counts)),
                "f1_strict_ci95": list(scoring.f1_interval(strict))}
    intervals = scoring.by_type_intervals(counts)
    for name, interval in zip(types, intervals["by_type"].tolist()):
        if name in figures["by_type"]:
            figures["by_type"][name]["f1_ci95"] = interval
    for mean in ("macro", "weighted"):
        figures[mean]["f1_ci95"] = list(intervals[mean])
    figures["loss"] = float(predictions.loss.mean(dtype=np.float64))
    figures |= {"sentences": len(encoded.lengths), "words": len(encoded.gold)}
    figures |= calibration(predictions.confidence, predictions.labels == encoded.gold)
    if training is not None:
        unseen = scoring.unseen(encoded.tokens, training)
        figures["unseen_sentences"] = int(unseen.sum())
        figures["f1_unseen"] = scoring.scores(counts[unseen], types)["f1"] if unseen.any() else None
        figures["f1_unseen_ci95"] = list(scoring.f1_interval(counts[unseen])) if unseen.any() else None
    return Scored(figures, predictions, counts)


def calibration(confidence: np.ndarray, correct: np.ndarray) -> dict:
    """`ece`, and for the reliability diagram `calibration`: mean confidence, accuracy, words of each non-empty bin."""
    found = scoring.calibration(confidence, correct)
    bins = zip(found["confidence"].tolist(), found["accuracy"].tolist(), found["count"].tolist())
    return {"ece": found["ece"], "calibration": [[round(c, 5), round(a, 5), n] for c, a, n in bins if n]}


def mean_f1(scored: dict[str, Scored]) -> float:
    """The mean of micro F1 over languages."""
    return float(np.mean([item.figures["f1"] for item in scored.values()]))


def mean_f1_interval(scored: dict[str, Scored]) -> list[float]:
    """Its 95 % interval over the sentences of all languages."""
    return list(scoring.languages_interval([item.counts for item in scored.values()]))


def prediction_lines(encoded: Encoded, predictions: Predictions, tags: TagSet) -> str:
    """``word<TAB>gold<TAB>predicted`` a word, a blank line between sentences: exactly the words of the input."""
    rows, at = [], 0
    for words in encoded.tokens:
        for word, gold, predicted in zip(words, encoded.gold[at:], predictions.labels[at:]):
            rows.append(f"{word}\t{tags.names[gold]}\t{tags.names[predicted]}\n")
        rows.append("\n")
        at += len(words)
    return "".join(rows)


def write_predictions(folder: Path, split: str, languages: dict[str, Encoded], scored: dict[str, Scored],
                      tags: TagSet) -> None:
    """``folder/SPLIT.LANG.tsv`` a language."""
    folder.mkdir(parents=True, exist_ok=True)
    for lang, item in scored.items():
        text = prediction_lines(languages[lang], item.predictions, tags)
        write_whole(folder / f"{split}.{lang}.tsv", text)


def table(scored: dict[str, Scored]) -> str:
    """The F1 table on the screen, a line a language; F1 in points with its 95 % interval."""
    lines = [f"{'lang':<6}{'F1':>7}{'95 %':>14}{'precision':>11}{'recall':>8}{'strict F1':>11}"
             f"{'sentences':>11}{'entities':>10}"]
    for lang, item in scored.items():
        f = item.figures
        low, high = f["f1_ci95"]
        lines.append(f"{lang:<6}{100 * f['f1']:>7.2f}{f'{100 * low:.1f}-{100 * high:.1f}':>14}"
                     f"{100 * f['precision']:>11.2f}{100 * f['recall']:>8.2f}{100 * f['f1_strict']:>11.2f}"
                     f"{f['sentences']:>11}{f['entities']:>10}")
    low, high = mean_f1_interval(scored)
    return "\n".join([*lines, f"{'mean':<6}{100 * mean_f1(scored):>7.2f}{f'{100 * low:.1f}-{100 * high:.1f}':>14}"])
