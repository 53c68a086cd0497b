"""The book's samples exactly; order from seed and epoch alone; every sentence computed once, whatever the machine."""

import json
import math

import numpy as np
import pytest
from datasets import Dataset, concatenate_datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from ner.data import corpora, sampling
from ner.options import Options, UserError

FRACTIONS = {"de": 0.629, "fr": 0.229, "it": 0.084, "en": 0.059}


def rows(count: int, lang: str = "de") -> Dataset:
    return Dataset.from_dict({"row": list(range(count)), "lang": [lang] * count})


@pytest.fixture(scope="module")
def panx(shared):
    """The book's corpus, and what it says of it."""
    options = Options(data_dir=str(shared / "panx"), fractions=FRACTIONS, eval_langs=["de"])
    corpus, tags = corpora.load(options)
    return corpus, tags, json.loads((shared / "chapter4" / "expected.json").read_text())


@pytest.mark.slow
def test_published_samples_of_german(panx):
    corpus, tags, expected = panx
    assert list(tags.names) == expected["tags"]
    sampled = expected["sampling"]
    assert {split: len(langs["de"]) for split, langs in corpus.items()} == sampled["de_rows"]
    assert corpus["train"]["de"][0]["tokens"] == sampled["de_first_train_tokens"]
    assert corpus["train"]["de"][0]["ner_tags"] == sampled["de_first_train_tags"]
    for split, counts in sampled["de_entity_counts"].items():
        labels = [label for ids in corpus[split]["de"]["ner_tags"] for label in ids]
        assert {kind: labels.count(tags.ids[f"B-{kind}"]) for kind in counts} == counts


@pytest.mark.slow
def test_published_row_counts(panx):
    expected = panx[2]["sampling"]
    assert dict(zip(expected["languages"], expected["fractions"])) == FRACTIONS
    whole = rows(20_000)
    counts = {lang: len(sampling.fraction(whole, share, 0)) for lang, share in FRACTIONS.items()}
    assert counts == expected["train_rows"]


@pytest.mark.parametrize(("count", "share", "seed"), [(1000, 0.629, 0), (999, 0.229, 7), (3, 1.0, 0), (10, 0.05, 0)])
def test_fraction_is_a_shuffle_and_a_cut(count, share, seed):
    expected = rows(count).shuffle(seed=seed).select(range(int(share * count)))
    assert sampling.fraction(rows(count), share, seed)["row"] == expected["row"]


def test_training_set_of_one_language():
    assert list(sampling.training_set({"de": rows(9)}, None)["row"]) == list(range(9))
    assert sampling.training_set({"de": rows(99)}, 20)["row"] == rows(99).shuffle(seed=42).select(range(20))["row"]
    twenty, thirty = (list(sampling.training_set({"de": rows(99)}, count)["row"]) for count in (20, 30))
    assert twenty == thirty[:20]


def test_training_set_of_several_languages():
    parts = {"de": rows(5), "fr": rows(4, "fr")}
    expected = concatenate_datasets(list(parts.values())).shuffle(seed=42)
    assert sampling.training_set(parts, None).to_dict() == expected.to_dict()
    both = sampling.training_set(parts, 3)
    assert sorted(both["lang"]) == ["de"] * 3 + ["fr"] * 3


def test_pseudo_sentences_follow_and_are_taken_whole():
    parts = {"de": rows(5), "fr": rows(4, "fr")}
    pseudo = {"it": rows(2, "it"), "en": rows(7, "en")}
    assert sampling.training_set(parts, None, pseudo).to_dict() == sampling.training_set(parts | pseudo, None).to_dict()
    assert sorted(sampling.training_set(parts, 3, pseudo)["lang"]) == ["de"] * 3 + ["en"] * 7 + ["fr"] * 3 + ["it"] * 2
    assert sampling.subset(rows(99), "de", 20)["row"] == sampling.training_set({"de": rows(99)}, 20)["row"]


