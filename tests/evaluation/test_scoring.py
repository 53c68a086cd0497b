"""Counts and scores equal seqeval; intervals and tests equal what exact enumeration, theory and simulation say."""

from itertools import product
from statistics import NormalDist

import numpy as np
import pytest
from seqeval.metrics import classification_report, f1_score
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Entities

from ner.evaluation.intervals import (
    approximate_randomisation,
    by_type_intervals,
    calibration,
    f1_interval,
    languages_bootstrap,
    languages_interval,
    languages_randomisation,
    paired_bootstrap,
)
from ner.evaluation.scoring import confusion, entity_counts, entity_types, scores, unseen
from tests.helpers.clock import best

PANX = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
TAG_SETS = (PANX,
            ("O", "B-PER", "I-PER"),
            ("I-LOC", "B-PER", "O", "B-LOC", "I-PER"),  # odd order
            ("O", "B-X", "I-X", "I-Y", "B-work-of-art", "I-work-of-art", "B-Z"))  # hyphens; types without B, without I
STRICT = {"mode": "strict", "scheme": IOB2}


def random_corpus(rng, K, sentences, low=1, high=40):
    """Gold labels at random, transitions against the scheme included, and a prediction that agrees in most words."""
    lengths = rng.integers(low, high + 1, sentences)
    gold = rng.integers(0, K, lengths.sum())
    return gold, np.where(rng.random(len(gold)) < 0.2, rng.integers(0, K, len(gold)), gold), lengths


def as_tags(labels, lengths, names):
    return [[names[label] for label in part] for part in np.split(labels, np.cumsum(lengths)[:-1])]


def as_counts(rows):
    """Rows of (true positives, predicted, gold) -> (S, 1, 3) counts of a single type."""
    return np.array(rows)[:, None, :]


def test_intervals_of_types_and_means_agree_with_those_of_each_alone():
    counts = np.concatenate([noisy_counts(np.random.default_rng(3), 400), np.zeros((400, 1, 3), int)], axis=1)
    found = by_type_intervals(counts)
    for kind in (0, 1):
        assert found["by_type"][kind] == pytest.approx(f1_interval(counts[:, [kind]]), abs=0.004)
    assert np.isnan(found["by_type"][2]).all()  # a type that does not occur
    exact = scores(counts, ("a", "b", "c"))
    for mean in ("macro", "weighted"):
        low, high = found[mean]
        assert low < exact[mean]["f1"] < high
        assert high - low == pytest.approx(np.subtract(*f1_interval(counts)[::-1]), rel=0.1)
    one = by_type_intervals(counts[:, :1])
    assert one["macro"] == pytest.approx(f1_interval(counts[:, :1]), abs=0.004)


@pytest.mark.slow
def test_interval_of_the_mean_over_languages():
    """For n independent languages with similar F1 it is narrower by the square root of n; for one they are equal."""
    rng = np.random.default_rng(4)
    languages = [noisy_counts(rng, 500) for _ in range(4)]
    assert languages_interval(languages[:1]) == f1_interval(languages[0])
    widths = [np.subtract(*f1_interval(counts)[::-1]) for counts in languages]
    low, high = languages_interval(languages)
    assert high - low == pytest.approx(np.sqrt(np.square(widths).sum()) / 4, rel=0.05)
    assert low < np.mean([scores(counts, ("a", "b"))["f1"] for counts in languages]) < high


def one_entity_each(hits):
    """Counts of sentences with one gold and one predicted entity, right where `hits` is: F1 is the mean of `hits`."""
    return as_counts(np.column_stack([hits, np.ones_like(hits), np.ones_like(hits)]).astype(int))


def noisy_counts(rng, sentences, types=2):
    gold = rng.integers(0, 4, (sentences, types))
    predicted = np.maximum(gold + rng.integers(-1, 2, (sentences, types)), 0)
    return np.stack([rng.binomial(np.minimum(gold, predicted), 0.8), predicted, gold], axis=-1)


