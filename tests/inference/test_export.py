"""A model with fewer subwords: the same ids by another number, the same logits; what it writes and refuses."""

import json
import random
from collections import Counter

import numpy as np
import pytest
import torch
import yaml
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from ner.data import alignment
from ner.evaluation.per_language import Scored
from ner.evaluation.predict import Predictions
from ner.inference import export, trim
from ner.inference.trained import load, options_of
from ner.options import Options, as_recipe
from tests.helpers.commands import call, refused
from tests.helpers.folders import WORDS, opened, tiny_folder
from tests.helpers.known import make_run, write_data

FAMILIES = ("xlm-roberta", "camembert", "bert")
TEXT = [["Anna", "wohnt", "in", "Genf", "."], ["fährt", "nach", "Bern", "xyz"], ["Bern"]]


@pytest.fixture(scope="module", params=FAMILIES)
def both(request, tmp_path_factory):
    """A model and what is exported of it for TEXT."""
    folder = tmp_path_factory.mktemp("models")
    trained = load(str(tiny_folder(folder / "full", request.param)), Accelerator(cpu=True))
    report = export.export(trained, folder / "small", TEXT, {}, "float32", Accelerator(cpu=True))
    return trained, folder / "small", report


# ---- the vocabulary


def test_script():
    assert [trim.script(c) for c in "éжΩ字한ア"] == ["LATIN", "CYRILLIC", "GREEK", "CJK", "HANGUL", "KATAKANA"]
    assert {trim.script(c) for c in "7٣.,▁☃\u0301ー\ue000"} == {None}
    assert trim.script("\u093e") == "DEVANAGARI", "a vowel sign belongs to its script"


def test_a_script_is_common_from_one_letter_in_a_hundred():
    assert trim.common_scripts({"a" * 99: 1, "ж": 1}) == {None, "LATIN", "CYRILLIC"}
    assert trim.common_scripts({"a" * 50: 2, "ж": 1, "123456": 9}) == {None, "LATIN"}


def test_every_tenth():
    nine, tenth = trim.every_tenth([[f"w{number}", "x"] for number in range(1, 22)])
    assert tenth == Counter({"x": 2, "w10": 1, "w20": 1})
    assert nine["x"] == 19 and nine.total() + tenth.total() == 42


def test_other_tags_are_counted_over_all_languages():
    none = np.zeros(0)
    before, after = ({lang: Scored({}, Predictions(np.array(labels), none, none, none), none)
                      for lang, labels in found.items()} for found in ({"de": [0, 1, 2], "fr": [0, 0]},
                                                                       {"de": [0, 2, 1], "fr": [0, 1]}))
    assert export.other_tags(before, before) == 0 and export.other_tags(after, before) == 3


def test_words_that_are_split_otherwise_count_as_often_as_they_occur():
    subwords = {"a": [4], "b": [5, 6], "c": [6]}
    assert trim.otherwise(subwords, np.array([4, 6]), {"a": 5, "b": 2, "c": 1}) == 2 / 8
    assert trim.otherwise({}, np.array([4]), {}) is None


def unigram(scores: dict[str, float]) -> dict:
    return {"model": {"type": "Unigram", "unk_id": 0, "byte_fallback": False,
                      "vocab": [["<unk>", 0.0], ["<pad>", 0.0], *map(list, scores.items())]},
            "added_tokens": [{"id": 1, "content": "<pad>", "special": True, "single_word": False, "lstrip": False,
                              "rstrip": False, "normalized": False}],
            "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None, "version": "1.0",
            "truncation": None, "padding": None}


def test_the_subword_with_the_lowest_score_stays():
    """The score of an unknown character is the lowest one minus ten, which decides how words with it are split."""
    content = unigram({"a": -3.0, "ж": -99.0, "aa": -4.0, "Ω": -7.0})
    rows = trim.kept_ids(content, [[4]], {"aa": 1}, 1)
    assert rows.tolist() == [0, 1, 2, 3, 4]
    assert trim.trimmed(content, rows)["model"]["vocab"] == [["<unk>", 0.0], ["<pad>", 0.0], ["a", -3.0], ["ж", -99.0],
                                                            ["aa", -4.0]]
    assert content == unigram({"a": -3.0, "ж": -99.0, "aa": -4.0, "Ω": -7.0}), "the full one is only read"


