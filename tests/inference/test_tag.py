"""Scoring and tagging with a model whose answers are known: it tags a word by its first subword alone."""

import io
import json
import random
from dataclasses import replace

import pytest
import torch
import yaml
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st

from ner.data.text import split_words
from ner.inference import tag as tag_module
from ner.inference.tagger import Tagger
from ner.inference.trained import load, score
from ner.options import Options, UserError, as_recipe
from tests.helpers.commands import call
from tests.helpers.folders import LEXICON, TAGS, lexicon_folder, tiny_folder
from tests.helpers.known import make_run, tag, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return lexicon_folder(tmp_path_factory.mktemp("known") / "model")


@pytest.fixture(scope="module")
def trained(folder):
    return load(str(folder), Accelerator(cpu=True))


@pytest.fixture(scope="module")
def by_word(trained):
    """The same, of which each word has its own answer, whatever its neighbours."""
    return trained._replace(options=replace(trained.options, decode="argmax"))


def test_tags_are_legal_whatever_the_run_was_scored_with(tmp_path, capsys):
    run = make_run(tmp_path / "run", write_data(tmp_path / "data"), decode="argmax")
    status, shown, _ = call(capsys, "tag", run, "und Keller Keller und")
    tags = [line.split("\t")[1] for line in shown.splitlines()]
    assert status == 0 and tags in (["O", "B-PER", "I-PER", "O"], ["B-PER", "I-PER", "I-PER", "O"]), "equally probable"
    assert Tagger(str(run)).trained.options.decode == "viterbi"


# ---- load


def test_run_brings_its_options(tmp_path):
    run = make_run(tmp_path / "run", tmp_path, max_length=24, fractions={"de": 0.5})
    trained = load(str(run), Accelerator(cpu=True))
    assert trained.options.eval_langs == ["de", "fr"] and trained.options.fractions == {"de": 0.5}
    assert trained.options.max_length == 24 and trained.folder == run / "model" and trained.tags.names == TAGS


def test_model_from_elsewhere_brings_its_name_and_its_length(trained, folder):
    assert trained.options.model == str(folder)
    assert trained.options.max_length == 64, "of 66 positions, RoBERTa leaves the first two free"


def test_unfinished_run_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(as_recipe(Options())))
    with pytest.raises(UserError, match="holds no model/; finish the run first with --resume"):
        load(str(tmp_path), Accelerator(cpu=True))


@pytest.mark.parametrize("tags, message", [
    (("LABEL_0", "LABEL_1"), "names no tags in id2label; expected a fine-tuned token classifier"),
    (("O", "HUMAN"), "id2label is not an IOB2 or IOB1 tag set .*HUMAN"),
    (("O", "I-"), "id2label is not an IOB2 or IOB1 tag set .*'I-' is not a tag"),
    (("B-PER", "I-PER"), "id2label is not an IOB2 or IOB1 tag set .no O among"),
    (("I-PER", "I-LOC"), "id2label is not an IOB2 or IOB1 tag set .no O among"),
])
def test_other_label_sets_are_refused(tmp_path, tags, message):
    folder = tiny_folder(tmp_path / "model", tags=tags)
    with pytest.raises(UserError, match=message):
        load(str(folder), Accelerator(cpu=True))


@pytest.mark.parametrize("id2label, message", [
    ({"0": "O", "1": "B-PER", "3": "I-PER"}, r"ids are \[0, 1, 3\]; expected 0 to 2"),
    ({"0": "O", "1": 7}, "7 is not a tag"),
    ({"0": "O", "1": "B-PER", "2": "B-PER"}, "twice in the tag set"),
])
def test_broken_id2label_is_refused(tmp_path, id2label, message):
    folder = tiny_folder(tmp_path / "model")
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "id2label": id2label}))
    with pytest.raises(UserError, match=message):
        load(str(folder), Accelerator(cpu=True))


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", "run/config.yaml/x"])
def test_impossible_names_are_refused(name):
    with pytest.raises(UserError):
        load(name, Accelerator(cpu=True))


# ---- score