def another_tagger(rng, counts, accuracy):
    gold = counts[..., 2]
    predicted = np.maximum(gold + rng.integers(-1, 2, gold.shape), 0)
    return np.stack([rng.binomial(np.minimum(gold, predicted), accuracy), predicted, gold], axis=-1)


def seqeval_counts(gold, predicted, types, strict):
    """The counts from the entities that seqeval itself finds in each sentence."""
    def entities(sentences):
        if strict:
            return [{(e.tag, e.start, e.end) for e in found} for found in Entities(sentences, IOB2).entities]
        return [set(get_entities(sentence)) for sentence in sentences]

    def of_type(found, name):
        return sum(entity[0] == name for entity in found)

    return np.array([[[of_type(g & p, name), of_type(p, name), of_type(g, name)] for name in types]
                     for g, p in zip(entities(gold), entities(predicted))])


def assert_equals_report(own, report):
    def figures(row):
        return [row["precision"], row["recall"], row["f1-score"]]

    def own_figures(row):
        return [row["precision"], row["recall"], row["f1"]]

    averages = {"micro avg": own, "macro avg": own["macro"], "weighted avg": own["weighted"]}
    for name, row in averages.items():
        np.testing.assert_allclose(own_figures(row), figures(report.pop(name)), rtol=0, atol=1e-12)
    assert own["by_type"].keys() == report.keys()
    for name, row in report.items():
        np.testing.assert_allclose(own_figures(own["by_type"][name]), figures(row), rtol=0, atol=1e-12)
        assert own["by_type"][name]["support"] == row["support"]
    assert own["entities"] == sum(row["support"] for row in report.values())


def test_published_example():
    names = ("O", "B-MISC", "I-MISC", "B-PER", "I-PER")
    gold, predicted = [0, 0, 0, 1, 2, 2, 0, 3, 4, 0], [0, 0, 1, 2, 2, 2, 0, 3, 4, 0]
    for strict in (False, True):
        counts = entity_counts(gold, predicted, [7, 3], names, strict=strict)
        assert counts.tolist() == [[[0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 1, 1]]]
        own = scores(counts, entity_types(names))
        assert own["f1"] == own["macro"]["f1"] == own["weighted"]["f1"] == 0.5
        assert {name: row["f1"] for name, row in own["by_type"].items()} == {"MISC": 0.0, "PER": 1.0}


@pytest.mark.parametrize("tags, default, strict", [
    ("O I-PER I-PER", 1, 0),  # after O
    ("B-PER I-PER I-PER", 1, 1),
    ("B-PER B-PER", 2, 2),
    ("B-PER I-LOC", 2, 1),  # after another type
    ("B-PER I-LOC I-PER", 3, 1),
    ("I-LOC B-LOC I-LOC", 2, 1),
    ("I-PER O I-PER", 2, 0),
    ("O O", 0, 0),
])
def test_what_is_an_entity(tags, default, strict):
    labels = [PANX.index(tag) for tag in tags.split()]
    for mode, expected in ((False, default), (True, strict)):
        counts = entity_counts(labels, labels, [len(labels)], PANX, strict=mode)
        assert counts.sum(axis=(0, 1)).tolist() == [expected] * 3


def test_entities_end_with_their_sentence():
    labels = [1, 2, 2, 2]  # B-PER I-PER | I-PER I-PER
    assert entity_counts(labels, labels, [2, 2], PANX)[:, 0].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert entity_counts(labels, labels, [2, 2], PANX, strict=True)[:, 0].tolist() == [[1, 1, 1], [0, 0, 0]]
    assert entity_counts(labels, labels, [4], PANX)[:, 0].tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("names", TAG_SETS)