@pytest.mark.parametrize("seed", range(20))
def test_any_words_are_split_as_before(seed):
    """By brute force: random Unigram vocabularies over three letters, some of them unknown, and random words."""
    generator = random.Random(seed)

    def word(most):
        return "".join(generator.choices("abж", k=generator.randint(1, most)))

    vocabulary = {word(4): round(generator.uniform(-20, -1), 3) for _ in range(12)}
    vocabulary.pop("ж", None)
    content = unigram(vocabulary)
    full = Tokenizer.from_str(json.dumps(content))
    words = {word(7): generator.randint(1, 3) for _ in range(12)}
    chosen = {one: full.encode(one).ids for one in words}
    rows = trim.kept_ids(content, list(chosen.values()), words, 1)
    small = Tokenizer.from_str(json.dumps(trim.trimmed(content, rows)))
    assert {one: rows[small.encode(one).ids].tolist() for one in words} == chosen
    others = {word(7): 1 for _ in range(50)}
    lost = sum(rows[small.encode(one).ids].tolist() != full.encode(one).ids for one in others)
    subwords = {one: full.encode(one).ids for one in others}
    assert trim.otherwise(subwords, rows, others) == pytest.approx(lost / len(others))


# ---- the model


def test_ids_are_renumbered_and_logits_are_equal(both):
    trained, folder, report = both
    trained.model.eval()
    small, config, tokenizer = opened(folder)
    assert config.vocab_size == len(tokenizer) == report["subwords"][1] < report["subwords"][0]
    words = {word for sentence in TEXT for word in sentence}
    before, after = (alignment.subwords(words, one) for one in (trained.tokenizer, tokenizer))
    names = [one.convert_ids_to_tokens for one in (trained.tokenizer, tokenizer)]
    assert {word: names[0](ids) for word, ids in before.items()} == {word: names[1](ids) for word, ids in after.items()}
    assert tokenizer.pad_token_id == trained.tokenizer.pad_token_id and config.pad_token_id == (
        trained.model.config.pad_token_id)
    for sentence in TEXT:
        one, other = (torch.tensor(t(sentence, is_split_into_words=True).input_ids)[None]
                      for t in (trained.tokenizer, tokenizer))
        assert one.shape == other.shape
        with torch.inference_mode():
            assert torch.equal(trained.model(one, torch.ones_like(one)), small(other, torch.ones_like(other)))


def test_transformers_reads_the_folder(both):
    trained, folder, _ = both
    theirs, tokenizer = AutoModelForTokenClassification.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(
        folder)
    ours = opened(folder)[2]
    ids = tokenizer("Anna fährt nach Genf").input_ids
    assert ids == ours("Anna fährt nach Genf").input_ids and max(ids) < theirs.config.vocab_size
    trained.model.eval()
    full = torch.tensor([trained.tokenizer("Anna fährt nach Genf").input_ids])
    with torch.inference_mode():
        expected = trained.model(full, torch.ones_like(full))
        torch.testing.assert_close(theirs(torch.tensor([ids])).logits[0], expected, atol=1e-5, rtol=1e-5)
    found = pipeline("token-classification", model=str(folder))("Anna fährt nach Genf")
    assert {one["word"].strip("▁") for one in found} <= {"Anna", "fährt", "nach", "Genf"}


def test_characters_of_the_scripts_remain(both):
    trained, folder, report = both
    tokenizer = opened(folder)[2]
    word = "Wqj"  # of letters that no word of the text has
    assert tokenizer.unk_token_id not in tokenizer(word).input_ids or (
        trained.tokenizer.unk_token_id in trained.tokenizer(word).input_ids)
    assert report["words"] == 10 and report["split_otherwise"] is None, "fewer than ten texts"
    assert "is not estimated: that takes at least ten texts" in (folder / "README.md").read_text()


def test_a_word_that_nothing_like_the_text_has_is_split_into_characters(tmp_path):
    trained = load(str(tiny_folder(tmp_path / "full")), Accelerator(cpu=True))
    texts = [["Bern"]] * 9 + [["Anna", "Bern"]]
    report = export.export(trained, tmp_path / "small", texts, {}, "float32", Accelerator(cpu=True))
    assert report["split_otherwise"] == 0.5, "half of the words of every tenth text"
    tokenizer = opened(tmp_path / "small")[2]
    assert tokenizer.tokenize("Keller Anna") == [*"▁Keller", "▁Anna"] and "▁Keller" in trained.tokenizer.get_vocab()


# ---- the command


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    for lang in ("de", "fr"):
        for split in ("train", "validation", "test"):
            write_data(folder / "data", lang, split)
    return make_run(folder / "run", folder / "data", decode="argmax", max_length=24)


