"""One data set whatever the source: files of every format, folders laid out as on the Hub, the built-in corpus."""

import logging
import os

import pytest
from datasets import ClassLabel, Dataset, List, Value

from ner.data import alignment, corpora
from ner.data.sentences import Raw, Sentence
from ner.data.swiss import generate
from ner.options import Options, UserError
from ner.tags import TagSet
from tests.helpers import doubles
from tests.helpers.corpora import CORPUS, LAYOUTS, NAMES, TYPED, write_files, write_hub, write_parquet


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nothing that these tests load stays in the user's cache."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf-cache")


def pairs(rows: Dataset) -> list[tuple[list[str], list[str]]]:
    names = rows.features["ner_tags"].feature.names
    return [(words, [names[i] for i in ids]) for words, ids in zip(rows["tokens"], rows["ner_tags"])]


def load(wanted=None, **options):
    return corpora.load(Options(**{"train_langs": ["de"], "eval_langs": ["de"], **options}), wanted)


def complaint(**options) -> str:
    with pytest.raises(UserError) as error:
        load(**options)
    assert "\n" not in str(error.value)
    return str(error.value)


def check_is_corpus(corpus, tags, lang="de"):
    assert {split: pairs(langs[lang]) for split, langs in corpus.items()} == CORPUS
    assert tags.names == tuple(NAMES)
    for rows in (langs[lang] for langs in corpus.values()):
        assert rows.column_names == ["tokens", "ner_tags", "lang", "row"]
        assert rows.features["ner_tags"] == List(ClassLabel(names=NAMES))
        assert set(rows["lang"]) == {lang} and list(rows["row"]) == list(range(len(rows)))


@pytest.mark.parametrize("ending", LAYOUTS)
def test_files_of_every_format(tmp_path, ending):
    check_is_corpus(*load(data_dir=str(write_files(tmp_path, ending=ending))))
    check_is_corpus(*load(data_dir=str(tmp_path), dataset="overridden"))


def test_validation_may_be_called_so(tmp_path):
    check_is_corpus(*load(data_dir=str(write_files(tmp_path, names=("train", "validation", "test")))))


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
    write_parquet(tmp_path / "c" / "train.parquet", CORPUS["train"], tags="labels", pos_tags=pos)
    message = complaint(dataset=str(tmp_path / "c"))
    assert message.startswith(f"{tmp_path / 'c'}: expected one column with lists of words and one with lists of "
                              "ClassLabel tags, found tokens: List")


def test_one_configuration_without_languages(tmp_path):
    write_parquet(tmp_path / "set" / "train.parquet", CORPUS["train"])
    assert complaint(dataset=str(tmp_path / "set")) == (
        f"{tmp_path / 'set'}: no language 'de'; expected one configuration a language or a lang column")


@pytest.mark.parametrize(("row", "problem"), [
    ((["a", ""], ["O", "O"]), "'' is not a word; expected text without tabs and line breaks"),
    ((["a", None], ["O", "O"]), "'None' is not a word; expected text without tabs and line breaks"),
    ((["a\tb"], ["O"]), "'a\\tb' is not a word; expected text without tabs and line breaks"),
    ((["a"], ["O", "O"]), "1 words but 2 tags; expected one a word"),
    ((["a", "b"], ["O", -1]), "the word 'b' has no tag"),
    ((["a"], [None]), "the word 'a' has no tag"),
    ((["a"], ["NOUN"]), "'NOUN' is not a tag; expected O, B-TYPE or I-TYPE (IOB2)"),
])
def test_rows_that_are_no_sentences(tmp_path, row, problem):
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


def test_data_sets_that_are_not_to_be_had(tmp_path, monkeypatch):
    folder = write_hub(tmp_path / "set", {"de": {"train": CORPUS["train"]}})
    message = complaint(dataset=folder)
    assert message.startswith(f"data set {folder}, language 'de', validation: not to be had (ValueError: Unknown split")
    (tmp_path / "set" / "de" / "train-00000-of-00001.parquet").write_bytes(b"PAR1 is no more")
    assert complaint(dataset=folder).startswith(f"data set {folder}, language 'de', train: not to be had (")
    assert complaint(dataset=str(tmp_path / "none")).startswith(f"data set {tmp_path / 'none'}, language 'de'")
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "script.py").write_text("raise SystemExit('was run')")
    assert "not to be had" in complaint(dataset=str(tmp_path / "script"))

    def offline(*args, **kwargs):
        raise ConnectionError("no network\nin detail")

    doubles.replace(monkeypatch, "config_names", offline)
    assert complaint(dataset="panx") == (
        "data set google/xtreme, language 'de', train: not to be had (ConnectionError: no network)")