@pytest.mark.parametrize("sentences", [100, pytest.param(2_500, marks=pytest.mark.slow)])
def test_equals_seqeval_on_random_sequences(names, strict, sentences):
    """2,500 sentences for each of four tag sets: 10,000 in each mode, compared sentence by sentence."""
    gold, predicted, lengths = random_corpus(np.random.default_rng(len(names)), len(names), sentences)
    types = entity_types(names)
    counts = entity_counts(gold, predicted, lengths, names, strict=strict)
    gold, predicted = as_tags(gold, lengths, names), as_tags(predicted, lengths, names)
    np.testing.assert_array_equal(counts, seqeval_counts(gold, predicted, types, strict))
    assert counts[..., 0].sum() > sentences / 2.5
    report = classification_report(gold, predicted, output_dict=True, zero_division=0, **(STRICT if strict else {}))
    assert_equals_report(scores(counts, types), report)


@pytest.mark.parametrize("strict", [False, True])
def test_equals_seqeval_where_types_are_missing(strict):
    rng = np.random.default_rng(0)
    compared = 0
    for _ in range(300):
        gold, predicted, lengths = random_corpus(rng, len(PANX), 2, high=3)
        counts = entity_counts(gold, predicted, lengths, PANX, strict=strict)
        if counts.any():  # seqeval has no macro score without an entity
            compared += 1
            report = classification_report(as_tags(gold, lengths, PANX), as_tags(predicted, lengths, PANX),
                                           output_dict=True, zero_division=0, **(STRICT if strict else {}))
            assert_equals_report(scores(counts, entity_types(PANX)), report)
    assert compared > 200


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, STRICT], ids=["default", "strict"])
def test_at_least_20_times_as_fast_as_seqeval(options):
    gold, predicted, lengths = random_corpus(np.random.default_rng(0), len(PANX), 5_000)
    gold_tags, predicted_tags = as_tags(gold, lengths, PANX), as_tags(predicted, lengths, PANX)

    def own():
        return scores(entity_counts(gold, predicted, lengths, PANX, strict=bool(options)), entity_types(PANX))["f1"]

    def seqeval():
        return f1_score(gold_tags, predicted_tags, zero_division=0, **options)

    assert own() == pytest.approx(seqeval(), abs=1e-12)
    assert best(seqeval, 2) >= 20 * best(own, 10)


def test_counts_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="-100"):
        entity_counts([0, -100], [0, 0], [2], PANX)
    with pytest.raises(ValueError, match="label 7 of word 1"):
        entity_counts([0, 0], [0, 7], [2], PANX)
    with pytest.raises(ValueError, match="one label of each"):
        entity_counts([0, 0], [0], [2], PANX)
    with pytest.raises(ValueError, match="integers"):
        entity_counts([0.0], [0.0], [1], PANX)
    for lengths in ([2, 0], [1], [], [3, -1]):
        with pytest.raises(ValueError, match="lengths"):
            entity_counts([0, 0], [0, 0], lengths, PANX)
    for name in ("PER", "B-", "E-PER", "o"):
        with pytest.raises(ValueError, match="expected O, B-type or I-type"):
            entity_types(["O", name])
    with pytest.raises(ValueError, match="2 types"):
        scores(np.ones((1, 3, 3), int), ("PER", "LOC"))
    with pytest.raises(ValueError, match="at least one sentence"):
        scores(np.ones((0, 1, 3), int), ("PER",))


