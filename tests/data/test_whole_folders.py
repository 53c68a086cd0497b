"""Folders of each container, from the files to a finished run: the words of the predictions are those of the files."""

import gzip
import json
from pathlib import Path

import pytest

from ner.data.swiss import generate
from ner.evaluation.predictions import read_predictions
from ner.tags import spans
from tests.helpers import runs
from tests.helpers.annotated import characters, table

pytestmark = pytest.mark.slow

Sentences = list[tuple[list[str], list[str]]]
COUNTS = {"train": 37, "validation": 10, "test": 12}
NAMES = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]


def kaggle(sentences: Sentences) -> str:
    rows = [[f"Sentence: {number}" * (i == 0), word, "X", tag] for number, pair in enumerate(sentences, 1)
            for i, (word, tag) in enumerate(zip(*pair))]
    return table([["Sentence #", "Word", "POS", "Tag"], *rows])


def numbered(sentences: Sentences) -> str:
    return json.dumps([{"words": words, "ner_tags": [NAMES.index(tag) for tag in tags]} for words, tags in sentences])


def doccano(sentences: Sentences) -> str:
    return "".join(json.dumps({"text": text, "label": found}) + "\n"
                   for text, found in (characters(*pair) for pair in sentences))


def label_studio(sentences: Sentences) -> str:
    tasks = []
    for text, found in (characters(*pair) for pair in sentences):
        results = [{"type": "labels", "value": {"start": start, "end": end, "text": text[start:end], "labels": [kind]}}
                   for start, end, kind in found]
        tasks.append({"data": {"text": text}, "annotations": [{"result": results, "was_cancelled": False}]})
    return json.dumps(tasks)


def prodigy(sentences: Sentences) -> str:
    rows = []
    for words, tags in sentences:
        text, found = characters(words, tags)
        starts = [len(" ".join([*words[:i], ""])) for i in range(len(words))]
        rows.append({"text": text, "answer": "accept",
                     "tokens": [{"text": word, "start": start, "end": start + len(word), "id": i}
                                for i, (word, start) in enumerate(zip(words, starts))],
                     "spans": [{"start": start, "end": end, "label": kind} for start, end, kind in found]})
    return "\n".join(map(json.dumps, rows))


def spacy(sentences: Sentences) -> str:
    return json.dumps([[text, {"entities": found}] for text, found in (characters(*pair) for pair in sentences)])


def columns(sentences: Sentences) -> str:
    return "\n".join("".join(f"{word}\t{tag}\n" for word, tag in zip(*pair)) for pair in sentences)


def old_mac(sentences: Sentences) -> str:
    return columns(sentences).replace("\n", "\r")


FOLDERS = {  # name -> how files are called, and what is in them; whether the words are those of the corpus
    "Kaggle": ("de/{split}.csv", kaggle, {}, True),
    "numbers with names above": ("de/{split}.json", numbered, {"label.json": json.dumps(NAMES)}, True),
    "Doccano": ("de/{split}.jsonl", doccano, {}, False),
    "Label Studio": ("de-{split}.json", label_studio, {}, False),
    "Prodigy": ("de/{split}.jsonl", prodigy, {}, True),
    "spaCy": ("{split}.de.json", spacy, {}, False),
    "flat and gzipped": ("de_{split}.conll.gz", columns, {}, True),
    "old Mac": ("de/{split}.bio", old_mac, {}, True),
}
CALLED = {"train": "train", "validation": "valid", "test": "test"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return runs.make_recipe(tmp_path_factory.mktemp("whole"), eval_langs=["de"], epochs=1)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_trains_to_the_end(recipe, tmp_path, name):
    pattern, write, more, same_words = FOLDERS[name]
    (tmp_path / "data" / "de").mkdir(parents=True)
    corpus = generate.sentences("de", "train")
    for split, count in COUNTS.items():
        content = write(corpus[:count]).encode()
        path = tmp_path / "data" / pattern.format(split=CALLED[split])
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    for file, content in more.items():
        (tmp_path / "data" / file).write_text(content)
    argv = runs.arguments(recipe, tmp_path / "run", "--data_dir", str(tmp_path / "data"))
    status, log = runs.run_forked(argv, tmp_path / "log")
    assert status == 0, log
    expected = corpus[:COUNTS["test"]]
    found = [(one.words, one.gold) for one in read_predictions(tmp_path / "run" / "predictions" / "test.de.tsv")]
    if same_words:
        assert found == [(list(words), list(tags)) for words, tags in expected]
    for (words, tags), (expected_words, expected_tags) in zip(found, expected, strict=True):
        assert "".join(words) == "".join(expected_words)
        assert [kind for *_, kind in spans(tags)] == [kind for *_, kind in spans(expected_tags)]
