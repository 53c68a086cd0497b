"""Ids as transformers gives them, a label on every first subword, every word owned by exactly one window."""

import copy
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ner.data import readers
from ner.data.alignment import IGNORED, encode, subwords, window_spans
from ner.model import builtin
from tests.helpers.clock import best

WITHOUT_SUBWORDS = ["\u200b", "\ufeff", "\u0007", "\u00a0"]
ODD = [*WITHOUT_SUBWORDS, "Zu\u0308rich", "\u0301", "a" + "\u0300" * 40,
       "\u200fשלום\u200e", "\u202eabc", "مرحبا", "👩‍👩‍👧‍👦", "🇨🇭",
       "</s>", "<pad>", "a<mask>b", "½", "ﬁn", "Ｂｅｒｎ", "a\u2028b", "x y", "\U0010ffff", "\ud800", "▁", "",
       "Wört" * 2500]
words_of_any_kind = st.lists(st.one_of(st.text(max_size=12), st.text(st.characters(), min_size=1, max_size=30),
                                       st.sampled_from(ODD)), min_size=1, max_size=25)


@pytest.fixture(scope="module")
def tokenizer():
    pytest.importorskip(builtin.PACKAGE)
    return AutoTokenizer.from_pretrained(builtin.encoder_folder())


@pytest.fixture(scope="module")
def bytes_tokenizer():
    """As RoBERTa's: bytes, merged."""
    model = Tokenizer(models.BPE(unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    model.train_from_iterator(["the cat sat on the mat"] * 20,
                              trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet, vocab_size=300))
    return PreTrainedTokenizerFast(tokenizer_object=model, bos_token="<s>", cls_token="<s>", pad_token="<pad>",
                                   eos_token="</s>", sep_token="</s>", unk_token="<unk>", mask_token="<mask>",
                                   add_prefix_space=True)


def owned_words(windows, sentences) -> list[list[int]]:
    """The words that the windows of each sentence answer for, in order."""
    assert len(windows) == len(sentences)
    return [[word for window in of_sentence for word in
             range(window.first_word, window.first_word + int((window.labels != IGNORED).sum()))]
            for of_sentence in windows]


def check_windows(windows, sentences, labels, tokenizer, max_length):
    """Every word once, its label on its own first subword, in windows that are whole."""
    assert owned_words(windows, sentences) == [list(range(len(words))) for words in sentences]
    known = subwords({word for words in sentences for word in words}, tokenizer)
    for number, window in ((number, window) for number, of_sentence in enumerate(windows) for window in of_sentence):
        assert len(window.input_ids) == len(window.labels) <= max_length
        assert (window.input_ids[0], window.input_ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert window.labels[0] == window.labels[-1] == IGNORED
        places = np.flatnonzero(window.labels != IGNORED)
        words = sentences[number][window.first_word :]
        for i, place in enumerate(places):
            ids = known[words[i]][: max_length - 2]
            assert window.input_ids[place : place + len(ids)].tolist() == ids
            assert window.labels[place] == labels[number][window.first_word + i]
            assert i + 1 == len(places) or places[i + 1] == place + len(ids)


def test_published_example(shared, tokenizer):
    expected = json.loads((shared / "chapter4" / "expected.json").read_text())["tokenization"]
    words = expected["text"].split()
    ((window,),) = encode([words], [[0] * len(words)], tokenizer, 512, 256)
    assert window.input_ids.tolist() == expected["ids"]
    assert tokenizer.convert_ids_to_tokens(window.input_ids.tolist()) == expected["tokens"]


def test_published_first_german_sentence(shared, tokenizer):
    expected = json.loads((shared / "chapter4" / "expected.json").read_text())
    words, tags = expected["sampling"]["de_first_train_tokens"], expected["sampling"]["de_first_train_tags"]
    ((window,),) = encode([words], [tags], tokenizer, 512, 256)
    known = subwords(set(words), tokenizer)
    word_ids = [None, *(number for number, word in enumerate(words) for _ in known[word]), None]
    expected = expected["tokenization"]
    assert window.input_ids.tolist() == expected["de_first_train_ids"]
    assert word_ids == expected["de_first_train_word_ids"]
    assert window.labels.tolist() == expected["de_first_train_label_ids"]
    assert window.first_word == 0


def transformers_labels(word_ids: list[int | None], labels: list[int]) -> list[int]:
    """As the book aligns them: the first subword of a word, by word number."""
    firsts = [word is not None and word != before for before, word in zip([None, *word_ids], word_ids)]
    return [labels[word] if first else IGNORED for word, first in zip(word_ids, firsts)]


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["de", "fr", "it", "en"])
def test_equals_transformers_on_panx(shared, tokenizer, lang):
    sentences = readers.read_file(shared / "panx" / lang / "test", lang)[:1500]
    words = [sentence.tokens for sentence in sentences]
    labels = [[i % 7 for i in range(len(tokens))] for tokens in words]
    theirs = tokenizer(words, is_split_into_words=True)
    windows = encode(words, labels, tokenizer, 512, 256)
    assert len(windows) == len(words) == 1500
    differing = []
    for i, (window,) in enumerate(windows):
        word_ids = theirs.word_ids(i)
        if len(set(word_ids) - {None}) < len(words[i]):  # transformers loses a word
            differing.append(i)
            continue
        assert window.input_ids.tolist() == theirs["input_ids"][i]
        assert window.labels.tolist() == transformers_labels(word_ids, labels[i])
    check_windows([windows[i] for i in differing], [words[i] for i in differing],
                  [labels[i] for i in differing], tokenizer, 512)
    assert len(differing) < 25


@pytest.mark.parametrize("name", ["tokenizer", "bytes_tokenizer"])
def test_words_alone_equal_words_together(request, name):
    """No tokeniser of the family looks across words that come split, whatever they are."""
    tokenizer = request.getfixturevalue(name)

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.text(max_size=12) | st.sampled_from(sorted({*ODD} - {"\ud800"})), min_size=1, max_size=9))
    def check(words):
        known = subwords(set(words), tokenizer)
        together = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
        kept = sorted(set(together.word_ids(0)))
        assert [i for n in kept for i in known[words[n]]] == together["input_ids"]
        assert all(known[word] == [tokenizer.unk_token_id] for n, word in enumerate(words) if n not in kept)

    check()


