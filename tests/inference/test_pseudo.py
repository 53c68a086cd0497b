"""Pseudo-labels: which sentences are kept, which words masked, exact lists; the files, written and read back."""

import json

import pytest
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ner.data import corpora, readers
from ner.inference import pseudo, trained
from ner.inference.pseudo import most_confident
from ner.options import Options, UserError
from ner.tags import TagSet
from tests.helpers.folders import TAGS, lexicon_folder
from tests.helpers.known import write_data

OTHER_ORDER = TagSet(("B-PER", "I-PER", "O", "B-LOC", "I-LOC", "B-ORG", "I-ORG"))
PER, LOC, BOTH, NONE = {"PER"}, {"LOC"}, {"PER", "LOC"}, set()


@pytest.mark.parametrize("types, confidence, share, kept", [
    ([PER, BOTH, NONE, NONE], [0.9, 0.5, 0.8, 0.7], 0.5, [0, 1, 2]),  # the one with LOC is kept as its best
    ([PER, PER, PER, PER], [0.1, 0.4, 0.3, 0.2], 0.5, [1, 2]),
    ([PER, PER, PER, PER], [0.5, 0.5, 0.5, 0.5], 0.5, [0, 1]),  # of equals the first
    ([NONE] * 5, [0.1, 0.2, 0.3, 0.4, 0.5], 0.3, [3, 4]),  # 1.5, rounded to even
    ([NONE] * 3 + [PER] * 3, [0.9, 0.8, 0.7, 0.3, 0.2, 0.1], 0.5, [0, 1, 3, 4]),
    ([NONE] * 3 + [LOC], [0.9, 0.8, 0.7, 0.01], 0.01, [0, 3]),  # at least one of each type
    ([BOTH, LOC, LOC, PER], [0.9, 0.8, 0.7, 0.6], 0.34, [0]),  # 1 of 3, 1 of 2: the same
    ([BOTH, NONE, LOC], [0.1, 0.2, 0.3], 1, [0, 1, 2]),
    ([NONE], [0.0], 0.001, [0]),
    ([], [], 0.5, []),
])
def test_the_most_confident_of_every_type(types, confidence, share, kept):
    assert most_confident(types, confidence, share) == kept