def test_a_run_in_float16(run, tmp_path, capsys):
    out = tmp_path / "out"
    (run / "model" / "README.md").write_text("# Mine\n")
    status, shown, _ = call(capsys, "export", run, "--output", out, "--dtype", "float16")
    assert status == 0 and "subwords" in shown and str(out) in shown
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "config.json", "export.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    report = json.loads((out / "export.json").read_text())
    assert report["f1"] == {"de": [pytest.approx(2 / 3)] * 2, "fr": [pytest.approx(2 / 3)] * 2}
    assert report["words"] == 14 * (1 + 2 + 2), "train of de, validation and test of both"
    assert report["options"] == {"max_length": 24, "stride": None, "decode": "argmax"} and str(run) not in str(report)
    assert (out / "README.md").read_text().startswith("# Mine\n\n## Vocabulary\n")
    with safe_open(out / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}
    assert AutoModelForTokenClassification.from_pretrained(out).dtype == torch.float32
    assert options_of(str(out)) == Options(model=str(out), max_length=24, decode="argmax")
    answers = [call(capsys, "tag", model, "der Keller bei der Post", "Anna Keller", "--jsonl")[1]
               for model in (run, out)]
    spans = [[[(e["start"], e["end"], e["type"]) for e in json.loads(line)["entities"]] for line in one.splitlines()]
             for one in answers]
    assert spans[0] == spans[1] == [[(19, 23, "ORG")], [(0, 11, "PER")]], "no I-PER alone, as both tag legally"


def test_text_from_files(run, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("Anna wohnt in Bern.\n\n")
    (tmp_path / "b.jsonl").write_text('{"text": "Genf"}\n{"text": 7}\n{\n')
    argv = ("export", run, "--text", tmp_path / "*.txt", tmp_path / "b.jsonl", "--langs", "fr", "--output")
    assert call(capsys, *argv, tmp_path / "out")[0] == 0
    report = json.loads((tmp_path / "out" / "export.json").read_text())
    assert report["words"] == 6 and list(report["f1"]) == ["fr"]
    vocabulary = AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()
    assert {"▁Anna", "▁wohnt", "▁in", "▁Bern", "▁Genf"} <= set(vocabulary)
    assert not {f"▁{word}" for word in WORDS} - {"▁Anna", "▁wohnt", "▁in", "▁Bern", "▁Genf", "▁."} & set(vocabulary)


def test_languages_bring_all_their_splits(run, tmp_path, capsys):
    assert call(capsys, "export", run, "--langs", "fr", "--output", tmp_path / "out")[0] == 0
    assert json.loads((tmp_path / "out" / "export.json").read_text())["words"] == 14 * 3


def test_a_model_from_elsewhere(run, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("Anna wohnt in Bern.\n")
    argv = ("export", run / "model", "--output", tmp_path / "out")
    assert "is not a run that knows its data; expected --text, --data_dir or --dataset" in refused(capsys, *argv)
    assert call(capsys, *argv, "--text", tmp_path / "a.txt")[0] == 0
    assert json.loads((tmp_path / "out" / "export.json").read_text())["f1"] == {}
    assert call(capsys, "tag", tmp_path / "out", "Anna in Bern")[1] == "Anna\tB-PER\nin\tO\nBern\tB-LOC\n"


def test_an_export_can_be_exported(run, tmp_path, capsys):
    assert call(capsys, "export", run, "--output", tmp_path / "a")[0] == 0
    (tmp_path / "a.txt").write_text("Anna\n")
    assert call(capsys, "export", tmp_path / "a", "--text", tmp_path / "a.txt", "--output", tmp_path / "b")[0] == 0
    assert call(capsys, "tag", tmp_path / "b", "Anna Bern")[1] == "Anna\tB-PER\nBern\tO\n"
    assert options_of(str(tmp_path / "b")).max_length == 24


def test_what_is_refused(run, tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "there").mkdir()
    argv = ("export", run, "--output")
    assert "there: already exists" in refused(capsys, *argv, tmp_path / "there")
    assert "--text: no file matches" in refused(capsys, *argv, out, "--text", tmp_path / "none.txt")
    assert "--text: holds no word" in refused(capsys, *argv, out, "--text", tmp_path / "empty.txt")
    assert "control character" in refused(capsys, *argv, out, "--text", "a\nb")
    bpe = tiny_folder(tmp_path / "bpe", "roberta")
    assert "its tokenizer is BPE; expected Unigram or WordPiece" in refused(
        capsys, "export", bpe, "--output", out, "--text", tmp_path / "empty.txt")
    large = make_run(tmp_path / "large", run.parent / "data")
    path = large / "model" / "model.safetensors"
    state = load_file(path)
    state["classifier.bias"].fill_(70000)
    save_file(state, path, {"format": "pt"})
    assert "classifier.bias has values that float16 cannot hold; use --dtype float32" in refused(
        capsys, "export", large, "--output", out, "--dtype", "float16")
    (large / "config.yaml").write_text(yaml.safe_dump(as_recipe(Options(data_dir=str(tmp_path / "gone")))))
    assert "gone" in refused(capsys, "export", large, "--output", out)
    assert not out.exists() and not list(tmp_path.glob(".out*"))