def test_words_without_subwords_get_unk(tokenizer):
    assert subwords(set(WITHOUT_SUBWORDS), tokenizer) == {word: [tokenizer.unk_token_id] for word in WITHOUT_SUBWORDS}
    ((window,),) = encode([["Bern", "\u200b", "Thun"]], [[5, 3, 5]], tokenizer, 16, 8)
    bern, thun = (subwords({word}, tokenizer)[word] for word in ("Bern", "Thun"))
    assert window.input_ids.tolist() == [0, *bern, 3, *thun, 2]
    rest = IGNORED
    assert window.labels.tolist() == [rest, 5, *[rest] * (len(bern) - 1), 3, 5, *[rest] * (len(thun) - 1), rest]
    assert subwords(set(), tokenizer) == {}


def test_word_longer_than_a_window_keeps_its_first_subwords(tokenizer):
    word = "Donaudampfschifffahrt" * 40
    ids = subwords({word}, tokenizer)[word]
    (windows,) = encode([["in", word, "in"]], [[0, 1, 2]], tokenizer, 32, 8)
    assert len(ids) > 100
    assert [window.input_ids.tolist()[1:-1] for window in windows] == [subwords({"in"}, tokenizer)["in"], ids[:30],
                                                                      subwords({"in"}, tokenizer)["in"]]
    assert owned_words([windows], [range(3)]) == [[0, 1, 2]]