def test_scores_of_a_model_with_known_answers(tmp_path, trained):
    """Right: Anna Keller, Bern, Genf. Wrong: the cellar as a person, the post as an organisation."""
    data = write_data(tmp_path)
    known = trained._replace(options=Options(data_dir=str(data), decode="argmax"))
    _, scored = score(known, ["de"], "test", Accelerator(cpu=True))
    figures = scored["de"].metrics
    assert (figures["precision"], figures["recall"]) == (3 / 5, 3 / 4) and figures["f1_argmax"] == figures["f1"]
    assert figures["by_type"]["PER"]["precision"] == 1 / 2 and figures["by_type"]["ORG"]["support"] == 0
    assert figures["words"] == len(scored["de"].predictions.labels) == 14 and figures["sentences"] == 3
    named = [TAGS[i] for i in scored["de"].predictions.labels]
    assert named == ["B-PER", "I-PER", "O", "O", "B-LOC", "O", "O", "I-PER", "O", "O", "B-ORG", "O", "B-LOC", "O"]


def test_tags_are_matched_by_name(tmp_path, trained):
    data = write_data(tmp_path / "data")
    accelerator = Accelerator(cpu=True)
    shuffled = list(TAGS)
    random.Random(3).shuffle(shuffled)
    assert tuple(shuffled) != TAGS
    other = load(str(lexicon_folder(tmp_path / "model", tuple(shuffled))), accelerator)
    figures = []
    for one in (trained, other):
        _, scored = score(one._replace(options=Options(data_dir=str(data))), ["de"], "test", accelerator)
        figures.append(scored["de"].metrics)
    for name in ("loss", "ece"):
        assert figures[0].pop(name) == pytest.approx(figures[1].pop(name), abs=1e-6)
    assert figures[0] == figures[1]


def test_model_with_more_types_than_the_data(tmp_path, trained):
    data = write_data(tmp_path, sentences=[[("Anna", "B-PER"), ("Post", "O")]])
    known = trained._replace(options=Options(data_dir=str(data)))
    _, scored = score(known, ["de"], "test", Accelerator(cpu=True))
    assert (scored["de"].metrics["precision"], scored["de"].metrics["recall"]) == (0.5, 1.0)


def test_data_with_other_types_than_the_model(tmp_path, trained):
    data = write_data(tmp_path, sentences=[[("Anna", "B-PER"), ("1999", "B-DATE")]])
    with pytest.raises(UserError, match=r"test.jsonl:1: .*'B-DATE'.*O B-PER I-PER") as caught:
        score(trained._replace(options=Options(data_dir=str(data))), ["de"], "test", Accelerator(cpu=True))
    assert "\n" not in str(caught.value)


# ---- tag


def test_tags_and_confidence_of_raw_text(trained):
    (tagged,) = tag(trained, "Anna Keller wohnt in Bern.")
    assert [(word.text, word.start, word.end) for word in tagged.words] == [
        ("Anna", 0, 4), ("Keller", 5, 11), ("wohnt", 12, 17), ("in", 18, 20), ("Bern", 21, 25), (".", 25, 26)]
    assert tagged.tags == ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]
    logits = 2 * torch.nn.functional.layer_norm(torch.eye(16)[0], (16,))[: len(TAGS)]
    assert tagged.confidence == pytest.approx([float(logits.softmax(0).max())] * 6, abs=1e-3)


def test_a_text_may_be_empty(trained):
    tagged = tag(trained, "", "Bern", " \t\u00a0", "Genf wohnt")
    assert [one.tags for one in tagged] == [[], ["B-LOC"], [], ["B-LOC", "O"]]
    assert tag(trained) == [] and [one.tags for one in tag(trained, "", " ")] == [[], []]


def test_every_word_of_a_long_text_is_tagged(by_word):
    words = random.Random(0).choices([*LEXICON, "wohnt", "in", "x" * 300, "\u200b"], k=3000)
    (tagged,) = tag(by_word, " ".join(words))
    assert [word.text for word in tagged.words] == words
    assert tagged.tags == [LEXICON.get(word, "O") for word in words] and len(tagged.confidence) == 3000