def test_no_entity_at_all():
    counts = entity_counts([0, 0, 0], [0, 0, 0], [1, 2], PANX)
    zero = {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    assert scores(counts, entity_types(PANX)) == {**zero, "entities": 0, "by_type": {}, "macro": zero, "weighted": zero}
    assert f1_interval(counts) == (0.0, 0.0)
    assert paired_bootstrap(counts, counts) == {"difference": 0.0, "interval": (0.0, 0.0), "p": 1.0}
    assert approximate_randomisation(counts, counts) == {"difference": 0.0, "p": 1.0}
    assert entity_counts([0], [0], [1], ("O",)).shape == (1, 0, 3)
    assert scores(entity_counts([0], [0], [1], ("O",)), ())["f1"] == 0.0


def test_one_sentence():
    counts = as_counts([[2, 3, 4]])
    assert f1_interval(counts) == pytest.approx((4 / 7, 4 / 7))
    other = as_counts([[4, 4, 4]])
    assert paired_bootstrap(counts, other)["p"] < 0.001  # a bootstrap of one sentence knows no doubt
    assert approximate_randomisation(counts, other)["p"] == 1.0  # both swaps are as far apart as what was seen


def test_interval_equals_theory_for_a_share():
    hits = np.arange(1_000) < 800
    low, high = f1_interval(one_entity_each(hits))
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1_000)
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.0015)
    narrow = f1_interval(one_entity_each(hits), level=0.5)
    assert low < narrow[0] < 0.8 < narrow[1] < high


@pytest.mark.slow
def test_interval_equals_drawing_sentences_one_by_one():
    rng = np.random.default_rng(3)
    counts = noisy_counts(rng, 200)
    drawn = counts.sum(axis=1)[rng.integers(0, 200, (20_000, 200))].sum(axis=1)
    f1 = 2 * drawn[:, 0] / (drawn[:, 1] + drawn[:, 2])
    for level in (0.2, 0.5, 0.8, 0.95):
        expected = np.quantile(f1, [(1 - level) / 2, (1 + level) / 2])
        assert f1_interval(counts, resamples=20_000, level=level) == pytest.approx(expected, abs=0.08 * f1.std())


@pytest.mark.slow
def test_interval_covers_the_true_f1():
    rng = np.random.default_rng(0)
    population = noisy_counts(rng, 100_000)
    true_positives, predicted, gold = population.sum(axis=(0, 1))
    truth = 2 * true_positives / (predicted + gold)
    covered = []
    for seed in range(400):
        low, high = f1_interval(population[rng.integers(0, len(population), 300)], resamples=1_000, seed=seed)
        covered.append(low <= truth <= high)
    assert 0.92 <= np.mean(covered) <= 0.975


@pytest.mark.slow
def test_10_000_resamples_of_10_000_sentences():
    """Equal sentences are drawn together: in less than half the time that drawing one by one would take."""
    rng = np.random.default_rng(0)
    counts = noisy_counts(rng, 10_000, types=4)
    rows = counts.sum(axis=1)
    one_by_one = best(lambda: [rows[rng.integers(0, 10_000, 10_000)].sum(axis=0) for _ in range(500)])
    assert best(lambda: f1_interval(counts)) < 20 * one_by_one / 2
    low, high = f1_interval(counts)
    f1 = scores(counts, "abcd")["f1"]
    assert low < f1 < high and high - low < 0.02


def test_order_of_sentences_and_of_types_does_not_matter():
    rng = np.random.default_rng(1)
    a = noisy_counts(rng, 500)
    b = another_tagger(rng, a, 0.78)
    order = rng.permutation(500)
    for function in (paired_bootstrap, approximate_randomisation):
        assert function(a, b, 500) == function(a[order], b[order], 500) == function(a[:, ::-1], b[:, ::-1], 500)
        assert function(a, b, 500) != function(a, b, 500, seed=1)
    assert f1_interval(a, 500) == f1_interval(a[order], 500)
    assert f1_interval(a, 500) != f1_interval(a, 500, seed=1)


@pytest.mark.parametrize("seed", range(6))
def test_randomisation_equals_all_swaps(seed):
    rng = np.random.default_rng(seed)
    a = noisy_counts(rng, 10, types=1)
    b = another_tagger(rng, a, 0.6)

    def f1(rows):
        return 2 * rows[..., 0].sum() / rows[..., 1:].sum()

    observed = f1(a) - f1(b)
    swaps = [np.array(swap)[:, None, None] for swap in product([False, True], repeat=10)]
    exact = np.mean([abs(f1(np.where(s, b, a)) - f1(np.where(s, a, b))) >= abs(observed) - 1e-12 for s in swaps])
    assert approximate_randomisation(a, b, resamples=40_000)["p"] == pytest.approx(exact, abs=0.01)