def test_training_set_with_too_few_sentences():
    with pytest.raises(UserError, match="num_train_sentences: asked for 5 of 'fr', which has 4"):
        sampling.training_set({"de": rows(5), "fr": rows(4, "fr")}, 5)


@given(st.integers(1, 200), st.integers(1, 70), st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_every_sentence_once_an_epoch(sentences, batch_size, seed, epoch):
    per_epoch = sampling.steps_per_epoch(sentences, batch_size)
    assert per_epoch == math.ceil(sentences / batch_size)
    steps = [sampling.step_sentences(sentences, batch_size, seed, epoch * per_epoch + i) for i in range(per_epoch)]
    assert [len(step) for step in steps[:-1]] == [batch_size] * (per_epoch - 1)
    assert sorted(np.concatenate(steps)) == list(range(sentences))


def test_order_is_a_function_of_seed_and_epoch_alone():
    def order(seed, epoch, batch_size=10):
        per_epoch = sampling.steps_per_epoch(100, batch_size)
        steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        return np.concatenate([sampling.step_sentences(100, batch_size, seed, step) for step in steps]).tolist()

    np.random.seed(1)
    first = order(42, 3)
    np.random.seed(2)
    order(7, 0)
    assert order(42, 3) == first == order(42, 3, batch_size=33)
    assert len({tuple(order(seed, epoch)) for seed in (42, 43) for epoch in (0, 1, 2)}) == 6
    assert sampling.step_sentences(5, 5, 42, 0).tolist() == np.random.default_rng((42, 0)).permutation(5).tolist()


def test_micro_batches_exact():
    assert sampling.micro_batches([5, 9, 7], 0, 2, None) == [[1, 0]]
    assert sampling.micro_batches([5, 9, 7], 1, 2, None) == [[2]]
    assert [sampling.micro_batches([5, 9, 7], rank, 2, 1) for rank in (0, 1)] == [[[1], [0]], [[2], []]]
    assert [sampling.micro_batches([4], rank, 3, 8) for rank in (0, 1, 2)] == [[[0]], [[]], [[]]]
    assert sampling.micro_batches([], 0, 1, None) == [[]]


@settings(deadline=None)
@given(st.lists(st.integers(2, 512), max_size=80), st.integers(1, 5), st.none() | st.integers(1, 20))
def test_micro_batches_share_all_items_out(lengths, processes, size):
    parts = [sampling.micro_batches(lengths, rank, processes, size) for rank in range(processes)]
    assert sorted(i for passes in parts for part in passes for i in part) == list(range(len(lengths)))
    assert len({len(passes) for passes in parts}) == 1 and len(parts[0]) >= 1
    assert all(len(part) <= (size or len(lengths)) for passes in parts for part in passes)
    assert any(passes[-1] for passes in parts) or not lengths  # no pass in vain
    for passes in parts:
        own = [lengths[i] for part in passes for i in part]
        assert own == sorted(own, reverse=True)
    work = [sum(lengths[i] for part in passes for i in part) for passes in parts]
    assert max(work) - min(work) <= max(lengths, default=0)


def test_token_batches_exact():
    assert sampling.token_batches([3, 9, 4], 9) == [[1], [2, 0]]
    assert sampling.token_batches([3, 9, 4], 1) == [[1], [2], [0]]
    assert sampling.token_batches([2, 2, 2, 2], 4) == [[0, 1], [2, 3]]
    assert sampling.token_batches([], 9) == []


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 200))
def test_token_batches_keep_to_the_budget(lengths, budget):
    batches = sampling.token_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget for batch in batches)
    for batch, following in zip(batches, batches[1:]):  # no batch closes early
        assert (len(batch) + 1) * lengths[batch[0]] > budget
        assert min(lengths[i] for i in batch) >= max(lengths[i] for i in following)


def test_the_order_of_an_epoch_cannot_be_changed():
    """It is kept for the next step."""
    order = sampling.epoch_order(5, 42, 1)
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 1
    assert sampling.step_sentences(5, 2, 42, 4).tolist() == order[2:4].tolist()
