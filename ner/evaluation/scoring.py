"""From labels to scores: entity counts, precision, recall, F1. NumPy in, NumPy out.

Everything is computed from one small integer array: true positives, predicted and gold entities of every sentence and
type, counted without a Python loop over words. Results equal seqeval's in both modes; docs/speed.md has the times.
"""

from collections.abc import Iterable, Sequence

import numpy as np


def entity_types(names: Sequence[str]) -> tuple[str, ...]:
    """Entity types in order of appearance in the tags `names`; ValueError for a tag other than O, B-type, I-type."""
    for name in names:
        if name != "O" and not (name[:2] in ("B-", "I-") and name[2:]):
            raise ValueError(f"tag {name!r}: expected O, B-type or I-type")
    return tuple(dict.fromkeys(name[2:] for name in names if name != "O"))


def entity_counts(gold: np.ndarray, predicted: np.ndarray, lengths: Sequence[int] | np.ndarray,
                  names: Sequence[str], strict: bool = False) -> np.ndarray:
    """(S, types, 3) entities per sentence and type, types as in `entity_types`: true positives, predicted, gold.

    `gold` and `predicted` (N,) are labels (indices into `names`) of all words of all sentences, `lengths` (S,) the
    words of each. A true positive has the same first word, last word and type as a gold entity.

    `strict=False` counts like seqeval's default mode and conlleval: an I-X that does not continue an X opens an entity.
    `strict=True` counts like seqeval's `mode="strict", scheme=IOB2`: entities must begin with B to count, also in gold.
    Raises ValueError for arrays that do not fit together, an empty sentence, or a label that is not in `names`.
    """
    lengths = np.asarray(lengths)
    gold, predicted = _labels(gold, predicted, len(names))
    if lengths.ndim != 1 or not len(lengths) or lengths.min() < 1 or lengths.sum() != len(gold):
        raise ValueError(f"lengths of {lengths.size} sentences sum to {lengths.sum()} for {len(gold)} words: "
                         "expected one number >= 1 per sentence, adding up to the number of words")
    types = entity_types(names)
    type_of = np.array([types.index(name[2:]) if name != "O" else -1 for name in names])
    begins = np.array([name[0] == "B" for name in names])
    sentence_of = np.repeat(np.arange(len(lengths)), lengths)
    opens_sentence = np.zeros(len(gold), dtype=bool)
    opens_sentence[np.cumsum(lengths) - lengths] = True

    def entities(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First word, last word and type of every entity."""
        kind = type_of[labels]
        continues = (kind >= 0) & (kind == np.roll(kind, 1)) & ~begins[labels] & ~opens_sentence
        first = np.flatnonzero((kind >= 0) & ~continues)
        last = np.flatnonzero((kind >= 0) & ~np.append(continues[1:], False))
        if strict:
            well_formed = begins[labels[first]]
            first, last = first[well_formed], last[well_formed]
        return first, last, kind[first]

    def count(first: np.ndarray, kind: np.ndarray) -> np.ndarray:
        cells = sentence_of[first] * len(types) + kind
        return np.bincount(cells, minlength=len(lengths) * len(types)).reshape(len(lengths), len(types))

    first, last, kind = entities(gold)
    predicted_first, predicted_last, predicted_kind = entities(predicted)
    last_at, kind_at = np.full((2, len(gold)), -1)
    last_at[predicted_first], kind_at[predicted_first] = predicted_last, predicted_kind
    hit = (last_at[first] == last) & (kind_at[first] == kind)
    return np.stack([count(first[hit], kind[hit]), count(predicted_first, predicted_kind), count(first, kind)], axis=-1)


def scores(counts: np.ndarray, types: Sequence[str]) -> dict:
    """From (S, types, 3) counts: micro `f1`, `precision`, `recall`; gold `entities`; `by_type`, `macro`, `weighted`.

    Equal to seqeval's classification_report with zero_division=0: a type that is neither in gold nor predicted is left
    out of `by_type` and of the means. Without any entity, every score is 0 (seqeval's macro: nan).
    """
    check_counts(counts)
    if len(types) != counts.shape[1]:
        raise ValueError(f"{len(types)} types {tuple(types)} for counts of {counts.shape[1]} types")
    by_type = counts.sum(axis=0)
    present = by_type.any(axis=1)
    by_type, types = by_type[present], [name for name, there in zip(types, present, strict=True) if there]
    table = f1_precision_recall(by_type)
    support = by_type[:, 2]

    def named(values: np.ndarray) -> dict:
        return dict(zip(("f1", "precision", "recall"), values.tolist(), strict=True))

    return {**named(f1_precision_recall(by_type.sum(axis=0))), "entities": int(support.sum()),
            "by_type": {name: {**named(row), "support": int(n)}
                        for name, row, n in zip(types, table, support, strict=True)},
            "macro": named(ratio(table.sum(axis=0), len(types))),
            "weighted": named(ratio(support @ table, support.sum()))}


def unseen(sentences: Iterable[Sequence[str]], training: Iterable[Sequence[str]]) -> np.ndarray:
    """(S,) bool: the training sentences do not include the exact sequence of words of this sentence."""
    known = {tuple(words) for words in training}
    return np.array([tuple(words) not in known for words in sentences], dtype=bool)


def confusion(gold: np.ndarray, predicted: np.ndarray, K: int) -> np.ndarray:
    """(K, K) words by tag: rows gold, columns predicted. Words without annotation (gold -1) are left out."""
    gold, predicted = np.asarray(gold), np.asarray(predicted)
    gold, predicted = gold[gold != -1], predicted[gold != -1]
    gold, predicted = _labels(gold, predicted, K)
    return np.bincount(gold * K + predicted, minlength=K * K).reshape(K, K)


def _labels(gold: np.ndarray, predicted: np.ndarray, K: int) -> tuple[np.ndarray, np.ndarray]:
    gold, predicted = np.asarray(gold), np.asarray(predicted)
    if gold.ndim != 1 or gold.shape != predicted.shape:
        raise ValueError(f"gold {gold.shape} and predicted {predicted.shape}: expected one label of each per word")
    for name, labels in (("gold", gold), ("predicted", predicted)):
        if labels.dtype.kind not in "iu":
            raise ValueError(f"{name} labels are {labels.dtype}: expected integers")
        wrong = np.flatnonzero((labels < 0) | (labels >= K))
        if len(wrong):
            raise ValueError(f"{name} label {labels[wrong[0]]} of word {wrong[0]}: expected 0 to {K - 1} (no -100)")
    return gold.astype(np.int64, copy=False), predicted.astype(np.int64, copy=False)


def check_counts(counts: np.ndarray) -> None:
    if counts.ndim != 3 or counts.shape[2] != 3 or not len(counts):
        raise ValueError(f"counts of shape {counts.shape}: expected (sentences, types, 3) with at least one sentence")


def ratio(numerator: np.ndarray, denominator: np.ndarray | int) -> np.ndarray:
    """Quotient; 0 where the denominator is 0."""
    return np.where(denominator, numerator / np.maximum(denominator, 1), 0.0)


def f1_of(true_positives: np.ndarray, predicted: np.ndarray, gold: np.ndarray) -> np.ndarray:
    return ratio(2 * true_positives, predicted + gold)


def f1_precision_recall(counts: np.ndarray) -> np.ndarray:
    """(..., 3) counts -> (..., 3) F1, precision, recall."""
    true_positives, predicted, gold = np.moveaxis(counts, -1, 0)
    return np.stack([f1_of(true_positives, predicted, gold), ratio(true_positives, predicted),
                     ratio(true_positives, gold)], axis=-1)
