"""One data set whatever the source: files of every format, folders laid out as on the Hub, the built-in corpus."""

import os

import pytest
from datasets import Dataset

from ner.data import alignment, corpora
from ner.data.sentences import Raw, Sentence
from ner.data.swiss import generate
from ner.options import Options, UserError
from ner.tags import TagSet
from tests.helpers.corpora import CORPUS, LAYOUTS, NAMES, TYPED, write_files, write_hub
from tests.helpers.loaded import check_is_corpus, complaint, load, pairs


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nothing that these tests load stays in the user's cache."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf-cache")


@pytest.mark.parametrize("ending", LAYOUTS)
def test_files_of_every_format(tmp_path, ending):
    check_is_corpus(*load(data_dir=str(write_files(tmp_path, ending=ending))))
    check_is_corpus(*load(data_dir=str(tmp_path), dataset="overridden"))


def test_validation_may_be_called_so(tmp_path):
    check_is_corpus(*load(data_dir=str(write_files(tmp_path, names=("train", "validation", "test")))))


def test_a_changed_text_file_is_read_again(tmp_path):
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


def test_unlabelled_sentences_are_those_of_the_split_without_their_tags(tmp_path):
    odd = {**CORPUS, "train": [*CORPUS["train"], (["Das", "Matterhorn"], ["O", "B-OTH"])]}
    options = Options(data_dir=str(write_files(tmp_path, odd)))
    found = corpora.unlabelled(options, ["de"], TagSet(tuple(NAMES)))["de"]
    assert list(found["tokens"]) == [words for words, _ in odd["train"]]
    assert list(found["ner_tags"]) == [[-1] * len(words) for words, _ in odd["train"]]
    assert list(found["row"]) == [0, 1, 2] and found.features == corpora.features_of(TagSet(tuple(NAMES)))
    test = corpora.unlabelled(options, ["de"], TagSet(("O",)), "test")["de"]
    assert list(test["tokens"]) == [words for words, _ in CORPUS["test"]]
    with pytest.raises(UserError, match="cannot name a language"):
        corpora.unlabelled(options, ["../de"], TagSet(("O",)))
    with pytest.raises(UserError, match="no language 'fr'; there are de"):
        corpora.unlabelled(options, ["fr"], TagSet(("O",)))


def test_the_tag_set_is_that_of_the_training_data(tmp_path):
    more = {**CORPUS, "train": [*CORPUS["train"], (["Das", "Matterhorn"], ["O", "B-OTH"])]}
    assert load(data_dir=str(write_files(tmp_path / "a", more)))[1].types == ("LOC", "ORG", "OTH", "PER")
    narrow = {**CORPUS, "train": [(["Bern"], ["B-LOC"])], "test": [(["Ems"], ["B-LOC"])]}
    corpus, tags = load(data_dir=str(write_files(tmp_path / "b", narrow)))
    assert tags.names == ("O", "B-LOC", "I-LOC") and pairs(corpus["test"]["de"]) == narrow["test"]
    assert load({"test": ["de"]}, data_dir=str(tmp_path / "a"))[1].names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert complaint(data_dir=str(tmp_path / "a"), tags=["B-LOC"]).startswith("tags: no O among the tags")


def test_files_that_are_missing(tmp_path):
    write_files(tmp_path)
    write_files(tmp_path, lang="fr")
    assert complaint(data_dir=str(tmp_path), eval_langs=["it"]) == f"{tmp_path}: no language 'it'; there are de, fr"
    defaults = Options(data_dir=str(tmp_path))
    with pytest.raises(UserError, match=r"'it'; there are de, fr; set --eval_langs \(evaluate.py: --langs\)$"):
        corpora.load(defaults, {"test": ["it"]})
    os.rename(tmp_path / "de", tmp_path / "away")
    with pytest.raises(UserError, match=r"are away, fr; set --train_langs and --eval_langs \(evaluate.py: --langs\)$"):
        corpora.load(defaults, {"test": ["de"]})
    os.rename(tmp_path / "away", tmp_path / "de")
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
    assert complaint(dataset=folder) == f"{folder} de test: holds no sentence; expected words and their tags"
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
