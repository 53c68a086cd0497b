"""Data sets in the Hub's layout: every shape is read from a folder laid out like it, or refused with its cause."""

import json
import logging
import os
import random
from pathlib import Path

import pytest
import yaml
from datasets import ClassLabel, Dataset, Features, LargeList, List, Sequence, Value
from huggingface_hub.errors import EntryNotFoundError

from ner.data import corpora
from ner.data.swiss import generate
from ner.options import Options, UserError
from ner.tags import UNANNOTATED
from tests.helpers import doubles
from tests.helpers.corpora import CORPUS, NAMES, TYPED, write_hub, write_parquet
from tests.helpers.loaded import check_is_corpus, complaint, load, pairs
from tests.helpers.mutators import BYTES
from tests.helpers.runs import arguments, make_recipe, run_forked


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nothing that these tests load stays in the user's cache."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf-cache")


def test_one_configuration_a_language(tmp_path):
    other = {split: [(["x", *words], ["O", *tags]) for words, tags in sentences] for split, sentences in CORPUS.items()}
    folder = write_hub(tmp_path / "set", {"de": CORPUS, "fr": other})
    corpus, tags = load(dataset=folder, eval_langs=["de", "fr"])
    assert pairs(corpus["test"]["fr"]) == other["test"]
    check_is_corpus({split: {"de": langs["de"]} for split, langs in corpus.items()}, tags)
    assert complaint(dataset=folder, train_langs=["it"]) == f"{folder}: no language 'it'; there are de, fr"


def test_panx_is_any_such_data_set(tmp_path, monkeypatch):
    folder = write_hub(tmp_path / "xtreme", {"PAN-X.de": CORPUS, "PAN-X.fr": CORPUS, "udpos.German": CORPUS})
    doubles.replace(monkeypatch, "PANX", folder)
    check_is_corpus(*load(dataset="panx"))
    check_is_corpus(*load(dataset="panx", train_langs=["fr"], eval_langs=["fr"]), lang="fr")
    assert complaint(dataset="panx", eval_langs=["xx"]) == f"{folder}: no language 'xx'; there are de, fr"


@pytest.mark.parametrize(("column", "feature"), [("lang", Value("string")), ("langs", List(Value("string")))])
def test_a_column_with_the_language(tmp_path, column, feature):
    for split, sentences in CORPUS.items():
        mixed = [one for pair in sentences for one in ((["x"], ["O"]), pair)]
        langs = ["fr", "de"] * len(sentences)
        if column == "langs":  # one a word
            langs = [[lang] * len(words) for lang, (words, _) in zip(langs, mixed)]
        path = tmp_path / "set" / "data" / f"{split}-00000-of-00001.parquet"
        write_parquet(path, mixed, **{column: (feature, langs)})
    folder = str(tmp_path / "set")
    corpus, tags = load(dataset=folder)
    check_is_corpus(corpus, tags)
    assert pairs(load(dataset=folder, train_langs=["de", "fr"])[0]["train"]["fr"]) == [(["x"], ["O"])] * 2
    assert complaint(dataset=folder, eval_langs=["it"]) == f"{folder}: no language 'it'; there are de, fr"


def test_columns_are_found_by_their_features(tmp_path):
    pos = (List(ClassLabel(names=["A", "B"])), [[0] * len(words) for words, _ in CORPUS["train"]])
    note = (List(Value("string")), [["a"], ["b"]])
    ids = (Value("string"), ["1", "2"])
    read = corpora.read
    write_parquet(tmp_path / "a" / "de" / "train.parquet", CORPUS["train"], words="words", tags="labels", id=ids,
                  lang=(Value("string"), ["de", "de"]))
    assert [pair[:2] for pair in read(Options(dataset=str(tmp_path / "a")), "de", "train").sentences] == CORPUS["train"]
    write_parquet(tmp_path / "b" / "train.parquet", CORPUS["train"], pos_tags=pos, annotator=note,
                  lang=(Value("string"), ["de", "de"]))
    assert [pair[:2] for pair in read(Options(dataset=str(tmp_path / "b")), "de", "train").sentences] == CORPUS["train"]
    write_parquet(tmp_path / "c" / "train.parquet", CORPUS["train"], tags="chunk_tags", pos_tags=pos)
    message = complaint(dataset=str(tmp_path / "c"))
    assert message.startswith(f"{tmp_path / 'c'}: expected one column with lists of words and one with lists of "
                              "tags, found tokens: List")


