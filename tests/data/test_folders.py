"""Which file holds which split of which language, and what is said where none does."""

import os
from pathlib import Path

import pytest

from ner.data.folders import EXTENSIONS, SPLIT_NAMES, find_file, languages, split_file
from ner.options import UserError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def complaint(function, *args) -> str:
    with pytest.raises(UserError) as error:
        function(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("ending", [ending + zipped for ending in EXTENSIONS for zipped in ("", ".gz")])
@pytest.mark.parametrize(("split", "name"), [(split, name) for split, names in SPLIT_NAMES.items() for name in names])
def test_every_name_of_a_split_with_every_ending(tmp_path, split, name, ending):
    touch(tmp_path, f"de/{name}{ending}", "de/README.md", f"{name}.fr{ending}", "it/notes")
    assert languages(tmp_path) == ["de"]
    assert {one: find_file(tmp_path, "de", one) for one in SPLIT_NAMES if find_file(tmp_path, "de", one)} == {
        split: tmp_path / "de" / f"{name}{ending}"}


def test_names_of_conll_2003(tmp_path):
    touch(tmp_path, "en/train.txt", "en/testa.txt", "en/testb.txt")
    assert [split_file(tmp_path, "en", split).name for split in SPLIT_NAMES] == ["train.txt", "testa.txt", "testb.txt"]
    touch(tmp_path / "flat", "eng.train", "eng.testa", "eng.testb.gz")
    assert [split_file(tmp_path / "flat", "eng", split).name for split in SPLIT_NAMES] == [
        "eng.train", "eng.testa", "eng.testb.gz"]


@pytest.mark.parametrize("names", [
    ["de-train.txt", "de-dev.txt", "de-test.txt"], ["train.de.tsv", "valid.de.tsv", "test.de.tsv"],
    ["de_train.conll", "de_val.conll", "de_test.conll"], ["train-de.json.gz", "dev_de.jsonl", "de.test.csv"],
])
def test_flat_folders(tmp_path, names):
    touch(tmp_path, *names, "pt-BR-train.txt", "README.md", "train.txt", "-train.txt", "x y-train.txt", "labels.txt")
    (tmp_path / "notes").mkdir()
    assert languages(tmp_path) == ["de", "pt-BR"]
    assert [split_file(tmp_path, "de", split).name for split in SPLIT_NAMES] == names
    assert split_file(tmp_path, "pt-BR", "train").name == "pt-BR-train.txt"
    assert complaint(split_file, tmp_path, "it", "train") == f"{tmp_path}: no language 'it'; there are de, pt-BR"
    message = complaint(split_file, tmp_path, "pt-BR", "test")
    assert message.startswith(f"{tmp_path}: no file for the test split, found '-train.txt', 'README.md', 'labels.txt'")


@pytest.mark.parametrize("names", [("de-train.txt", "train.de.tsv"), ("de-train.txt", "de-train.txt.gz")])
def test_two_files_for_one_split(tmp_path, names):
    touch(tmp_path, *names)
    one, other = sorted(tmp_path / name for name in names)
    for function in (find_file, split_file):
        assert complaint(function, tmp_path, "de", "train") == (
            f"{one} and {other} both hold the train split of 'de'; expected one file")
    touch(tmp_path / "x", "de/test.txt", "de/testb.txt")
    assert "both hold the test split" in complaint(split_file, tmp_path / "x", "de", "test")


ENDINGS = "[.txt .tsv .conll .conllu .bio .iob2 .csv .json .jsonl] [.gz]"


def test_files_of_other_names_are_named(tmp_path):
    touch(tmp_path, "de/train.txt", "fr/train.xml", "fr/dev.doc", "fr/x", "fr/y", "de/dev.parquet", "de/notes.md")
    assert complaint(split_file, tmp_path, "fr", "train") == (
        f"{tmp_path / 'fr'}: no file of any split, found 'dev.doc', 'train.xml', 'x' and 1 more; "
        f"expected train, dev and test {ENDINGS}")
    assert complaint(split_file, tmp_path, "de", "validation") == (
        f"{tmp_path / 'de'}: no file for the validation split, found 'dev.parquet', 'notes.md'; expected dev or "
        f"validation {ENDINGS}. Parquet is read by --dataset FOLDER")
    assert complaint(split_file, tmp_path, "de", "test").startswith(f"{tmp_path / 'de'}: no file for the test split")
    assert complaint(split_file, tmp_path, "it", "test") == f"{tmp_path}: no language 'it'; there are de"


@pytest.mark.parametrize(("names", "found"), [
    (["de/train.xml"], "'de/train.xml'"), (["train.txt", "dev.txt"], "'dev.txt', 'train.txt'"),
    (["de/a/train.txt"], "'de/a'"), ([f"{i}.txt" for i in range(9)], "'0.txt', '1.txt', '2.txt' and 6 more"),
])
def test_no_language(tmp_path, names, found):
    touch(tmp_path, *names)
    for args in ((languages, tmp_path), (split_file, tmp_path, "de", "train")):
        assert complaint(*args) == (f"{tmp_path}: no language in this folder, found {found}; "
                                    "expected a folder with <lang>/train, dev and test files")


def test_an_empty_folder_and_brat(tmp_path):
    assert complaint(languages, tmp_path) == (
        f"{tmp_path}: no language in this folder; expected a folder with <lang>/train, dev and test files")
    touch(tmp_path, "de/one.txt", "de/one.ann")
    assert "The .ann files are brat's" in complaint(languages, tmp_path)


def test_odd_names_and_links(tmp_path):
    os.mkdir(bytes(tmp_path) + b"/\xff")
    touch(tmp_path, "mean_f1/train", "x\ny-train.txt")
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "train").symlink_to(tmp_path / "nowhere")
    (tmp_path / "fr").symlink_to(tmp_path / "fr")
    assert languages(tmp_path) == ["de"] and split_file(tmp_path, "de", "train") == tmp_path / "de" / "train"
    assert find_file(tmp_path, "\0", "train") is None and find_file(tmp_path / "\0", "de", "train") is None
