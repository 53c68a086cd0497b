"""Words that nobody has annotated (tag ?): predicted as the others are, but neither trained on nor scored."""

import json
from pathlib import Path

import numpy as np
import pytest

from ner.analysis import kinds, suspects
from ner.data import corpora, encoded
from ner.data.alignment import IGNORED
from ner.data.encoded import Encoded
from ner.data.sentences import Raw, Sentence
from ner.evaluation import per_language, predictions, scoring
from ner.evaluation.predict import Predictions
from ner.evaluation.predictions import TaggedSentence, annotated
from ner.model import pretrained
from ner.options import UserError
from ner.tags import PANX_TYPES, spans, tag_set
from tests.helpers import runs

TAGS = tag_set(PANX_TYPES)
SENTENCES = [Sentence(["Ada", "Keller", "wohnt", "in", "Bern"], ["B-PER", "I-PER", "?", "O", "B-LOC"], 1),
             Sentence(["Ja", "?"], ["?", "?"], 7), Sentence(["Nein"], ["O"], 10)]


def dataset():
    return corpora.dataset(Raw("made up", ":", SENTENCES), "de", TAGS)


def test_tags_and_ids():
    assert TAGS.labels(["?", "O"]) == [-1, 0] and TAGS.names_of([-1, 0, 1]) == ["?", "O", "B-PER"]
    assert spans(["B-PER", "?", "I-PER", "?"]) == [(0, 1, "PER"), (2, 3, "PER")]


@pytest.mark.slow
def test_windows_for_training_and_for_evaluation():
    folder = pretrained.folder_of("e5-small")
    tokenizer = pretrained.load_tokenizer(folder, pretrained.load_config(folder))
    training, test = (encoded.encode(dataset(), tokenizer, 64, training=training) for training in (True, False))
    assert training.gold.tolist() == test.gold.tolist() == [1, 2, -1, 0, 5, -1, -1, 0]
    learned, answered = ([[int((window.labels != IGNORED).sum()) for window in windows] for windows in data.windows]
                         for data in (training, test))
    assert learned == [[4], [0], [1]] and answered == [[5], [2], [1]]
    assert all(window.labels.min() >= IGNORED and not (window.labels == -1).any()
               for data in (training, test) for windows in data.windows for window in windows)


def made() -> tuple[Encoded, Predictions]:
    """Predictions that are right but for Bern; those of words without annotation are entities, which must not count."""
    words = [one.tokens for one in SENTENCES]
    gold = np.array([label for one in SENTENCES for label in TAGS.labels(one.tags)])
    labels = np.array([1, 2, 3, 0, 0, 3, 4, 0])
    loss = np.where(gold < 0, 0, np.where(gold == labels, 0.1, 3.0)).astype(np.float32)
    data = Encoded(words, gold, [[] for _ in words], [("de", i) for i in range(len(words))])
    argmax = np.array([1, 2, 3, 0, 5, 3, 4, 0])  # finds Bern
    return data, Predictions(labels, loss, np.full(len(gold), 0.9, np.float32), argmax)


def test_they_are_not_scored():
    data, answers = made()
    metrics = per_language.score(data, answers, TAGS, [["Nein"]]).metrics
    assert (metrics["precision"], metrics["recall"], metrics["entities"]) == (1.0, 0.5, 2)
    assert metrics["f1"] == pytest.approx(2 / 3) and metrics["f1_argmax"] == 1
    assert (metrics["sentences"], metrics["words"], metrics["words_without_annotation"]) == (3, 8, 3)
    assert metrics["loss"] == pytest.approx((4 * 0.1 + 3.0) / 5) and metrics["ece"] == pytest.approx(0.1)
    assert metrics["unseen_sentences"] == 1
    matrix = scoring.confusion(data.gold, answers.labels, len(TAGS.names))
    assert matrix.sum() == 5 and matrix[5, 0] == 1


def test_files_keep_them_and_comparisons_do_not(tmp_path):
    data, answers = made()
    tagged = predictions.sentences(data, answers, TAGS)
    assert tagged[0].gold == ["B-PER", "I-PER", "?", "O", "B-LOC"] and tagged[1].predicted == ["B-ORG", "I-ORG"]
    predictions.write_predictions(tmp_path / "test.de.tsv", tagged)
    assert [one.words for one in predictions.read_predictions(tmp_path / "test.de.tsv")] == data.tokens
    (counts,), types = predictions.counts([tmp_path / "test.de.tsv"])
    assert len(counts) == 2 and counts.sum(axis=(0, 1)).tolist() == [1, 1, 2] and types == ("LOC", "PER")
    predictions.write_predictions(tmp_path / "none.tsv", [TaggedSentence(["a"], ["?"], ["O"])])
    with pytest.raises(UserError, match="no word is annotated"):
        predictions.counts([tmp_path / "none.tsv"])


def test_the_analyses_leave_them_out():
    data, answers = made()
    tagged = predictions.sentences(data, answers, TAGS)
    assert annotated(tagged[0]).words == ["Ada", "Keller", "in", "Bern"] and annotated(tagged[1]).words == []
    rows = kinds.kind_table(((one.gold, one.predicted) for one in map(annotated, tagged)), TAGS.types)
    assert rows[-1] == ("all", 2, 1, 1, 0, 0, 0, 1, 0)
    assert [one.sentence.row for one in suspects.suspects(tagged)] == [0]


def test_a_split_without_any_annotation_is_refused():
    with pytest.raises(UserError, match="made up: no word is annotated; expected tags"):
        corpora.dataset(Raw("made up", ":", [SENTENCES[1]]), "de", TAGS)


@pytest.mark.slow
def test_a_whole_run(tmp_path):
    """What the words without annotation are makes no difference to what is learned but through their neighbours."""
    recipe = runs.make_recipe(tmp_path / "made")
    for path in sorted((tmp_path / "made" / "data" / "de").glob("*.tsv")):
        lines = path.read_text(encoding="utf-8").split("\n")
        spoiled = [f"{line.split(chr(9))[0]}\t?" if line and i % 7 == 3 else line for i, line in enumerate(lines)]
        path.write_text("\n".join(spoiled), encoding="utf-8")
    status, log = runs.run_forked(runs.arguments(recipe, tmp_path / "run", "--max_steps", "12"), tmp_path / "log")
    assert status == 0, log
    test = json.loads((tmp_path / "run" / "results.json").read_text())["eval"]["test"]["de"]
    lines = [line.split("\t") for line in (tmp_path / "run" / "predictions" / "test.de.tsv").read_text().split("\n")]
    gold = [cells[1] for cells in lines if len(cells) == 3]
    assert gold.count("?") == test["words_without_annotation"] > 5 and len(gold) == test["words"]
    assert "?" not in {cells[2] for cells in lines if len(cells) == 3}
    words = [cells[0] for cells in lines if len(cells) == 3]
    source = Path(tmp_path / "made" / "data" / "de" / "test.tsv").read_text(encoding="utf-8").split("\n")
    assert words == [line.split("\t")[0] for line in source if line]
