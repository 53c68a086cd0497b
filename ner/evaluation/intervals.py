"""How far scores can be trusted: bootstrap intervals, paired tests, calibration. NumPy in, NumPy out.

Everything but calibration starts from `scoring.entity_counts`. Sentences with equal counts are interchangeable, so the
resampling methods draw how often each *distinct* row occurs instead of drawing sentences: a bootstrap sample is one
multinomial draw over the distinct rows, a random swap of equal pairs one binomial draw. The distribution is the same,
not an approximation, and it is much faster as long as few rows are distinct (docs/speed.md).

The intervals cover variation over test sentences, not over training seeds.
"""

from collections.abc import Sequence

import numpy as np

from ner.evaluation.scoring import check_counts, f1_of, ratio

CHUNK = 2**22  # draws in memory at a time: 32 MiB


def f1_interval(counts: np.ndarray, resamples: int = 10_000, seed: int = 0,
                level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of micro F1 over sentences, from (S, types, 3) counts.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13. In simulations of 2,000 test sets, a 95 %
    interval covered the true F1 in 94 to 96 % of cases with 100 to 1,000 sentences, but in 86 to 90 % with 10: too
    narrow.
    """
    check_counts(counts)
    return _interval(f1_of(*_bootstrap_sums(counts.sum(axis=1), resamples, seed).T), level)


def by_type_intervals(counts: np.ndarray, resamples: int = 10_000, seed: int = 0, level: float = 0.95) -> dict:
    """The same for the F1 of each type and for the means over types, from one set of resamples of (S, types, 3) counts:
    `by_type` (types, 2), nan for a type that does not occur, and the means `macro` and `weighted` as in `scores`.
    Slower than `f1_interval`, because counts by type have more distinct rows."""
    check_counts(counts)
    present = counts.any(axis=(0, 2))
    by_type = np.full((counts.shape[1], 2), np.nan)
    if not present.any():
        return {"by_type": by_type, "macro": (0.0, 0.0), "weighted": (0.0, 0.0)}
    rows = counts[:, present].reshape(len(counts), -1)
    sums = _bootstrap_sums(rows, resamples, seed).reshape(resamples, -1, 3)
    f1, support = f1_of(*np.moveaxis(sums, -1, 0)), sums[..., 2]
    by_type[present] = [_interval(values, level) for values in f1.T]
    return {"by_type": by_type, "macro": _interval(ratio(f1.sum(axis=1), f1.shape[1]), level),
            "weighted": _interval(ratio((support * f1).sum(axis=1), support.sum(axis=1)), level)}


def languages_interval(languages: Sequence[np.ndarray], resamples: int = 10_000, seed: int = 0,
                       level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean micro F1 of several languages, each (S, types, 3); each language's
    sentences are resampled independently."""
    f1 = [f1_of(*_bootstrap_sums(counts.sum(axis=1), resamples, seed + i).T) for i, counts in enumerate(languages)]
    return _interval(np.mean(f1, axis=0), level)


def mean_f1_interval(runs: Sequence[np.ndarray], resamples: int = 10_000, seed: int = 0,
                     level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval over sentences of the mean micro F1 of several runs (seeds) on the same sentences.

    Each of `runs` is (S, types, 3); all are scored on the same resampled sentences. The seeds are fixed.
    """
    for counts in runs:
        check_counts(counts)
    rows = np.concatenate([counts.sum(axis=1) for counts in runs], axis=1)
    sums = _bootstrap_sums(rows, resamples, seed).reshape(resamples, len(runs), 3)
    return _interval(f1_of(*np.moveaxis(sums, -1, 0)).mean(axis=1), level)


def paired_bootstrap(counts_a: np.ndarray, counts_b: np.ndarray, resamples: int = 10_000, seed: int = 0,
                     level: float = 0.95) -> dict:
    """`difference` of micro F1 (a minus b) between two taggers on the same sentences, its `interval`, two-sided `p`.

    Both are scored on the same resampled sentences (Koehn 2004, Statistical Significance Tests for Machine Translation
    Evaluation). p is the share of resamples whose difference deviates from the observed one by at least its own size:
    the null distribution is the bootstrap distribution shifted to 0 (Berg-Kirkpatrick et al. 2012, An Empirical
    Investigation of Statistical Significance in NLP, sec. 2), here two-sided. The observed sample counts as one
    resample, so that p is never 0. Raises ValueError if the gold entities differ.
    """
    return languages_bootstrap([(counts_a, counts_b)], resamples, seed, level)


def languages_bootstrap(pairs: Sequence[tuple[np.ndarray, np.ndarray]], resamples: int = 10_000, seed: int = 0,
                        level: float = 0.95) -> dict:
    """`paired_bootstrap` for the mean micro F1 of several languages, a pair of counts each; each language's sentences
    are resampled independently. Counts may also be (R, S, types, 3), of R runs (seeds), whose mean F1 is meant; the
    seeds are fixed, and all runs are scored on the same resampled sentences."""
    languages = [_paired_rows(*pair) for pair in pairs]
    difference = float(np.mean([_difference(rows.sum(axis=0), runs) for rows, runs in languages]))
    resampled = np.mean([_difference(_bootstrap_sums(rows, resamples, seed + i), runs)
                         for i, (rows, runs) in enumerate(languages)], axis=0)
    return {"difference": difference, "interval": _interval(resampled, level),
            "p": _p_value(resampled - difference, difference)}


def approximate_randomisation(counts_a: np.ndarray, counts_b: np.ndarray, resamples: int = 10_000,
                              seed: int = 0) -> dict:
    """`difference` of micro F1 (a minus b) on the same sentences and its two-sided `p`; the test has no interval.

    If the taggers were equal, swapping their outputs in a sentence would not matter: p is the share of random swaps
    (each sentence with probability 1/2) with a difference at least as large as the observed one (Noreen 1989,
    Computer-Intensive Methods for Testing Hypotheses; for F1 Yeh 2000, More Accurate Tests for the Statistical
    Significance of Result Differences), counting the observed outcome. Raises ValueError if the gold entities differ.
    """
    return languages_randomisation([(counts_a, counts_b)], resamples, seed)


def languages_randomisation(pairs: Sequence[tuple[np.ndarray, np.ndarray]], resamples: int = 10_000,
                            seed: int = 0) -> dict:
    """`approximate_randomisation` for the mean micro F1 of several languages, a pair of counts each, perhaps of several
    runs as in `languages_bootstrap`: all outputs of a for a sentence are swapped with all of b. ValueError unless a and
    b have as many runs."""
    languages = [_paired_rows(*pair) for pair in pairs]
    for (rows, runs), _ in zip(languages, pairs, strict=True):
        if rows.shape[1] != 4 * runs + 1:
            raise ValueError(f"{runs} and {(rows.shape[1] - 1) // 2 - runs} runs: expected as many, or nothing can be "
                             f"swapped")
    difference = float(np.mean([_difference(rows.sum(axis=0), runs) for rows, runs in languages]))
    swapped = np.mean([_difference(_swapped_sums(rows, resamples, seed + i), runs)
                       for i, (rows, runs) in enumerate(languages)], axis=0)
    return {"difference": difference, "p": _p_value(swapped, difference)}


def calibration(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> dict:
    """Expected calibration error over words: mean distance between confidence and accuracy, bins weighted by words.

    `confidence` (N,) is the probability of the predicted tag, `correct` (N,) whether it is the gold tag. Returns `ece`
    and for the reliability diagram the (bins,) arrays `confidence` and `accuracy` (means; nan in an empty bin) and
    `count`. Bins have equal width and include their upper edge (Guo et al. 2017, On Calibration of Modern Neural
    Networks). Most words are O and easy, so a low value means little. Raises ValueError if there are no words.
    """
    confidence, correct = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence):
        raise ValueError(f"confidence {confidence.shape} and correct {correct.shape}: expected one of each per word")
    if not ((confidence >= 0) & (confidence <= 1 + 1e-6)).all():  # a rounded softmax may exceed 1; nan is refused
        raise ValueError(f"confidence from {confidence.min()} to {confidence.max()}: expected probabilities")
    where = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    count = np.bincount(where, minlength=bins)
    sums = np.stack([np.bincount(where, weights=values, minlength=bins) for values in (confidence, correct)])
    means = np.divide(sums, count, out=np.full(sums.shape, np.nan), where=count > 0)
    return {"ece": float(np.abs(sums[0] - sums[1]).sum() / len(confidence)),
            "confidence": means[0], "accuracy": means[1], "count": count}


def _paired_rows(counts_a: np.ndarray, counts_b: np.ndarray) -> tuple[np.ndarray, int]:
    """(S, 2 * runs + 1): true positives and predicted of each run of a, the same of b, gold; and the runs of a."""
    runs_a, runs_b = (counts if counts.ndim == 4 else counts[None] for counts in (counts_a, counts_b))
    for counts in [*runs_a, *runs_b]:
        check_counts(counts)
        if counts.shape != runs_a[0].shape or (counts[..., 2] != runs_a[0][..., 2]).any():
            raise ValueError(f"counts {counts_a.shape} and {counts_b.shape} have different gold entities: expected two "
                             "predictions for the same sentences in the same order")
    columns = [counts.sum(axis=1)[:, :2] for counts in [*runs_a, *runs_b]]
    return np.column_stack([*columns, runs_a[0][..., 2].sum(axis=1)]), len(runs_a)


def _chunks(resamples: int, width: int) -> list[int]:
    """Sizes of chunks that add up to `resamples` rows, with at most CHUNK numbers each."""
    if resamples < 1:
        raise ValueError(f"{resamples} resamples: expected at least 1")
    size = max(1, CHUNK // max(1, width))
    return [min(size, resamples - done) for done in range(0, resamples, size)]


def _bootstrap_sums(rows: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(resamples, columns) sums over len(rows) rows drawn with replacement."""
    kinds, copies = np.unique(rows, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.multinomial(len(rows), copies / len(rows), size=n) @ kinds
                           for n in _chunks(resamples, len(kinds))])


def _swapped_sums(rows: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(resamples, columns) sums over paired rows, a and b swapped in each with probability 1/2."""
    total, half = rows.sum(axis=0), rows.shape[1] // 2
    kinds, copies = np.unique(rows[(rows[:, :half] != rows[:, half:-1]).any(axis=1), :-1], axis=0, return_counts=True)
    gain = kinds[:, half:] - kinds[:, :half]
    rng = np.random.default_rng(seed)
    moved = np.concatenate([rng.binomial(copies, 0.5, size=(n, len(kinds))) @ gain
                            for n in _chunks(resamples, len(kinds))])
    return np.column_stack([total[:half] + moved, total[half:-1] - moved, np.full(resamples, total[-1])])


def _difference(sums: np.ndarray, runs_a: int) -> np.ndarray:
    """(..., columns) sums of paired rows -> mean F1 of the runs of a minus that of b."""
    *columns, gold = np.moveaxis(sums, -1, 0)
    f1 = [f1_of(true, predicted, gold) for true, predicted in zip(columns[::2], columns[1::2], strict=True)]
    return np.mean(f1[:runs_a], axis=0) - np.mean(f1[runs_a:], axis=0)


def _interval(values: np.ndarray, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f"level {level}: expected a number between 0 and 1, such as 0.95")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high


def _p_value(null: np.ndarray, observed: float) -> float:
    """Two-sided; the tolerance counts values as ties that differ only by rounding."""
    return float((1 + (np.abs(null) >= abs(observed) - 1e-12).sum()) / (1 + len(null)))
