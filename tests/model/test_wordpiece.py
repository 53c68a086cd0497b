"""WordPiece tokenizers: the ids are those of tokenizer.json, word by word as well, whatever transformers makes of
it."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from ner.data import alignment
from ner.model import pretrained
from ner.options import UserError
from tests.helpers import layouts
from tests.helpers.folders import TAGS, opened, tiny_folder, tokenizer_of

ODD = ["½", "Zu\u0308rich", "ﬁn", "…", "Ｂｅｒｎ", "New\u200bYork", "东京", "rock'n'roll", "\u200b", "##x", "[SEP]"]
SENTENCE = ["Anna", "Kellers", "fährt", "nach", "Genf", ",", "Zürich", "und", "東京", "."]


def ids_of(tokenizer, words):
    """As the data pipeline makes them."""
    ((window,),) = alignment.encode([words], [[0] * len(words)], tokenizer, 4096, 0)
    return window.input_ids.tolist()


def test_words_alone_have_the_ids_of_words_together(tmp_path):
    tokenizer = opened(tiny_folder(tmp_path / "model", "bert"))[2]
    words = [*SENTENCE, *ODD]
    together = tokenizer(words, is_split_into_words=True)
    nothing = set(range(len(words))) - set(together.word_ids())  # their subword here is [UNK]
    assert {words[i] for i in nothing} == {"\u200b"}
    kept = [word for i, word in enumerate(words) if i not in nothing]
    assert ids_of(tokenizer, kept) == together.input_ids
    assert tokenizer.convert_ids_to_tokens(ids_of(tokenizer, ["Kellers", "Bern"])) == [
        "[CLS]", "Keller", "##s", "Bern", "[SEP]"]


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": True}, None])
@pytest.mark.parametrize("lower", [True, False])
def test_tokenizer_json_says_what_is_lower_cased(tmp_path, lower, settings):
    """transformers believes tokenizer_config.json, and lower-cases where that says nothing."""
    folder = tiny_folder(tmp_path / "model", "bert")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["normalizer"]["lowercase"] = lower
    path.write_text(json.dumps(content))
    (folder / "tokenizer_config.json").unlink()
    if settings is not None:
        layouts.write_json(folder / "tokenizer_config.json", settings)
    ours, config, tokenizer = opened(folder)
    expected = Tokenizer.from_file(str(path)).encode("Anna Kellers").ids
    assert ids_of(tokenizer, ["Anna", "Kellers"]) == expected
    pretrained.save_model(tmp_path / "saved", dict(ours.named_parameters()), config, tokenizer, TAGS, "card")
    for reloaded in (opened(tmp_path / "saved")[2], AutoTokenizer.from_pretrained(tmp_path / "saved")):
        assert reloaded("Anna Kellers").input_ids == expected


def changed(folder: Path, change) -> Path:
    """The folder with its tokenizer.json changed."""
    content = json.loads((folder / "tokenizer.json").read_text())
    change(content)
    layouts.write_json(folder / "tokenizer.json", content)
    return folder


def test_an_older_file_that_does_not_name_its_kind(tmp_path):
    folder = changed(tiny_folder(tmp_path / "model", "bert"), lambda content: content["model"].pop("type"))
    (folder / "tokenizer_config.json").unlink()
    assert ids_of(opened(folder)[2], SENTENCE) == ids_of(tokenizer_of("bert"), SENTENCE)


def test_a_tokenizer_that_transformers_would_replace_is_read_as_it_is(tmp_path):
    """Its BertTokenizer always splits as BERT does, whatever tokenizer.json says."""
    def split_at_spaces(content):
        content["pre_tokenizer"] = {"type": "WhitespaceSplit"}

    folder = changed(tiny_folder(tmp_path / "model", "bert"), split_at_spaces)
    ours, config, tokenizer = opened(folder)
    assert AutoTokenizer.from_pretrained(folder)("in.e").tokens() == ["[CLS]", "in", ".", "e", "[SEP]"]
    expected = ["[CLS]", "in", "##.", "##e", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(ids_of(tokenizer, ["in.e"])) == expected
    pretrained.save_model(tmp_path / "saved", dict(ours.named_parameters()), config, tokenizer, TAGS, "card")
    for reloaded in (opened(tmp_path / "saved")[2], AutoTokenizer.from_pretrained(tmp_path / "saved")):
        assert reloaded("in.e").tokens() == expected


@pytest.mark.parametrize("settings", [None, {"model_max_length": 512}, {"do_lower_case": "no"}])
def test_a_vocabulary_that_does_not_say_whether_it_is_cased_is_refused(tmp_path, settings):
    folder = layouts.of_gbert(tmp_path / "model")
    (folder / "tokenizer_config.json").unlink()
    if settings is not None:
        layouts.write_json(folder / "tokenizer_config.json", settings)
    with pytest.raises(UserError, match=r"tokenizer_config.json: do_lower_case is (None|'no'); expected true or false"):
        opened(folder)