@pytest.mark.parametrize(("row", "problem"), [
    ((["a", ""], ["O", "O"]), "'' is not a word; expected text without tabs and line breaks"),
    ((["a", None], ["O", "O"]), "'None' is not a word; expected text without tabs and line breaks"),
    ((["a\tb"], ["O"]), "'a\\tb' is not a word; expected text without tabs and line breaks"),
    ((["a"], ["O", "O"]), "1 words but 2 tags; expected one per word"),
    ((["a", "b"], [-1, -1]), "the word 'a' has no tag, nor has any other; expected a row with tags"),
    ((["a"], [None]), "the word 'a' has no tag, nor has any other; expected a row with tags"),
    ((["a"], ["NOUN"]), "'NOUN' is not a tag; expected O, B-TYPE or I-TYPE (IOB2)"),
])
def test_rows_that_are_not_sentences(tmp_path, row, problem):
    folder = write_hub(tmp_path / "set", {"de": {**CORPUS, "train": [TYPED, row]}}, names=[*NAMES, "NOUN"])
    assert complaint(dataset=folder) == f"{folder} de train, row 2: {problem}"


def test_iob1_of_the_hub_becomes_iob2(tmp_path, caplog):
    iob1 = [(["A", "B", "in", "C"], ["I-PER", "I-PER", "O", "I-LOC"]), (["D", "E"], ["I-ORG", "B-ORG"])]
    folder = write_hub(tmp_path / "set", {"de": {**CORPUS, "train": iob1}})
    with caplog.at_level(logging.WARNING):
        corpus, _ = load(dataset=folder)
    assert [tags for _, tags in pairs(corpus["train"]["de"])] == [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG", "B-ORG"]]
    assert caplog.messages == [f"{folder} de train: the tags are IOB1 and were converted to IOB2"]


def test_rows_without_words_are_left_out_with_a_notice(tmp_path, caplog):
    folder = write_hub(tmp_path / "set", {"de": {**CORPUS, "train": [([], []), TYPED, ([], [])]}})
    with caplog.at_level(logging.WARNING):
        corpus, _ = load(dataset=folder)
    assert pairs(corpus["train"]["de"]) == [TYPED] and list(corpus["train"]["de"]["row"]) == [1]
    assert caplog.messages == [f"{folder} de train: left out 2 sentences without words"]


def test_data_sets_that_cannot_be_loaded(tmp_path, monkeypatch):
    folder = write_hub(tmp_path / "set", {"de": {"train": CORPUS["train"]}})
    assert complaint(dataset=folder) == (
        f"data set {folder}, language 'de': no validation split among train; expected one of that name, or "
        "--split_seed N to draw one sentence in 10 of the training split for it")
    (tmp_path / "set" / "de" / "train-00000-of-00001.parquet").write_bytes(b"PAR1 is no more")
    assert complaint(dataset=folder).startswith(f"data set {folder}, language 'de', train: cannot be loaded (")
    assert complaint(dataset=str(tmp_path / "none")).startswith(f"data set {tmp_path / 'none'}, language 'de'")
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "script.py").write_text("raise SystemExit('was run')")
    assert "cannot be loaded" in complaint(dataset=str(tmp_path / "script"))

    def offline(*args, **kwargs):
        raise ConnectionError("no network\nin detail")

    doubles.replace(monkeypatch, "config_names", offline)
    assert complaint(dataset="panx") == (
        "data set google/xtreme, language 'de', train: cannot be loaded (ConnectionError: no network)")


def test_revision_reaches_the_hub(monkeypatch):
    asked = []
    doubles.replace(monkeypatch, "config_names", lambda *args, **named: asked.append(named) or ["de"])
    doubles.replace(monkeypatch, "split_names", lambda *args, **named: asked.append(named) or ["train"])

    def load_dataset(name, config, **named):
        asked.append(named)
        raise OSError("enough")

    doubles.replace(monkeypatch, "load_dataset", load_dataset)
    complaint(dataset="a/b", revision="0123456")
    assert [named["revision"] for named in asked] == ["0123456"] * 3
    assert "trust_remote_code" not in asked[2]