def test_revision_reaches_the_hub(monkeypatch):
    asked = []
    doubles.replace(monkeypatch, "config_names", lambda *args, **named: asked.append(named) or ["de"])

    def load_dataset(name, config, **named):
        asked.append(named)
        raise OSError("enough")

    doubles.replace(monkeypatch, "load_dataset", load_dataset)
    complaint(dataset="a/b", revision="0123456")
    assert [named["revision"] for named in asked] == ["0123456", "0123456"]
    assert "trust_remote_code" not in asked[1]


def test_a_changed_parquet_file_is_read_anew(tmp_path):
    folder = write_hub(tmp_path / "set", {"de": CORPUS})
    path = tmp_path / "set" / "de" / "train-00000-of-00001.parquet"
    before = path.stat()
    check_is_corpus(*load(dataset=folder))
    changed = [(["Ida", *TYPED[0][1:]], TYPED[1]), *CORPUS["train"][1:]]
    write_parquet(path, changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # not even the time tells
    assert pairs(load(dataset=folder)[0]["train"]["de"]) == changed


def test_a_changed_text_file_is_read_anew(tmp_path):
    write_files(tmp_path)
    path = tmp_path / "de" / "train"
    before = path.stat()
    check_is_corpus(*load(data_dir=str(tmp_path)))
    path.write_text(path.read_text().replace("Ada", "Ida"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load(data_dir=str(tmp_path))[0]["train"]["de"][0]["tokens"][0] == "Ida"


@pytest.mark.parametrize(("ending", "line"), [("", 4), (".conll", 4), (".iob2", 6), (".jsonl", 2)])
def test_a_tag_outside_the_set_names_file_and_line(tmp_path, ending, line):
    bad = {**CORPUS, "test": [(["Li", "!"], ["B-PER", "O"]), (["Das", "Matterhorn"], ["O", "B-OTH"])]}
    write_files(tmp_path, bad, ending)
    path = tmp_path / "de" / f"test{ending}"
    assert complaint(data_dir=str(tmp_path)) == (
        f"{path}:{line}: the tag 'B-OTH' of word 2, 'Matterhorn', is not in the tag set {' '.join(NAMES)}")
    corpus, tags = load(data_dir=str(tmp_path), tags=[*NAMES, "B-OTH", "I-OTH"])
    assert tags.names[7:] == ("B-OTH", "I-OTH") and pairs(corpus["test"]["de"]) == bad["test"]


def test_the_tag_set_is_that_of_the_training_data(tmp_path):
    more = {**CORPUS, "train": [*CORPUS["train"], (["Das", "Matterhorn"], ["O", "B-OTH"])]}
    assert load(data_dir=str(write_files(tmp_path / "a", more)))[1].types == ("LOC", "ORG", "OTH", "PER")
    narrow = {**CORPUS, "train": [(["Bern"], ["B-LOC"])], "test": [(["Ems"], ["B-LOC"])]}
    corpus, tags = load(data_dir=str(write_files(tmp_path / "b", narrow)))
    assert tags.names == ("O", "B-LOC", "I-LOC") and pairs(corpus["test"]["de"]) == narrow["test"]
    assert load({"test": ["de"]}, data_dir=str(tmp_path / "a"))[1].names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert complaint(data_dir=str(tmp_path / "a"), tags=["B-LOC"]).startswith("tags: no O among the tags")


def test_a_hub_tag_outside_the_set_names_the_row(tmp_path):
    bad = {**CORPUS, "validation": [(["Thun"], ["B-LOC"]), (["Tag"], ["B-OTH"])]}
    folder = write_hub(tmp_path / "set", {"de": bad}, names=[*NAMES, "B-OTH"])
    assert complaint(dataset=folder) == (
        f"{folder} de validation, row 2: the tag 'B-OTH' of word 1, 'Tag', is not in the tag set {' '.join(NAMES)}")


def test_a_hub_row_is_counted_among_all_languages(tmp_path):
    rows = [(["x"], ["O"]), (["y"], ["O"]), (["z", ""], ["O", "O"])]
    write_parquet(tmp_path / "set" / "train.parquet", rows, lang=(Value("string"), ["fr", "de", "de"]))
    assert complaint(dataset=str(tmp_path / "set")).startswith(f"{tmp_path / 'set'} de train, row 3: '' is not a word")


def test_files_that_are_missing(tmp_path):
    write_files(tmp_path)
    write_files(tmp_path, lang="fr")
    assert complaint(data_dir=str(tmp_path), eval_langs=["it"]) == f"{tmp_path}: no language 'it'; there are de, fr"
    (tmp_path / "fr" / "dev").unlink()
    assert complaint(data_dir=str(tmp_path), eval_langs=["fr"]) == (
        f"{tmp_path / 'fr'}: no file for the validation split; "
        "expected dev or validation [.txt .tsv .conll .conllu .bio .iob2 .csv .json .jsonl] [.gz]")
    assert complaint(data_dir=str(tmp_path / "none")) == (
        f"{tmp_path / 'none'}: No such file or directory; expected a folder with <lang>/train, dev and test files")
    assert complaint(eval_langs=["es"]) == "no language 'es' in the built-in corpus; there are de, fr, it, en"


def test_empty_splits(tmp_path):
    write_files(tmp_path, {**CORPUS, "test": []})
    empty = tmp_path / "de" / "test"
    assert complaint(data_dir=str(tmp_path)) == f"{empty}: holds no sentence; expected words and their tags"
    folder = write_hub(tmp_path / "set", {"de": {**CORPUS, "test": []}})
    assert complaint(dataset=folder) == (f"data set {folder}, language 'de', test: not to be had "
                                         "(ValueError: Instruction \"test\" corresponds to no data!)")
    folder = write_hub(tmp_path / "wordless", {"de": {**CORPUS, "test": [([], [])]}})
    assert complaint(dataset=folder) == f"{folder} de test: holds no sentence; expected words and their tags"


def test_fractions_of_every_split(tmp_path):
    sizes = {"train": 40, "validation": 20, "test": 10}
    many = {split: [([str(i), "Bern"], ["O", "B-LOC"]) for i in range(n)] for split, n in sizes.items()}
    write_files(tmp_path, many)
    write_files(tmp_path, many, lang="fr")
    corpus, _ = load(data_dir=str(tmp_path), eval_langs=["de"], fractions={"de": 0.33}, sample_seed=5)
    assert {split: len(langs["de"]) for split, langs in corpus.items()} == {"train": 13, "validation": 6, "test": 3}
    expected = Dataset.from_dict({"row": list(range(40))}).shuffle(seed=5).select(range(13))["row"]
    assert list(corpus["train"]["de"]["row"]) == list(expected)
    assert complaint(data_dir=str(tmp_path), fractions={"de": 0.01}) == (
        "fractions: 0.01 of 40 sentences of 'de' is none; raise it")


def test_the_built_in_corpus():
    corpus, tags = load({"test": ["fr"], "validation": ["it"]})
    assert tags.names == tuple(NAMES)
    assert pairs(corpus["test"]["fr"]) == generate.sentences("fr", "test")
    assert pairs(corpus["validation"]["it"]) == generate.sentences("it", "validation")
    assert len(load({"train": ["de"]})[0]["train"]["de"]) == generate.TRAIN_SENTENCES


def test_table(tmp_path):
    corpus, tags = load(data_dir=str(write_files(tmp_path)))
    assert corpora.count_table(corpus, tags).split("\n") == [
        "split       lang      sentences    words    PER    ORG    LOC",
        "train       de                2        8      1      1      1",
        "validation  de                1        2      0      0      1",
        "test        de                2        4      1      0      1",
    ]
    nothing = corpora.dataset(Raw("a", ":", [Sentence(["Ja"], ["O"], 1)]), "de", TagSet(("O",)))
    table = corpora.count_table({"test": {"de": nothing}}, TagSet(("O",)))
    assert table.split("\n")[1].split() == ["test", "de", "1", "1"]


def test_words_out_are_words_in(tmp_path, monkeypatch):
    """From every reader through windows of any length from 16 up, with words of every kind."""
    class OneSubwordALetter:
        cls_token_id, sep_token_id, unk_token_id = 0, 2, 3

        def __call__(self, words, **_):
            return {"input_ids": [[ord(letter) for letter in word if letter.isprintable()] for (word,) in words]}

    words = ["Bern", "\u200b", "\u00a0", "A" * 50, "Zu\u0308rich", "👩‍👩‍👧", "\u200fשלום", "a:b", "#", "{"] * 9
    corpus = {split: [TYPED, (words, ["O"] * len(words))] for split in CORPUS}
    folders = [write_files(tmp_path / f"files{ending}", corpus, ending) for ending in LAYOUTS]
    sources = [{"data_dir": str(folder)} for folder in folders]
    sources.append({"dataset": write_hub(tmp_path / "set", {"de": corpus})})
    for source in sources:
        rows = load(**source)[0]["test"]["de"]
        assert rows["tokens"][1] == words
        for max_length in (16, 17, 23, 64, 512):
            windows = alignment.encode(list(rows["tokens"]), list(rows["ner_tags"]), OneSubwordALetter(), max_length, 8)
            for own, sentence in zip(windows, (TYPED[0], words), strict=True):
                counts = [(window.first_word, int((window.labels != alignment.IGNORED).sum())) for window in own]
                assert [i for first, count in counts for i in range(first, first + count)] == list(range(len(sentence)))
            assert max(len(window.input_ids) for own in windows for window in own) <= max_length