def test_paired_bootstrap_equals_theory():
    rng = np.random.default_rng(2)
    hits_a, hits_b = rng.random((2, 2_000)) < [[0.81], [0.8]]
    result = paired_bootstrap(one_entity_each(hits_a), one_entity_each(hits_b))
    difference = np.mean(hits_a) - np.mean(hits_b)
    error = np.std(hits_a.astype(float) - hits_b) / np.sqrt(2_000)
    assert result["difference"] == pytest.approx(difference)
    assert result["interval"] == pytest.approx((difference - 1.96 * error, difference + 1.96 * error), abs=0.0015)


def test_the_mean_of_languages():
    """Differences add up, errors as of independent samples; one language is the test of one; order of a and b."""
    rng = np.random.default_rng(3)
    hits = [rng.random((2, size)) < [[0.81], [0.8]] for size in (2_000, 500)]
    pairs = [tuple(map(one_entity_each, one)) for one in hits]
    differences = [np.mean(a) - np.mean(b) for a, b in hits]
    error = np.sqrt(sum(np.var(a.astype(float) - b) / len(a) for a, b in hits)) / 2
    result, other = languages_bootstrap(pairs), languages_randomisation(pairs)
    assert result["difference"] == other["difference"] == pytest.approx(np.mean(differences))
    assert result["interval"] == pytest.approx((np.mean(differences) - 1.96 * error,
                                                np.mean(differences) + 1.96 * error), abs=0.0015)
    expected = 2 * NormalDist().cdf(-abs(np.mean(differences)) / error)
    assert result["p"] == pytest.approx(expected, abs=0.02) and other["p"] == pytest.approx(expected, abs=0.03)
    assert languages_bootstrap(pairs[:1]) == paired_bootstrap(*pairs[0])
    assert languages_randomisation(pairs[:1]) == approximate_randomisation(*pairs[0])
    stacked = [tuple(np.stack([counts, counts]) for counts in pair) for pair in pairs]  # the same run twice
    assert languages_bootstrap(stacked) == result and languages_randomisation(stacked) == other
    mirrored = languages_bootstrap([pair[::-1] for pair in pairs])
    assert mirrored["difference"] == -result["difference"] and mirrored["p"] == pytest.approx(result["p"], abs=0.01)


def test_the_mean_over_seeds():
    """Differences of means; sentences are drawn for all runs at once; only as many runs as others can be swapped."""
    rng = np.random.default_rng(4)
    runs = rng.random((3, 1_000)) < [[0.9], [0.8], [0.7]]
    one, two, three = map(one_entity_each, runs)
    a, b = np.stack([one, three]), two[None]
    result = languages_bootstrap([(a, b)])
    paired = (runs[0].astype(float) + runs[2]) / 2 - runs[1]
    error = np.std(paired) / np.sqrt(1_000)
    assert result["difference"] == pytest.approx(paired.mean())
    assert result["interval"] == pytest.approx((paired.mean() - 1.96 * error, paired.mean() + 1.96 * error), abs=0.002)
    with pytest.raises(ValueError, match="2 and 1 runs: expected as many"):
        languages_randomisation([(a, b)])
    swapped = languages_randomisation([(np.stack([one, two]), np.stack([two, one]))])
    assert swapped["difference"] == 0 and swapped["p"] == 1
    clear = languages_randomisation([(np.stack([one, two]), np.stack([two, three]))])
    assert clear["difference"] == pytest.approx((runs[0].mean() - runs[2].mean()) / 2) and clear["p"] < 0.001


