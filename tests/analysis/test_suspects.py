"""Suspicious annotations: halves, ranking, the file between suspects and training, the proof with the real encoder."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from accelerate import Accelerator

import evaluate as script
from ner.analysis import suspects
from ner.data import corpora, exclude, sampling
from ner.data.encoded import Encoded
from ner.data.swiss import generate
from ner.evaluation.predict import Predictions
from ner.evaluation.predictions import TaggedSentence, sentences
from ner.experiment import experiment
from ner.options import Options, UserError
from ner.tags import TagSet
from tests.helpers import doubles
from tests.helpers.paths import ROOT
from tests.proofs import suspects as proof

NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SMALL = Options(train_langs=["de", "fr"], eval_langs=["de"], num_train_sentences=30, fractions={"de": 0.5})


@pytest.fixture(scope="module")
def training():
    corpus, _ = corpora.load(SMALL, {"train": SMALL.train_langs})
    return sampling.training_set(corpus["train"], SMALL.num_train_sentences)


def listed(path, rows, header="language\tsplit\trow\thash"):
    path.write_text("".join(f"{line}\n" for line in (header, *("\t".join(map(str, row)) for row in rows))),
                    encoding="utf-8")
    return str(path)


def place(training, i):
    row = training[i]
    return row["lang"], "train", row["row"], exclude.sentence_hash(row["tokens"])


def test_the_hash_knows_where_words_end():
    assert exclude.sentence_hash(["Ada", "ü"]) == hashlib.sha256("Ada\0ü".encode()).hexdigest()[:16]
    assert exclude.sentence_hash(["ab", "c"]) != exclude.sentence_hash(["a", "bc"])
    assert len(exclude.sentence_hash(["\ud800"])) == 16


def test_without_leaves_out_only_the_listed_sentences(training, tmp_path):
    path = listed(tmp_path / "f.tsv", [place(training, i) for i in (0, 17, 59)])
    kept = exclude.without(training, path)
    assert kept["tokens"] == [words for i, words in enumerate(training["tokens"]) if i not in (0, 17, 59)]
    assert kept.features == training.features


def test_columns_are_found_by_name_and_other_sentences_ignored(training, tmp_path):
    rows = [("x y", *place(training, 3)[::-1]), ("", "0" * 16, 123456, "train", "de"), ("", "0" * 16, 1, "train", "ru")]
    path = listed(tmp_path / "f.tsv", rows, "words\thash\trow\tsplit\tlanguage")
    assert len(exclude.without(training, path)) == len(training) - 1


@pytest.mark.parametrize("spoil, message", [
    (lambda row: (*row[:3], "0" * 16), r"f\.tsv:3: row \d+ of \w\w has the hash \w{16}, not '0{16}'"),
    (lambda row: (row[0], "test", *row[2:]), r"f\.tsv:3: expected a row of the split train, found row '\d+' of 'test'"),
    (lambda row: (row[0], row[1], "x", row[3]), r"f\.tsv:3: expected a row of the split train, found row 'x'"),
    (lambda row: row[:2], r"f\.tsv:3: expected 4 cells separated by tabs, found 2"),
])
def test_a_file_made_from_other_data_is_refused(training, tmp_path, spoil, message):
    path = listed(tmp_path / "f.tsv", [place(training, 0), spoil(place(training, 1))])
    with pytest.raises(UserError, match=message):
        exclude.without(training, path)


def test_a_file_that_means_nothing_or_everything_is_refused(training, tmp_path):
    with pytest.raises(UserError, match="names none of this run's training sentences"):
        exclude.without(training, listed(tmp_path / "a.tsv", []))
    with pytest.raises(UserError, match="leaves no sentence"):
        exclude.without(training, listed(tmp_path / "b.tsv", [place(training, i) for i in range(len(training))]))
    with pytest.raises(UserError, match=r"b.tsv:1: expected the columns language, split, row, hash, found 'a, b'"):
        exclude.without(training, listed(tmp_path / "b.tsv", [], "a\tb"))
    with pytest.raises(UserError, match=r"exclude: .*nowhere: No such file or directory"):
        exclude.without(training, str(tmp_path / "nowhere"))


@pytest.mark.slow
def test_a_run_trains_without_them_and_keeps_validation_and_test(training, tmp_path):
    path = listed(tmp_path / "f.tsv", [place(training, i) for i in (1, 2)])
    state = experiment.build(replace(SMALL, exclude=path), tmp_path, Accelerator())
    assert state.training.tokens == training["tokens"][:1] + training["tokens"][3:]
    assert state.training.source == [(row["lang"], row["row"]) for i, row in enumerate(training) if i not in (1, 2)]
    corpus, _ = corpora.load(SMALL)
    assert state.validation["de"].tokens == list(corpus["validation"]["de"]["tokens"])
    assert state.test["de"].tokens == list(corpus["test"]["de"]["tokens"])


def test_equal_sentences_are_in_the_same_half_and_halves_are_even(training):
    halves = [suspects.half_of(words) for words in generate_words(2000)]
    assert 900 < sum(halves) < 1100
    assert suspects.half_of(["Ada", "ü"]) == suspects.half_of(["Ada", "ü"])


def generate_words(count):
    return [words for words, _ in generate.generate("de", count)]


def test_ranking():
    """Three sentences: agreed; doubted a little; a contradiction, the model being sure of both words."""
    gold, labels = np.array([1, 0, 1, 2, 3, 0]), np.array([1, 0, 1, 0, 1, 0])
    gold_probability = np.array([0.4, 0.9, 0.9, 0.4, 0.01, 0.89])
    confidence = np.where(gold == labels, gold_probability, [0, 0, 0, 0.6, 0.97, 0])
    part = Encoded([["a", "b"], ["c", "d"], ["e\t", "f"]], gold, [], [("de", 4), ("de", 9), ("fr", 2)])
    predicted = Predictions(labels, -np.log(gold_probability), confidence, labels)
    found = suspects.suspects(sentences(part, predicted, TagSet(NAMES)))
    assert [(one.sentence.lang, one.sentence.row) for one in found] == [("de", 9), ("fr", 2)]
    assert [one.confidence for one in found] == pytest.approx([0.6, 0.89 / 0.9])
    doubted = found[1].sentence
    assert (doubted.gold, doubted.predicted, doubted.words) == (["B-LOC", "O"], ["B-PER", "O"], ["e\t", "f"])


def test_the_file_that_is_written_is_the_file_that_is_read(training, tmp_path):
    chosen = [training[i] for i in (5, 50)]
    found = [suspects.Suspect(TaggedSentence(row["tokens"], ["O"], ["B-PER"], lang=row["lang"], row=row["row"]), 0.5)
             for row in chosen]
    suspects.write_suspects(tmp_path / "new" / "s.tsv", found)
    lines = (tmp_path / "new" / "s.tsv").read_text().split("\n")
    assert lines[0].split("\t") == ["language", "split", "row", "hash", "confidence", "gold", "suggestion", "words"]
    kept = exclude.without(training, str(tmp_path / "new" / "s.tsv"))
    assert kept["tokens"] == [words for i, words in enumerate(training["tokens"]) if i not in (5, 50)]


def test_too_few_sentences_cannot_be_halved(monkeypatch):
    training = Encoded([["Ada"]], np.array([1]), [], [("de", 0)])
    doubles.replace(monkeypatch, "build",
                    lambda options, folder, accelerator: SimpleNamespace(training=training))
    with pytest.raises(UserError, match="1 training sentences cannot be split in half; use more"):
        suspects.find(SMALL, Accelerator())


def test_a_part_of_a_sentence_is_no_suspect(monkeypatch):
    """`without` knows whole sentences; the one of row 1 was divided, and its parts came into different halves."""
    tags, halves = TagSet(NAMES), [[("de", 0), ("de", 1)], [("de", 1), ("fr", 0)]]

    def out_of_sample(options, half, accelerator):
        part = Encoded([["Ada"], ["Bern"]], np.array([1, 3]), [], halves[half])
        found = np.zeros(2, np.int64)
        return part, Predictions(found, np.ones(2), np.ones(2), found), tags

    monkeypatch.setattr(suspects, "out_of_sample", out_of_sample)
    found, count = suspects.find(SMALL, Accelerator())
    assert [(one.sentence.lang, one.sentence.row) for one in found] == [("de", 0), ("fr", 0)] and count == 3


@pytest.mark.parametrize("arguments, message", [
    (["--config", str(ROOT / "configs" / "chapter4.yaml")], "chapter4.yaml: found several runs"),
    (["--seeds", "1", "2"], "seeds: found several runs; expected the options of one"),
    (["--output_dir", "x"], "--output_dir: has no effect on suspects"),
    (["--share", "0"], "--share: expected a number above 0 and up to 1, found 0.0"),
    (["--epoch", "2"], "unknown option 'epoch'; did you mean 'epochs'?"),
    (["--output", f"{__file__}/new/s.tsv"], "test_suspects.py is not a writable folder; name another"),
])
def test_mistakes_on_the_command_line(arguments, message, capsys):
    assert script.main(["suspects", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_wrong_annotations_are_found(tmp_path):
    """At least 70 % of the first n suspects are the n wrong annotations of 5 % of the sentences (measured: 83 %)."""
    right, count = proof.prove(tmp_path, sentences=5000, layers=3, epochs=2, batch_size=16, rate=5e-4)
    assert count > 100 and right >= 0.7 * count
