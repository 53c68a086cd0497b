"""Words out are words in, in order, whatever they are: from every reader through windows and model to the files.

The model knows by a word's first subword what it is, so that an answer in another word's place shows.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ner.data import corpora, encoded
from ner.data.alignment import IGNORED
from ner.data.collate import padding_of
from ner.data.text import split_words
from ner.evaluation import per_language, predictions
from ner.inference.trained import load
from ner.options import Options
from tests.helpers.corpora import write_hub
from tests.helpers.folders import LEXICON, TAGS, lexicon_folder
from tests.helpers.known import tag

NOTHING = ["\u200b", "\ufeff", "\u0007", "\u00a0", "\u00ad", "\u2060", "\u3000", "\x1c", "\u0085"]  # or next to it
COMBINING = ["Zu\u0308rich", "\u0301", "a" + "\u0300" * 40, "\u0e01\u0e33", "\u1100\u1161\u11a8"]
BIDIRECTIONAL = ["\u200fשלום\u200e", "\u202eabc\u202c", "\u2067مرحبا\u2069", "\u061c", "\u202b"]
EMOJI = ["👩‍👩‍👧‍👦", "🇨🇭", "👍🏽", "\u2764\ufe0f", "1\ufe0f\u20e3", "🏴\U000e0067\U000e0062\U000e007f"]
LONG = ["Wört" * 2500, "\u0301" * 10_000, "👩‍" * 5_000, "\u200b" * 10_000]
MARKUP = ["</s>", "<pad>", "a<mask>b", "<unk>", "▁", "{", "#", "1", "de:", "-DOCSTART-x", "a\u2028b", "\r", "a\rb",
          "x y", "\U0010ffff", "½", "ﬁn", "Ｂｅｒｎ"]
KNOWN = sorted({*LEXICON, "wohnt"})
words = st.one_of(st.sampled_from(KNOWN), st.sampled_from([*NOTHING, *COMBINING, *BIDIRECTIONAL, *EMOJI, *MARKUP]),
                  st.sampled_from(LONG), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\0"),
                                                 min_size=1, max_size=20))
sentences = st.lists(st.lists(words, min_size=1, max_size=30), min_size=1, max_size=3)
LAYOUTS = {  # file name -> one sentence as text; a first word that is none of the odd ones keeps formats apart
    "test": lambda words: "".join(f"de:{word}\tO\n" for word in words) + "\n",
    "test.tsv": lambda words: "".join(f"{word}\tO\n" for word in words) + "\n",
    "test.conll": lambda words: "".join(f"{word}\tX\tO\r\n" for word in words) + "\r\n",
    "test.iob2": lambda words: "# id\n" + "".join(f"{i}\t{word}\tO\t-\n" for i, word in enumerate(words, 1)) + "\n",
    "test.jsonl": lambda words: json.dumps({"tokens": words, "tags": ["O"] * len(words)}) + "\n",
}
ODD = [*NOTHING, *COMBINING, *BIDIRECTIONAL, *EMOJI, *LONG, *MARKUP]
often = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = lexicon_folder(tmp_path_factory.mktemp("known") / "model", max_position_embeddings=514)
    return load(str(folder), Accelerator(cpu=True))


def written(folder: Path, name: str, rows: list[list[str]]) -> str:
    (folder / "de").mkdir(exist_ok=True)
    for path in (folder / "de").iterdir():
        path.unlink()
    (folder / "de" / name).write_bytes("".join(map(LAYOUTS[name], rows)).encode())
    return str(folder)


def check(trained, options: Options, expected: list[list[str]], folder: Path) -> None:
    """Read, cut, tagged and written: the words of the input, each with its own answer."""
    corpus, _ = corpora.load(options, {"test": ["de"]})
    data = encoded.encode(corpus["test"]["de"], trained.tokenizer, options.max_length, options.stride)
    assert data.tokens == expected
    assert all(len(window.input_ids) <= options.max_length for windows in data.windows for window in windows)
    owned = [[window.first_word + i for window in windows for i in range(int((window.labels != IGNORED).sum()))]
             for windows in data.windows]
    assert owned == [list(range(len(one))) for one in expected]
    scored = per_language.evaluate(trained.model, {"de": data}, trained.tags, padding_of(trained.tokenizer),
                                   Accelerator(cpu=True), decode="argmax")
    path = folder / "predictions" / "test.de.tsv"
    predictions.write_predictions(path, predictions.sentences(data, scored["de"].predictions, trained.tags))
    found = predictions.read_predictions(path)
    assert [one.words for one in found] == expected
    for word, predicted in (pair for one in found for pair in zip(one.words, one.predicted, strict=True)):
        assert word not in KNOWN or predicted == LEXICON.get(word, "O"), word


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("max_length", [16, 17, 18, 31, 128, 512])
def test_all_odd_words_of_every_reader(trained, tmp_path, name, max_length):
    rows = [["Anna", *ODD, "Bern"], [word for odd in ODD for word in ("Genf", odd)]]
    options = Options(data_dir=written(tmp_path, name, rows), max_length=max_length, tags=list(TAGS))
    check(trained, options, rows, tmp_path)


def test_all_odd_words_of_a_data_set_of_the_hubs_layout(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [["Anna", *ODD, "Bern"], [word for odd in ODD for word in ("Genf", odd)]]
    folder = write_hub(tmp_path / "set", {"de": {"test": [(row, ["O"] * len(row)) for row in rows]}})
    for max_length in (16, 17, 512):
        check(trained, Options(dataset=folder, max_length=max_length, tags=list(TAGS)), rows, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_any_words_of_every_reader(trained, tmp_path, name):
    @often
    @given(sentences, st.integers(16, 40) | st.just(512), st.data())
    def any_words(rows, max_length, data):
        rows = [["Anna", *row] for row in rows]
        stride = data.draw(st.none() | st.integers(0, max_length // 2))
        options = Options(data_dir=written(tmp_path, name, rows), max_length=max_length, stride=stride, tags=list(TAGS))
        check(trained, options, rows, tmp_path)

    any_words()


@pytest.mark.slow
@often
@given(st.lists(words, max_size=40).map(" ".join), st.integers(16, 40) | st.just(512))
@example(" ".join(ODD), 16)
@example(" ".join(ODD), 512)
def test_any_raw_text(trained, text, max_length):
    short = trained._replace(options=Options(max_length=max_length, decode="argmax"))
    tagged, following = tag(short, text, "Bern")
    assert tagged.words == split_words(text) and len(tagged.tags) == len(tagged.confidence) == len(tagged.words)
    assert "".join(word.text for word in tagged.words) == "".join(text.split())
    assert all(found == LEXICON[word.text] for word, found in zip(tagged.words, tagged.tags) if word.text in LEXICON)
    assert following.tags == ["B-LOC"]
    assert np.isfinite(tagged.confidence).all()