def test_a_changed_parquet_file_is_read_again(tmp_path):
    folder = write_hub(tmp_path / "set", {"de": CORPUS})
    path = tmp_path / "set" / "de" / "train-00000-of-00001.parquet"
    before = path.stat()
    check_is_corpus(*load(dataset=folder))
    changed = [(["Ida", *TYPED[0][1:]], TYPED[1]), *CORPUS["train"][1:]]
    write_parquet(path, changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # not even the time tells
    assert pairs(load(dataset=folder)[0]["train"]["de"]) == changed


def test_a_hub_tag_outside_the_set_names_the_row(tmp_path):
    bad = {**CORPUS, "validation": [(["Thun"], ["B-LOC"]), (["Tag"], ["B-OTH"])]}
    folder = write_hub(tmp_path / "set", {"de": bad}, names=[*NAMES, "B-OTH"])
    assert complaint(dataset=folder) == (
        f"{folder} de validation, row 2: the tag 'B-OTH' of word 1, 'Tag', is not in the tag set {' '.join(NAMES)}")


def test_a_hub_row_is_counted_among_all_languages(tmp_path):
    rows = [(["x"], ["O"]), (["y"], ["O"]), (["z", ""], ["O", "O"])]
    write_parquet(tmp_path / "set" / "train.parquet", rows, lang=(Value("string"), ["fr", "de", "de"]))
    assert complaint(dataset=str(tmp_path / "set")).startswith(f"{tmp_path / 'set'} de train, row 3: '' is not a word")




# ---- one language


STRINGS = List(Value("string"))
IO = {"train": [(["Ada", "in", "Bern"], ["PER", "O", "LOC"]), (["Ja"], ["O"]), (["Ida", "Li"], ["PER", "PER"]),
                (["Es", "ist", "so"], ["O", "O", "O"])],
      "validation": [(["Thun", "ja"], ["LOC", "O"])], "test": [(["In", "Chur"], ["O", "LOC"])]}


def write_set(folder: Path, corpus=CORPUS, feature=STRINGS, card: str = "", words="tokens", tags="ner_tags",
              path="{split}.parquet", words_feature=STRINGS, encode=None, **more) -> str:
    """A data set of files without configurations; encode: tag -> label; more: other columns, as (feature, value)."""
    for split, sentences in corpus.items():
        columns = {words: [pair[0] for pair in sentences],
                   tags: [[encode(tag) if encode else tag for tag in pair[1]] for pair in sentences]}
        columns |= {name: [value] * len(sentences) for name, (_, value) in more.items()}
        features = {words: words_feature, tags: feature} | {name: kind for name, (kind, _) in more.items()}
        file = folder / path.format(split=split)
        file.parent.mkdir(parents=True, exist_ok=True)
        Dataset.from_dict(columns, features=Features(features)).to_parquet(file)
    if card:
        (folder / "README.md").write_text(card, encoding="utf-8")
    return str(folder)


def card(yaml: str, text: str = "") -> str:
    return f"---\n{yaml}---\n# A data set\n{text}"


def notices(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "ner.data.hub"]


def test_a_set_of_one_language_by_its_card(tmp_path, caplog):
    folder = write_set(tmp_path / "set", card=card("language:\n- de\nlicense: mit\n"))
    check_is_corpus(*load(dataset=folder))
    assert notices(caplog) == [f"{folder} de {split}: all of it is taken as 'de', which its card names"
                               for split in CORPUS]
    assert complaint(dataset=folder, eval_langs=["de", "fr"]) == (
        f"{folder}: no language 'fr'; its card says that all of it is de, so expected --train_langs de --eval_langs de")
    assert complaint(dataset=folder, train_langs=["en"], eval_langs=["en"]) == (
        f"{folder}: no language 'en'; its card says that all of it is de, so expected --train_langs de --eval_langs de")


@pytest.mark.slow
def test_a_set_of_one_language_by_the_users_word(tmp_path, caplog):
    folder = write_set(tmp_path / "set")
    check_is_corpus(*load(dataset=folder))
    assert notices(caplog)[0] == f"{folder} de train: all of it is taken as 'de', the one language asked for"
    assert complaint(dataset=folder, eval_langs=["de", "fr"]) == (
        f"{folder}: nothing says which language it is in (no configuration, folder, split, column or card); expected "
        "one language, as in --train_langs de --eval_langs de, or --languages de=default")
    scored, _ = load({"test": ["de"]}, dataset=folder, train_langs=["it"])  # as evaluate.py score asks
    assert pairs(scored["test"]["de"]) == CORPUS["test"]
    caplog.clear()
    check_is_corpus(*load(dataset=folder, languages={"de": "default"}))
    assert not notices(caplog)
    assert complaint(dataset=folder, languages={"de": "German"}) == (
        f"{folder}: no language 'German', nor any other, in a configuration, folder or column")


@pytest.mark.slow
@pytest.mark.parametrize(("yaml", "lang"), [("language: no\n", "no"), ("language: pt\n", "pt-BR"),
                                            ("language: {a: 1}\n", "de"), ("language: 12\n", "de"),
                                            ("languages: [sv]\n", "sv")])
def test_languages_in_a_card(tmp_path, yaml, lang):
    folder = write_set(tmp_path / "set", card=card(yaml))
    check_is_corpus(*load(dataset=folder, train_langs=[lang], eval_langs=[lang]), lang=lang)


def test_a_card_with_several_languages_and_nothing_that_tells_them_apart(tmp_path):
    folder = write_set(tmp_path / "set", card=card("language: [de, fr]\n"))
    assert complaint(dataset=folder) == (
        f"{folder}: its card names de, fr, and nothing says which rows are 'de'; expected a configuration, folder, "
        "split or lang column for it, or --languages de=default to take all rows as that")
    check_is_corpus(*load(dataset=folder, languages={"de": "default"}))


# ---- labels


def test_tags_that_are_text(tmp_path, caplog):
    check_is_corpus(*load(dataset=write_set(tmp_path / "a")))
    io = write_set(tmp_path / "b", IO, tags="ner", words="words")
    corpus, tags = load(dataset=io)
    assert pairs(corpus["train"]["de"])[2] == (["Ida", "Li"], ["B-PER", "I-PER"])
    assert tags.types == ("LOC", "PER") and any("IO" in notice for notice in notices(caplog))


def test_io_class_labels(tmp_path):
    names = ["O", "LOC", "PER"]
    folder = write_set(tmp_path / "set", IO, List(ClassLabel(names=names)), encode=names.index,
                       fine_ner_tags=(List(ClassLabel(names=["O", "a-b"])), []))
    corpus, _ = load(dataset=folder)
    assert pairs(corpus["train"]["de"])[0] == (["Ada", "in", "Bern"], ["B-PER", "O", "B-LOC"])


def test_bioes_class_labels(tmp_path):
    bioes = {split: [(["Ada", "Li", "in", "Bern"], ["B-PER", "E-PER", "O", "S-LOC"])] for split in CORPUS}
    names = ["O", "S-LOC", "B-PER", "E-PER"]
    corpus, _ = load(dataset=write_set(tmp_path / "set", bioes, List(ClassLabel(names=names)), encode=names.index))
    assert pairs(corpus["test"]["de"]) == [(["Ada", "Li", "in", "Bern"], ["B-PER", "I-PER", "O", "B-LOC"])]


NUMBERS = List(Value("int32"))
BACKWARDS = NAMES[::-1]  # as a file may have them: O is not 0


@pytest.mark.slow
@pytest.mark.parametrize(("file", "content"), [
    ("label.json", {name: i for i, name in enumerate(BACKWARDS)}),
    ("dataset/label.json", {name: i for i, name in enumerate(BACKWARDS)}),
    ("labels.json", BACKWARDS), ("label2id", {name: i for i, name in enumerate(BACKWARDS)}),
    ("id2label.json", {str(i): name for i, name in enumerate(BACKWARDS)}),
    ("labels.json", {"labels": BACKWARDS}), ("labels.txt", "\n".join(BACKWARDS)),
    ("tags.txt", "".join(f"{name}\t{i}\n" for i, name in enumerate(BACKWARDS))),
])
def test_numbers_whose_names_are_in_a_file(tmp_path, file, content):
    folder = write_set(tmp_path / "set", feature=NUMBERS, encode=BACKWARDS.index, tags="tags")
    (tmp_path / "set" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "set" / file).write_text(content if isinstance(content, str) else json.dumps(content))
    check_is_corpus(*load(dataset=folder))


def test_numbers_whose_names_are_in_a_file_for_each_language(tmp_path):
    write_set(tmp_path / "set", feature=NUMBERS, encode=BACKWARDS.index, path="de/{split}.parquet")
    folder = write_set(tmp_path / "set", feature=NUMBERS, encode=NAMES.index, path="fr/{split}.parquet")
    for lang, names in (("de", BACKWARDS), ("fr", NAMES)):
        (tmp_path / "set" / lang / "label.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
        check_is_corpus(*load(dataset=folder, train_langs=[lang], eval_langs=[lang]), lang=lang)
    for lang in ("de", "fr"):
        (tmp_path / "set" / lang / "label.json").rename(tmp_path / "set" / ("label.json", "labels.json")[lang == "fr"])
    assert complaint(dataset=folder) == (
        f"{folder}: label.json and labels.json name the labels differently; expected one of them")


def test_numbers_whose_names_are_in_the_cards_features(tmp_path):
    listed = "".join(f"          '{i}': {name}\n" for i, name in enumerate(BACKWARDS))
    features = ("dataset_info:\n- config_name: other\n  features:\n  - name: tokens\n    sequence: string\n"
                "  - name: ner_tags\n    sequence:\n      class_label:\n        names:\n" + listed)
    folder = write_set(tmp_path / "set", feature=NUMBERS, encode=BACKWARDS.index, card=card(features))
    check_is_corpus(*load(dataset=folder))


def test_numbers_whose_names_are_in_the_cards_text(tmp_path):
    text = f"```python\n{{'x': 1}} {{\n    'O': {BACKWARDS.index('O')},\n" + "".join(
        f"    '{name}': {i},\n" for i, name in enumerate(BACKWARDS) if name != "O") + "}\n```\n"
    folder = write_set(tmp_path / "set", feature=NUMBERS, encode=BACKWARDS.index, card=card("language: de\n", text))
    check_is_corpus(*load(dataset=folder))


@pytest.mark.parametrize("content", [None, "{}", '["B-PER", "I-PER"]', '{"O": 0, "B-PER": "one"}', '{"O": {"0": 1}}'])
def test_numbers_without_names(tmp_path, content):
    folder = write_set(tmp_path / "set", feature=NUMBERS, encode=NAMES.index)
    if content:
        (tmp_path / "set" / "label.json").write_text(content)
    assert complaint(dataset=folder) == (
        f"{folder}: the numbers in ner_tags have no names; expected class labels in its card, or a label.json such as "
        """{"O": 0, "B-PER": 1}""")


def test_a_label_file_that_is_not_json_and_a_number_it_does_not_name(tmp_path):
    folder = write_set(tmp_path / "set", feature=NUMBERS, encode=NAMES.index)
    file = tmp_path / "set" / "label.json"
    file.write_text("O 0\n")
    assert complaint(dataset=folder).startswith(f"{folder}, label.json: is not JSON (")
    file.write_text(json.dumps({name: i for i, name in enumerate(NAMES[:5])}))
    assert complaint(dataset=folder) == (
        f"{folder} de train, row 1: the label 5 of the word 'Bern' has no name; expected one of 0 to 4")


@pytest.mark.parametrize(("feature", "withheld"), [(List(ClassLabel(names=NAMES)), -1), (NUMBERS, -100),
                                                   (STRINGS, None), (STRINGS, UNANNOTATED)])
def test_some_withheld_labels_are_words_without_annotation(tmp_path, feature, withheld):
    half = {**CORPUS, "train": [*CORPUS["train"], (["Li", "x"], ["B-PER", None])]}
    folder = write_set(tmp_path / "set", half, feature, encode=lambda tag: (
        withheld if tag is None else tag if feature == STRINGS else NAMES.index(tag)))
    (tmp_path / "set" / "label.json").write_text(json.dumps(NAMES))
    raw = corpora.read(Options(dataset=folder), "de", "train")
    assert raw.sentences[2].tags == ["B-PER", UNANNOTATED]


# ---- columns


def test_large_lists_and_strings(tmp_path):
    folder = write_set(tmp_path / "set", feature=LargeList(ClassLabel(names=NAMES)), encode=NAMES.index,
                       words_feature=LargeList(Value("large_string")))
    check_is_corpus(*load(dataset=folder))
    folder = write_set(tmp_path / "old", feature=Sequence(Value("large_string")),
                       words_feature=Sequence(Value("large_string")))
    check_is_corpus(*load(dataset=folder))


@pytest.mark.slow
def test_the_entities_among_other_layers(tmp_path):
    """As conll2003 (chunks and parts of speech are class labels, too) and MultiCoNER (strings beside their index)."""
    chunks = (List(ClassLabel(names=["O", "B-NP", "I-NP"])), [])
    beside = {"a": {"chunk_tags": chunks, "pos_tags": chunks}, "b": {"ner_tags_index": chunks},
              "c": {"nested_ner_tags": chunks}, "d": {"lemmas": (STRINGS, []), "feats": (STRINGS, [])}}
    for name, more in beside.items():
        check_is_corpus(*load(dataset=write_set(tmp_path / name, **more)))
        check_is_corpus(*load(dataset=write_set(tmp_path / f"{name}{name}", feature=List(ClassLabel(names=NAMES)),
                                                encode=NAMES.index, **more)))
    check_is_corpus(*load(dataset=write_set(tmp_path / "e", words="text_words", tags="iob_labels", chunk_tags=chunks)))


@pytest.mark.slow
def test_two_layers_that_nothing_tells_apart(tmp_path):
    folder = write_set(tmp_path / "set", tags="labels", entity_tags=(STRINGS, []))
    assert complaint(dataset=folder) == (
        f"{folder}: labels and entity_tags may each hold the tags; choose one, as in --tag_column labels")
    check_is_corpus(*load(dataset=folder, tag_column="labels"))
    assert complaint(dataset=folder, tag_column="2").startswith(
        f"{folder}: no column '2'; expected tag_column to be one with lists of words, names or numbers, found tokens: ")
    folder = write_set(tmp_path / "words", words="forms", raw=(STRINGS, ["x"]))
    assert complaint(dataset=folder).startswith(f"{folder}: expected one column with lists of words and one with lists")
    check_is_corpus(*load(dataset=folder, token_column="forms"))


# ---- languages


@pytest.mark.parametrize("feature", [ClassLabel(names=["fr", "de"]), List(ClassLabel(names=["fr", "de"]))])
def test_a_language_that_is_a_class_label(tmp_path, feature):
    value = ["de"] if isinstance(feature, List) else "de"
    folder = write_set(tmp_path / "set", lang=(feature, value))
    check_is_corpus(*load(dataset=folder))
    assert complaint(dataset=folder, train_langs=["fr"]) == f"{folder}: no language 'fr'; there are de"


@pytest.mark.slow
def test_languages_of_other_names(tmp_path):
    """By `languages`: a configuration, or a value in a column."""
    folder = write_hub(tmp_path / "set", {"German (DE)": CORPUS, "French (FR)": CORPUS})
    check_is_corpus(*load(dataset=folder, languages={"de": "German (DE)", "fr": "French (FR)"}))
    assert complaint(dataset=folder) == (
        f"{folder}: no language 'de'; there are 'French (FR)', 'German (DE)'; say which of them it is, as in "
        "--languages de='French (FR)'")
    folder = write_hub(tmp_path / "few", {"supervised": CORPUS, "inter": CORPUS})
    assert complaint(dataset=folder) == (f"{folder}: no language 'de'; there are inter, supervised; say which of them "
                                         "it is, as in --languages de='inter'")
    check_is_corpus(*load(dataset=folder, languages={"de": "supervised"}))
    folder = write_set(tmp_path / "column", language=(Value("string"), "German"))
    check_is_corpus(*load(dataset=folder, languages={"de": "German"}))


OTHER = {split: [(["x", *words], ["O", *tags]) for words, tags in sentences] for split, sentences in CORPUS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("path", ["LANG/{split}.parquet", "data/LANG/{split}-00000-of-00001.parquet",
                                  "{split}_LANG.parquet", "LANG-{split}.parquet", "{split}/{split}_LANG.parquet",
                                  "data/{split}_LANG-00000-of-00001.parquet", "LANG/{split}/0000.parquet"])
def test_languages_in_the_names_of_folders_and_files(tmp_path, path):
    write_set(tmp_path / "set", path=path.replace("LANG", "de"))
    folder = write_set(tmp_path / "set", OTHER, path=path.replace("LANG", "fr"))
    check_is_corpus(*load(dataset=folder))
    corpus, _ = load(dataset=folder, train_langs=["fr"], eval_langs=["fr"])
    assert {split: pairs(langs["fr"]) for split, langs in corpus.items()} == OTHER
    assert complaint(dataset=folder, train_langs=["it"], eval_langs=["it"]) == (
        f"{folder}: no language 'it'; there are de, fr")
    folder = write_set(tmp_path / "one", path=path.replace("LANG", "de"))
    assert complaint(dataset=folder, train_langs=["fr"], eval_langs=["fr"]) == (
        f"{folder}: no language 'fr'; there are de")


def test_a_file_without_a_split_in_its_name(tmp_path):
    """It is all there is of a language, and so the training split; or it is something else."""
    write_set(tmp_path / "set", path="de/{split}.parquet")
    (tmp_path / "set" / "de" / "types.json").write_text("{}")
    (tmp_path / "set" / "de" / "train.csv").write_text("a,b\n")
    folder = write_set(tmp_path / "set", {"rows": MANY["train"]}, path="fr/{split}.parquet")
    check_is_corpus(*load(dataset=folder))
    assert len(corpora.read(Options(dataset=folder), "fr", "train").sentences) == 47


def test_files_of_one_language_in_parts(tmp_path):
    write_set(tmp_path / "set", {split: rows[:1] for split, rows in CORPUS.items()}, path="{split}_1.parquet")
    folder = write_set(tmp_path / "set", {"train": CORPUS["train"][1:], "test": CORPUS["test"][1:]},
                       path="{split}_2.parquet")
    check_is_corpus(*load(dataset=folder))


def test_panx_of_the_branch_with_parquet(tmp_path, monkeypatch):
    write_set(tmp_path / "set", OTHER, path="PAN-X.fr/{split}/0000.parquet")
    folder = write_set(tmp_path / "set", path="PAN-X.de/{split}/0000.parquet")
    doubles.replace(monkeypatch, "PANX", folder)
    check_is_corpus(*load(dataset="panx", revision="refs/convert/parquet"))
    assert complaint(dataset="panx", eval_langs=["it"]) == f"{folder}: no language 'it'; there are de, fr"


def test_folders_of_json_lines(tmp_path):
    for lang, corpus in (("de", CORPUS), ("fr", OTHER)):
        (tmp_path / lang).mkdir()
        for split, sentences in corpus.items():
            (tmp_path / lang / f"{split}.jsonl").write_text("".join(
                json.dumps({"tokens": words, "ner_tags": tags}) + "\n" for words, tags in sentences))
    check_is_corpus(*load(dataset=str(tmp_path)))


# ---- splits


@pytest.mark.slow
@pytest.mark.parametrize("names", [("train_de", "val_de", "test_de"), ("train", "dev", "test"),
                                   ("training", "val", "test"), ("train", "valid", "test"),
                                   ("de_train", "de_dev", "de_test"), ("train", "testa", "testb")])
@pytest.mark.parametrize("other", [False, True])
def test_names_of_splits(tmp_path, names, other):
    corpus = dict(zip(names, CORPUS.values()))
    if other and "de" in names[0]:
        corpus |= {name.replace("de", "fr", 1): OTHER[split] for name, split in zip(names, CORPUS)}
    folder = write_hub(tmp_path / "set", {"default": corpus})
    check_is_corpus(*load(dataset=folder))
    if "de" in names[0]:
        there = "de, fr" if other else "de"
        assert complaint(dataset=folder, train_langs=["it"]) == f"{folder}: no language 'it'; there are {there}"


MANY = {"train": [([f"Wort{i}", "Bern"], ["O", "B-LOC"]) for i in range(47)]}


def rows_by_split(**options) -> dict[str, list[int]]:
    corpus, _ = load(**options)
    return {split: [int(words[0][4:]) for words in langs["de"]["tokens"]] for split, langs in corpus.items()}


@pytest.mark.slow
def test_a_training_split_alone(tmp_path, caplog):
    folder = write_set(tmp_path / "set", MANY)
    found = rows_by_split(dataset=folder, split_seed=3)
    assert [len(found[split]) for split in CORPUS] == [39, 4, 4]
    assert sorted(row for rows in found.values() for row in rows) == list(range(47))
    assert all(rows == sorted(rows) for rows in found.values())
    assert rows_by_split(dataset=folder, split_seed=3) == found != rows_by_split(dataset=folder, split_seed=4)
    assert f"{folder} de test: 4 of the 47 training sentences, drawn with split_seed 3" in notices(caplog)
    assert complaint(dataset=folder) == (
        f"data set {folder}, language 'de': no validation split among train; expected one of that name, or "
        "--split_seed N to draw one sentence in 10 of the training split for it")
    few = write_set(tmp_path / "few", {"train": MANY["train"][:9]})
    assert complaint(dataset=few, split_seed=3) == (
        f"{few}: 9 training sentences of 'de' are too few to set some aside for validation and test; expected 10 or "
        "more")


def test_only_what_is_missing_is_drawn(tmp_path):
    folder = write_set(tmp_path / "a", {**MANY, "test": [(["Wort99"], ["B-LOC"])]})
    found = rows_by_split(dataset=folder, split_seed=3)
    assert found["test"] == [99] and len(found["validation"]) == 4 and len(found["train"]) == 43
    check_is_corpus(*load(dataset=write_set(tmp_path / "b"), split_seed=3))
    folder = write_set(tmp_path / "c", {"test": CORPUS["test"]})
    assert complaint(dataset=folder, split_seed=3) == (
        f"data set {folder}, language 'de': no train split among test; expected one of that name")


def test_the_drawn_splits_are_those_of_each_language(tmp_path):
    folder = write_set(tmp_path / "set", {"train": MANY["train"] * 2}, path="a-{split}.parquet",
                       lang=(Value("string"), "de"))
    assert len(rows_by_split(dataset=folder, split_seed=0)["validation"]) == 9


# ---- on the Hub, with doubles in place of what asks it


def test_a_set_of_the_hub_is_read_as_its_folder_is(tmp_path, monkeypatch):
    """Card, files and label names are asked for at the revision."""
    folder = Path(write_set(tmp_path / "set", feature=NUMBERS, encode=NAMES.index, card=card("language: de\n")))
    (folder / "label.json").write_text(json.dumps(NAMES))
    asked = []

    def here(function):
        return lambda name, *args, revision, **named: asked.append(revision) or function(str(folder), *args, **named)

    def hub_file(name, file, repo_type, revision):
        asked.append(revision)
        if not (folder / file).exists():
            raise EntryNotFoundError("no such file")
        return str(folder / file)

    for name in ("config_names", "split_names", "load_dataset"):
        doubles.replace(monkeypatch, name, here(doubles.original(name)))
    doubles.replace(monkeypatch, "hub_file", hub_file)
    doubles.replace(monkeypatch, "repo_files", lambda name, repo_type, revision: asked.append(revision) or [
        path.name for path in folder.iterdir()])
    check_is_corpus(*load(dataset="anna/letters", revision="v1"))
    assert set(asked) == {"v1"}
    (folder / "README.md").unlink()
    (folder / "label.json").unlink()
    asked.clear()
    assert "have no names" in complaint(dataset="anna/letters", revision="refs/convert/parquet")
    assert set(asked) == {"refs/convert/parquet", None}  # that branch holds rows only; the card is in main


def test_a_script_is_named_with_the_branch_that_has_its_rows(monkeypatch):
    def script(*args, **named):
        raise RuntimeError("Dataset scripts are no longer supported, but found letters.py")

    doubles.replace(monkeypatch, "config_names", script)
    assert complaint(dataset="anna/letters") == (
        "data set anna/letters, language 'de', train: cannot be loaded (RuntimeError: Dataset scripts are no longer "
        "supported, but found letters.py); try --revision refs/convert/parquet, its rows without the script")


# ---- whole runs


IO_NAMES = ["O", "PER", "ORG", "LOC"]
LARGE = LargeList(Value("large_string"))
SHAPES = {
    "one language, IO class labels": {"feature": List(ClassLabel(names=IO_NAMES)),
                                      "encode": lambda tag: IO_NAMES.index(tag[2:] or "O")},
    "text": {"card": card("language: de\n")},
    "large, languages in file names": {"feature": LARGE, "words_feature": LARGE, "path": "{split}_de.parquet"},
    "chunks and a column for the language": {"chunk_tags": (STRINGS, []), "lang": (ClassLabel(names=["de"]), "de")},
    "numbers": {"feature": NUMBERS, "encode": NAMES.index, "tags": "tags"},
    "withheld labels": {"feature": List(ClassLabel(names=NAMES)),
                        "encode": lambda tag: -1 if tag == "I-LOC" else NAMES.index(tag)},
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", [*SHAPES, "a training split alone", "a configuration of another name"])
def test_a_run_on_a_data_set_of_each_shape(tmp_path, shape):
    sentences = generate.sentences("de", "train")
    corpus = {"train": sentences[:37], "validation": sentences[:10], "test": sentences[:12]}
    changes: dict = {"data_dir": None, "train_langs": ["de"], "eval_langs": ["de"], "epochs": 1, "tags": None}
    folder = tmp_path / "set"
    if shape == "a training split alone":
        changes |= {"dataset": write_set(folder, {"train": sentences[:47]}), "split_seed": 1}
    elif shape == "a configuration of another name":
        changes |= {"dataset": write_hub(folder, {"German (DE)": corpus, "x": corpus}),
                    "languages": {"de": "German (DE)"}}
    else:
        changes["dataset"] = write_set(folder, corpus, **SHAPES[shape])
    if shape == "numbers":
        (folder / "label.json").write_text(json.dumps({name: i for i, name in enumerate(NAMES)}))
    argv = arguments(make_recipe(tmp_path / "recipe", **changes), tmp_path / "run")
    status, output = run_forked(argv, tmp_path / "log")
    assert status == 0, output
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    expected = 4 if shape == "a training split alone" else 12
    assert results["eval"]["test"]["de"]["sentences"] == expected
    recorded = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert recorded["split_seed"] == changes.get("split_seed")
    assert recorded["languages"] == changes.get("languages", {})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_broken_folders_are_read_or_refused_in_one_sentence(tmp_path, seed):
    rng = random.Random(seed)
    files = {f"{name}.jsonl": "".join(json.dumps({"tokens": words, "ner_tags": [NAMES.index(tag) for tag in tags]})
                                      + "\n" for words, tags in CORPUS[split])
             for split, name in (("train", "train"), ("validation", "dev"), ("test", "test"))}
    files |= {"label.json": json.dumps({name: i for i, name in enumerate(NAMES)}, indent=1),
              "README.md": card("language:\n- de\nlicense: mit\n")}
    (tmp_path / "set").mkdir()
    for name, text in files.items():
        (tmp_path / "set" / name).write_text(text)
    broken = tmp_path / "set" / rng.choice([*files])
    change = rng.choice(sorted(BYTES.keys() - {"other JSON"} if broken.suffix != ".jsonl" else BYTES))
    try:
        broken.write_bytes(BYTES[change](broken.read_bytes(), rng))
    except (ValueError, UnicodeError):  # no JSON in this line
        pass
    try:
        load(dataset=str(tmp_path / "set"))
    except UserError as error:
        assert "\n" not in str(error) and str(error).isprintable() and len(str(error)) < 1000, (broken, change)