@pytest.mark.parametrize("name", ["tokenizer", "bytes_tokenizer"])
def test_any_words_and_any_window(request, name):
    tokenizer = request.getfixturevalue(name)

    @settings(deadline=None, max_examples=50)
    @given(st.lists(words_of_any_kind, min_size=1, max_size=4), st.integers(16, 60), st.data())
    def check(sentences, max_length, data):
        stride = data.draw(st.integers(0, max_length // 2))
        labels = [[i % 3 for i in range(len(words))] for words in sentences]
        windows = encode(sentences, labels, tokenizer, max_length, stride)
        check_windows(windows, sentences, labels, tokenizer, max_length)

    check()


def test_every_window_length_from_16_up(tokenizer):
    sentences = [["Ein", "Schiff", "fährt", "von", "Thun", "nach", "Interlaken-Ost"] * n for n in (1, 3, 20)]
    sentences.append(ODD[:-1])
    labels = [[1] * len(words) for words in sentences]
    for max_length in (*range(16, 34), 128, 512):
        for stride in (0, max_length // 4, max_length // 2):
            windows = encode(sentences, labels, tokenizer, max_length, stride)
            check_windows(windows, sentences, labels, tokenizer, max_length)


def test_exact_windows():
    assert window_spans([], 4, 2) == [(0, 0, 0, 0)]
    assert window_spans([1] * 4, 4, 2) == [(0, 4, 0, 4)]
    assert window_spans([1] * 6, 4, 2) == [(0, 4, 0, 3), (2, 6, 3, 6)]
    assert window_spans([1] * 6, 4, 0) == [(0, 4, 0, 4), (4, 6, 4, 6)]
    assert window_spans([4, 4, 4], 4, 2) == [(0, 1, 0, 1), (1, 2, 1, 2), (2, 3, 2, 3)]
    assert window_spans([1, 1, 3, 2, 1], 5, 2) == [(0, 3, 0, 3), (3, 5, 3, 5)]


def plain_windows(sizes, room, stride):
    """Filled from their start; the next one takes up to `stride` subwords of the last, if one new word still fits."""
    start, stop = 0, 0
    while True:
        while stop < len(sizes) and sum(sizes[start : stop + 1]) <= room:
            stop += 1
        yield start, stop
        if stop == len(sizes):
            return
        start = stop
        while sum(sizes[start - 1 : stop]) <= stride and sum(sizes[start - 1 : stop + 1]) <= room:
            start -= 1


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_every_word_is_owned_once_by_the_window_that_shows_most_around_it(data):
    room = data.draw(st.integers(14, 40))
    stride = data.draw(st.integers(0, (room + 2) // 2))
    sizes = data.draw(st.lists(st.one_of(st.integers(1, 4), st.integers(1, room)), max_size=120))
    everything = sum(sizes) + 1

    def context(word, start, stop):
        left = sum(sizes[start:word]) if start else everything
        right = sum(sizes[word + 1 : stop]) if stop < len(sizes) else everything
        return min(left, right) if start <= word < stop else -1

    plain = list(plain_windows(sizes, room, stride))
    spans = window_spans(sizes, room, stride)
    owned = [(word, (start, stop)) for start, stop, own, end in spans for word in range(own, end)]
    assert owned == [(word, max(plain, key=lambda span: context(word, *span))) for word in range(len(sizes))]
    assert all(start <= own <= end <= stop and sum(sizes[start:stop]) <= room for start, stop, own, end in spans)


def test_a_sentence_of_a_million_words_is_linear():
    sizes = [1] * 1_000_000
    spans = window_spans(sizes, 510, 256)
    assert best(lambda: window_spans(sizes, 510, 256)) < 30 * best(lambda: window_spans(sizes[:100_000], 510, 256))
    assert [own for *_, own, _ in spans][1:] == [end for *_, end in spans][:-1]
    assert spans[-1][3] == 1_000_000


def test_nothing_is_remembered(tokenizer, bytes_tokenizer):
    sentence = [["the", "mat"]]
    first = encode(sentence, [[0, 0]], tokenizer, 16, 8)[0][0].input_ids.tolist()
    assert encode(sentence, [[0, 0]], bytes_tokenizer, 16, 8)[0][0].input_ids.tolist() != first
    assert encode(sentence, [[0, 0]], tokenizer, 16, 8)[0][0].input_ids.tolist() == first
    changed = copy.deepcopy(bytes_tokenizer)
    changed.add_tokens(["mat"])
    before, after = (encode(sentence, [[0, 0]], one, 16, 8)[0][0].input_ids.tolist()
                     for one in (bytes_tokenizer, changed))
    assert changed.convert_tokens_to_ids("mat") in after and after != before


@pytest.mark.slow
def test_as_fast_as_the_tokeniser_itself(shared, tokenizer):
    words = [sentence.tokens for sentence in readers.read_file(shared / "panx" / "de" / "train", "de")[:12580]]
    labels = [[0] * len(tokens) for tokens in words]
    for _ in range(3):  # a busy machine may spoil one comparison
        started = time.perf_counter()
        windows = encode(words, labels, tokenizer, 512, 256)
        ours = time.perf_counter() - started
        tokenizer(words, is_split_into_words=True)
        theirs = time.perf_counter() - started - ours
        if ours < 1.5 * theirs:
            break
    assert len(windows) == 12580
    assert ours < 1.5 * theirs, f"{ours:.1f} s, transformers' call {theirs:.1f} s"