@pytest.mark.slow
@pytest.mark.parametrize("test", [paired_bootstrap, approximate_randomisation])
def test_p_values(test):
    rng = np.random.default_rng(0)
    a = noisy_counts(rng, 1_000)
    better = another_tagger(rng, a, 0.95)
    result, mirrored = test(better, a), test(a, better)
    assert result["p"] == mirrored["p"] == 1 / 10_001  # none of the resamples, and the one observed
    assert result["difference"] == -mirrored["difference"] > 0.05
    assert test(a, a)["p"] == 1.0

    alike = another_tagger(rng, a, 0.8)
    assert test(a, alike)["p"] == pytest.approx(test(alike, a)["p"], abs=0.02)
    if test is paired_bootstrap:
        assert result["interval"][0] > 0 > mirrored["interval"][1]


@pytest.mark.slow
@pytest.mark.parametrize("test", [paired_bootstrap, approximate_randomisation])
def test_p_is_uniform_if_the_taggers_are_equal(test):
    rng = np.random.default_rng(5)
    p = []
    for seed in range(400):
        a = another_tagger(rng, noisy_counts(rng, 200), 0.8)
        p.append(test(a, another_tagger(rng, a, 0.8), resamples=500, seed=seed)["p"])
    distance = np.abs(np.sort(p) - np.arange(1, 401) / 400).max()
    assert distance < 0.07  # Kolmogorov-Smirnov: 0.068 at 5 %
    assert 0.025 <= np.mean(np.array(p) < 0.05) <= 0.08


def test_tests_refuse_other_sentences():
    a = as_counts([[1, 1, 1], [0, 1, 1]])
    for other in (as_counts([[1, 1, 1]]), as_counts([[1, 1, 1], [0, 1, 2]])):
        for test in (paired_bootstrap, approximate_randomisation):
            with pytest.raises(ValueError, match="same sentences"):
                test(a, other)
    with pytest.raises(ValueError, match="0 resamples"):
        f1_interval(a, resamples=0)
    with pytest.raises(ValueError, match="level 95"):
        f1_interval(a, level=95)


def test_unseen():
    training = [["Rom", "."], ("Ein", "See"), ["Ein See"]]
    sentences = [["Rom", "."], ["rom", "."], ["Ein", "See"], [".", "Rom"], ["Rom"], ["Rom", ".", "."]]
    assert unseen(sentences, training).tolist() == [False, True, False, True, True, True]
    assert unseen([], training).tolist() == []
    assert unseen(sentences, []).all()


def test_calibration_by_hand():
    result = calibration([0.5, 0.9, 0.7, 1.0, 0.2], [False, True, False, True, False], bins=2)
    assert result["count"].tolist() == [2, 3]  # 0.5 belongs to the lower half
    np.testing.assert_allclose(result["confidence"], [0.35, 2.6 / 3])
    np.testing.assert_allclose(result["accuracy"], [0, 2 / 3])
    assert result["ece"] == pytest.approx(2 / 5 * 0.35 + 3 / 5 * 0.2)


def test_calibration_of_the_calibrated_and_the_boastful():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 100_000)
    assert calibration(confidence, rng.random(100_000) < confidence)["ece"] < 0.01
    assert calibration(confidence, rng.random(100_000) < confidence - 0.2)["ece"] == pytest.approx(0.2, abs=0.01)
    result = calibration(np.float32([1.0, 1.0000001]), [True, True])
    assert result["ece"] < 1e-6 and result["count"].tolist() == [0] * 14 + [2]
    assert np.isnan(result["accuracy"][:14]).all() and result["accuracy"][14] == 1
    for confidence, correct in (([], []), ([0.5], [True, False]), ([1.5], [True]), ([np.nan], [True]), ([-0.1], [1])):
        with pytest.raises(ValueError):
            calibration(confidence, correct)


def test_confusion():
    assert confusion([0, 0, 1, 2, 2], [0, 1, 1, 0, 0], 3).tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 0]]
    assert confusion(np.int8([12]), np.int8([12]), 13)[12, 12] == 1  # 12 * 13 + 12 is too much for int8
    with pytest.raises(ValueError, match="label 3"):
        confusion([0], [3], 3)