def test_tags_are_legal(trained, by_word):
    """Keller alone goes on with an entity that nothing has opened, and the model sees no other tag in it."""
    text = "der Keller bei der Post"
    assert tag(by_word, text)[0].tags == ["O", "I-PER", "O", "O", "B-ORG"]
    (tagged,) = tag(trained, text)
    assert tagged.tags == ["O", "O", "O", "O", "B-ORG"]
    logits = 2 * torch.nn.functional.layer_norm(torch.eye(16)[0], (16,))[: len(TAGS)]
    assert tagged.confidence[1] == pytest.approx(float(logits.softmax(0).min()), abs=1e-3), "of O, not of I-PER"


def test_texts_do_not_mix(by_word):
    texts = [" ".join(random.Random(i).choices([*LEXICON, "und"], k=i % 40)) for i in range(100)]
    for text, one in zip(texts, tag(by_word, *texts), strict=True):
        assert one.text == text and one.tags == [LEXICON.get(word, "O") for word in text.split()]


def test_text_that_cannot_be_tagged(trained):
    with pytest.raises(UserError, match=r"text 1: .* longer than 1,048,576 characters"):
        tag(trained, "Bern " * 300_000)
    with pytest.raises(UserError, match=r"text 2: .* is not UTF-8"):
        tag(trained, "Bern", "a\udcff")


# ---- words that are given


def test_words_between_spaces_are_kept(trained):
    text = " Anna\tKeller.  (Bern) Bern\u00a0"
    (tagged,) = tag(trained, text, pretokenized=True)
    assert tagged.text == text
    assert tagged.words == [("Anna", 1, 5), ("Keller.", 6, 13), ("(Bern)", 15, 21), ("Bern", 22, 26)]
    assert tagged.tags == ["B-PER", "I-PER", "O", "B-LOC"]