@given(st.lists(st.tuples(st.sets(st.sampled_from("ABC")), st.floats(0, 1)), max_size=30), st.floats(0.01, 1))
def test_it_is_what_sorting_by_type_gives(sentences, share):
    expected = set()
    for kind in "ABC-":
        members = [(-confidence, i) for i, (types, confidence) in enumerate(sentences) if kind in (types or "-")]
        expected |= {i for _, i in sorted(members)[: max(1, round(share * len(members)))]}
    types, confidence = ([one[i] for one in sentences] for i in (0, 1))
    assert most_confident(types, confidence, share) == sorted(expected)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A teacher that is sure of Anna Keller, Bern and Genf, and undecided between ORG and LOC for Post."""
    folder = lexicon_folder(tmp_path_factory.mktemp("teacher") / "model")
    state = load_file(folder / "model.safetensors")
    loaded = trained.load(str(folder), Accelerator(cpu=True))
    (post,) = loaded.tokenizer(["Post"], is_split_into_words=True, add_special_tokens=False)["input_ids"]
    state["roberta.embeddings.word_embeddings.weight"][post, TAGS.index("B-LOC")] = 0.99
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return trained.load(str(folder), Accelerator(cpu=True))


SENTENCES = [["Anna", "Keller", "wohnt", "in", "Bern", "."], ["bei", "der", "Post", "."], ["Genf", "und", "Bern"],
             ["in", "der"], ["Post"]]


def pool(folder, tags=OTHER_ORDER, **options):
    write_data(folder, "fr", "train", [[(word, "B-PER") for word in words] for words in SENTENCES])
    return corpora.unlabelled(Options(data_dir=str(folder), **options), ["fr"], tags)


def labelled(teacher, found, confidence=0.0, share=1.0, tags=OTHER_ORDER):
    rows = pseudo.pseudo_labelled(teacher, found, tags, confidence, share, Accelerator(cpu=True))["fr"]
    return [(row, " ".join(tags.names_of(ids))) for row, ids in zip(rows["row"], rows["ner_tags"])]


def test_the_teacher_tags_every_word_by_name(teacher, tmp_path):
    found = pool(tmp_path)
    assert labelled(teacher, found) == [(0, "B-PER I-PER O O B-LOC O"), (1, "O O B-ORG O"), (2, "B-LOC O B-LOC"),
                                        (3, "O O"), (4, "B-ORG")]
    assert list(found["fr"]["ner_tags"]) == [[-1] * len(words) for words in SENTENCES]
    assert labelled(teacher, found, tags=TagSet(TAGS)) == labelled(teacher, found)


def test_words_of_low_confidence_are_masked_and_sentences_ranked_by_their_least_confident_word(teacher, tmp_path):
    found = pool(tmp_path)
    assert labelled(teacher, found, 0.7) == [(0, "B-PER I-PER O O B-LOC O"), (1, "O O ? O"), (2, "B-LOC O B-LOC"),
                                             (3, "O O"), (4, "?")]
    assert [row for row, _ in labelled(teacher, found, 0.0, 0.5)] == [0, 1, 3]  # PER, ORG, none; LOC: the first of two
    assert labelled(teacher, found, 0.7, 0.5) == [(0, "B-PER I-PER O O B-LOC O"), (1, "O O ? O"), (3, "O O")]
    with pytest.raises(UserError, match=r"^fr: no tag of the teacher has a probability of 0.9999, .*; lower the conf"):
        labelled(teacher, found, 0.9999)


def test_the_pool_is_sampled_as_any_training_split(teacher, tmp_path):
    found = pool(tmp_path, fractions={"fr": 0.6}, sample_seed=3)
    gold, _ = corpora.load(Options(data_dir=str(tmp_path), fractions={"fr": 0.6}, sample_seed=3), {"train": ["fr"]})
    assert found["fr"]["row"] == gold["train"]["fr"]["row"] and len(found["fr"]) == 3
    assert found["fr"]["tokens"] == gold["train"]["fr"]["tokens"]
    assert [row for row, _ in labelled(teacher, found)] == list(found["fr"]["row"])


def test_amounts(teacher, tmp_path):
    found = pool(tmp_path)
    rows = pseudo.pseudo_labelled(teacher, found, OTHER_ORDER, 0.7, 0.5, Accelerator(cpu=True))
    counted = pseudo.amounts(found, rows, OTHER_ORDER)
    assert counted == {"fr": {"tagged": 5, "sentences": 3, "words": 12, "masked": 1,
                              "entities": {"PER": 1, "LOC": 1, "ORG": 0}}}
    assert pseudo.amount_table(counted).split("\n")[0].split() == [
        "lang", "tagged", "kept", "words", "masked", "PER", "LOC", "ORG"]
    assert pseudo.amount_table(counted).split("\n")[1].split() == ["fr", "5", "3", "12", "1", "1", "1", "0"]


def test_files_are_read_back_as_they_were_and_by_the_reader_of_any_file(teacher, tmp_path):
    found = pool(tmp_path)
    rows = pseudo.pseudo_labelled(teacher, found, OTHER_ORDER, 0.7, 1.0, Accelerator(cpu=True))
    pseudo.write_pseudo(tmp_path / "out", rows, OTHER_ORDER, {"teacher": "me"})
    about = pseudo.read_about(tmp_path / "out")
    assert about["teacher"] == "me" and list(about["checksums"]) == ["fr"]
    again = pseudo.read_pseudo(tmp_path / "out", "fr", OTHER_ORDER)
    assert again.to_dict() == rows["fr"].to_dict() and again.features == rows["fr"].features
    lines = (tmp_path / "out" / "fr" / "train.jsonl").read_text(encoding="utf-8").split("\n")
    assert json.loads(lines[1]) == {"tokens": SENTENCES[1], "tags": ["O", "O", "?", "O"], "row": 1}
    read = readers.read_file(tmp_path / "out" / "fr" / "train.jsonl", "fr")
    assert [(one.tokens, one.tags) for one in read] == [
        (words, OTHER_ORDER.names_of(ids)) for words, ids in zip(rows["fr"]["tokens"], rows["fr"]["ner_tags"])]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fr", "out"]  # nothing is left of its making


def test_masked_openings_do_not_look_like_another_scheme(tmp_path):
    """What is in an I- after a masked word stays."""
    tags = [["?", "I-PER", "O"], ["?", "I-PER", "O"], ["O", "?", "I-LOC"], ["B-PER", "O", "O"]]
    rows = {"fr": corpora.Dataset.from_dict(
        {"tokens": [["a", "b", "c"]] * 4, "ner_tags": list(map(OTHER_ORDER.labels, tags)), "lang": ["fr"] * 4,
         "row": [3, 1, 0, 7]}, corpora.features_of(OTHER_ORDER))}
    pseudo.write_pseudo(tmp_path / "out", rows, OTHER_ORDER, {})
    read = readers.read_file(tmp_path / "out" / "fr" / "train.jsonl", "fr")
    assert [one.tags for one in read] == tags


@pytest.mark.parametrize("change", [
    lambda folder: (folder / "fr" / "train.jsonl").write_text("{}"), lambda folder: (folder / "pseudo.json").unlink(),
    lambda folder: (folder / "pseudo.json").write_text("[]"),
    lambda folder: (folder / "pseudo.json").write_text('{"checksums": {"it": ""}}'),
    lambda folder: (folder / "pseudo.json").write_text('{"checksums": 3}'),
    lambda folder: (folder / "fr" / "train.jsonl").unlink()])
def test_damaged_files_are_noticed(teacher, tmp_path, change):
    rows = pseudo.pseudo_labelled(teacher, pool(tmp_path), OTHER_ORDER, 0.0, 1.0, Accelerator(cpu=True))
    pseudo.write_pseudo(tmp_path / "out", rows, OTHER_ORDER, {})
    change(tmp_path / "out")
    with pytest.raises(UserError, match=r"out: cannot be read .*; remove it to have the sentences tagged") as error:
        pseudo.read_about(tmp_path / "out")
    assert "\n" not in str(error.value)


def test_the_checksum_is_that_of_the_weights(tmp_path):
    folder = lexicon_folder(tmp_path / "model")
    before = trained.weights_checksum(str(folder))
    assert before == trained.weights_checksum(str(lexicon_folder(tmp_path / "same")))
    state = load_file(folder / "model.safetensors")
    state["classifier.bias"][0] += 1e-6
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    assert trained.weights_checksum(str(folder)) != before