def test_json_tokens_are_kept(trained):
    given = [["Anna", "Bern x", "東京", "."], [], ["{"]]
    tagged = tag(trained, *(json.dumps({"id": 1, "tokens": tokens, "ner_tags": [0]}) for tokens in given),
                 "", "{ a } {} Bern", pretokenized=True)
    assert [[word.text for word in one.words] for one in tagged] == [*given, [], ["{", "a", "}", "{}", "Bern"]]
    assert tagged[0].text == "Anna Bern x 東京 ." and tagged[-1].tags == ["O"] * 4 + ["B-LOC"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\0"), min_size=1)))
def test_offsets_refer_to_the_words_joined_by_spaces(words):
    (text,) = tag_module.read_texts([json.dumps({"tokens": words})], pretokenized=True)
    assert text.text == " ".join(words) and [word.text for word in text.words] == words
    assert all(text.text[word.start : word.end] == word.text for word in text.words)


@pytest.mark.parametrize("line, message", [
    ('{"tokens": ["Anna"', r"not JSON \(Expecting ',' delimiter\); expected \{\"tokens\": "),
    ('{"words": ["Anna"]}', "no list of strings under 'tokens'; expected "),
    ('{"tokens": "Anna"}', "no list of strings under 'tokens'"),
    ('{"tokens": ["Anna", 3]}', "no list of strings under 'tokens'"),
    ('{"tokens": ["Anna", ""]}', "word 2 is empty; expected only words under 'tokens'"),
    ('{"tokens": ["Anna\\tBern"]}', r"'\\t' inside word 1, 'Anna\\tBern'; expected a word without it"),
    ('{"tokens": ["\\ud800"]}', r"'\\ud800' inside word 1"),
    ('{"tokens": ' + "[" * 100_000, "not JSON"),
    ("a\udcff", "is not UTF-8"),
])
def test_words_that_are_refused(trained, line, message):
    with pytest.raises(UserError, match=f"^standard input:2: .*{message}") as caught:
        list(tag_module.read_texts(["Anna", line], "standard input:", pretokenized=True))
    assert "\n" not in str(caught.value)


# ---- threshold


def test_entities_below_the_threshold_are_left_out():
    tagged = tag_module.TaggedText("Anna Keller in Bern Genf", split_words("Anna Keller in Bern Genf"),
                                   ["B-PER", "I-PER", "O", "I-LOC", "B-LOC"], [0.5, 1.0, 0.1, 0.75, 0.25])
    expected = {0: 3, 0.25: 3, 0.3: 2, 0.75: 2, 0.76: 0, 1: 0}
    assert {p: len(tag_module.entities_of(tag_module.without_doubtful(tagged, p))) for p in expected} == expected
    assert tag_module.without_doubtful(tagged, 0.3).tags == ["B-PER", "I-PER", "O", "I-LOC", "O"]
    assert tag_module.without_doubtful(tagged, 0) == tagged


@given(st.lists(st.tuples(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC"]), st.floats(0, 1))), st.floats(0, 1))
def test_the_other_entities_stay_what_they_are(rows, threshold):
    text = "a " * len(rows)
    tagged = tag_module.TaggedText(text, split_words(text), [tag for tag, _ in rows], [score for _, score in rows])
    kept = [entity for entity in tag_module.entities_of(tagged) if entity["score"] >= threshold]
    assert tag_module.entities_of(tag_module.without_doubtful(tagged, threshold)) == kept


# ---- forms of output


def test_columns(trained):
    assert tag_module.as_columns(tag(trained, "Anna wohnt.")[0]) == "Anna\tB-PER\nwohnt\tO\n.\tO\n"
    assert tag_module.as_columns(tag(trained, "")[0]) == ""


def test_json_has_character_offsets(trained):
    text = "Zürich 🙂: Anna  Keller, Bern"
    content = json.loads(tag_module.as_json(tag(trained, text)[0]))
    assert content["text"] == text and [e.pop("score") > 0.5 for e in content["entities"]] == [True, True]
    assert content["entities"] == [{"type": "PER", "text": "Anna  Keller", "start": 10, "end": 22},
                                   {"type": "LOC", "text": "Bern", "start": 24, "end": 28}]
    assert tag_module.as_json(tag(trained, "")[0]) == '{"text": "", "entities": []}\n'


def test_subwords(trained):
    shown = tag_module.as_subwords(tag(trained, "Anna wohne .")[0], trained)
    known = {piece: str(trained.tokenizer.convert_tokens_to_ids(piece)) for piece in "▁Anna ▁ w o h n e ▁.".split()}
    assert [line.split() for line in shown.splitlines()] == [
        ["subword", "id", "word", "tag"], ["<s>", "0", "IGN"], ["▁Anna", known["▁Anna"], "0", "B-PER"],
        ["▁", known["▁"], "1", "O"], *([c, known[c], "1", "IGN"] for c in "wohne"), ["▁.", known["▁."], "2", "O"],
        ["</s>", "2", "IGN"]]


# ---- input


def test_lines_end_at_newlines_only():
    assert list(tag_module.lines(io.StringIO("a\n\nb\u2028c \n d", newline=""))) == ["a", "", "b\u2028c ", " d"]
    assert list(tag_module.lines(io.StringIO(""))) == []


def test_byte_order_marks_and_carriage_returns_are_not_text():
    stream = io.StringIO("\ufeffBern\r\n\ufeffa\ufeffb\rc\r\n\r\n\ufeff", newline="\n")
    assert list(tag_module.lines(stream)) == ["Bern", "a\ufeffb\rc", "", ""]


def test_a_line_without_end_is_not_read_to_its_end(trained):
    stream = io.StringIO("B" * (tag_module.MAX_CHARACTERS + 5000))
    first = next(tag_module.lines(stream))
    assert len(first) == tag_module.MAX_CHARACTERS + 1
    with pytest.raises(UserError, match="is longer than"):
        tag(trained, first)


def test_lines_that_are_not_utf8():
    with pytest.raises(UserError, match="standard input is not UTF-8"):
        list(tag_module.lines(io.TextIOWrapper(io.BytesIO(b"Bern\nZ\xfcrich\n"), encoding="utf-8")))


def test_batches():
    assert list(tag_module.batches(iter("abcde"), 2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert list(tag_module.batches([])) == []
