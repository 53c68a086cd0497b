"""Tables and page of the error analysis: small exact examples, the published counts, sentences that try to escape."""

import itertools
import json
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ner.analysis import errors
from ner.analysis.errors import containing, loss_table
from ner.analysis.kinds import KINDS, kind_table, pairs
from ner.analysis.page import errors_of, level, marked
from ner.data import corpora
from ner.data.alignment import Window
from ner.data.encoded import Encoded, encode
from ner.evaluation import scoring
from ner.evaluation.predict import Predictions
from ner.evaluation.predictions import TaggedSentence
from ner.model import pretrained
from ner.options import Options
from ner.tags import PANX_TYPES, spans, tag_set
from tests.helpers.clock import best
from tests.helpers.pages import Page

TAGS = tag_set(PANX_TYPES)
NASTY = ["<script>alert(1)</script>", "a\tb\nc\\", "</ol>&amp;\"'", "\ud800", "\u202eabc", "("]


class Subwords:
    """A tokenizer whose ids are their own names."""

    unk_token_id = 3

    def convert_ids_to_tokens(self, ids):
        return [f"s{i}" for i in ids]


def encoded(sentences, gold, lang="de"):
    """One window per sentence, two subwords per word: 10 and 11 for the first word, 20 and 21 for the second ..."""
    windows = []
    for words in sentences:
        ids = [10 * (1 + i // 2) + i % 2 for i in range(2 * len(words))]
        labels = [0 if i % 2 == 0 else -100 for i in range(len(ids))]
        windows.append([Window(np.array([0, *ids, 2], np.int32), np.array([-100, *labels, -100], np.int32), 0)])
    labels = np.array([TAGS.ids[tag] for tags in gold for tag in tags])
    return Encoded(sentences, labels, windows, [(lang, 7 + i) for i in range(len(sentences))])


def predictions(tags, loss):
    labels = np.array([TAGS.ids[tag] for sentence in tags for tag in sentence])
    return Predictions(labels, np.array(loss, np.float32), np.full(len(labels), 0.5, np.float32), labels)


GOLD = [["B-PER", "I-PER", "O"], ["O", "B-LOC"]]
PREDICTED = [["B-PER", "O", "O"], ["O", "B-ORG"]]
LOSS = [0.5, 2.0, 0.25, 0.125, 4.0]
SENTENCES = [["Ada", "Lovelace", "("], ["in", "Bern"]]


@pytest.fixture
def analysis():
    return errors.analyse(encoded(SENTENCES, GOLD), predictions(PREDICTED, LOSS), TAGS, Subwords())


def test_loss_by_first_subword_and_by_tag(analysis):
    assert analysis.subwords == [("s20", 2, 3.0, 6.0), ("s10", 2, 0.3125, 0.625), ("s30", 1, 0.25, 0.25)]
    assert analysis.tags == [
        ("B-LOC", 1, 4.0, 4.0), ("I-PER", 1, 2.0, 2.0), ("B-PER", 1, 0.5, 0.5), ("O", 2, 0.1875, 0.375)]


def test_the_highest_summed_loss_comes_first(analysis):
    assert [(one.row, one.loss) for one in analysis.sentences] == [(8, [0.125, 4.0]), (7, [0.5, 2.0, 0.25])]
    assert analysis.sentences[0] == (["in", "Bern"], ["O", "B-LOC"], ["O", "B-ORG"], [0.125, 4.0], [0.5, 0.5], "de", 8)


def test_confusion_has_gold_rows(analysis):
    expected = np.zeros((7, 7), int)
    expected[0, 0], expected[1, 1], expected[2, 0], expected[5, 3] = 2, 1, 1, 1
    assert np.array_equal(analysis.confusion, expected)


def test_ties_are_in_the_order_of_their_names():
    assert loss_table(["b", "a", "c"], [1, 1, 2]) == [("c", 1, 2.0, 2.0), ("a", 1, 1.0, 1.0), ("b", 1, 1.0, 1.0)]


@pytest.mark.parametrize("tags, expected", [
    ("O O", []),
    ("B-PER I-PER O B-PER B-PER", [(0, 2, "PER"), (3, 4, "PER"), (4, 5, "PER")]),
    ("I-PER I-LOC I-LOC O I-LOC", [(0, 1, "PER"), (1, 3, "LOC"), (4, 5, "LOC")]),
])
def test_spans(tags, expected):
    assert spans(tags.split()) == expected


@pytest.mark.parametrize("gold, predicted, kinds", [
    ("B-PER I-PER", "B-PER I-PER", ["correct"]),
    ("B-PER I-PER", "B-ORG I-ORG", ["type"]),
    ("B-PER I-PER", "B-PER O", ["boundary"]),
    ("B-PER I-PER", "B-ORG O", ["both"]),
    ("B-PER O", "O O", ["missed"]),
    ("O O", "O B-PER", ["spurious"]),
    ("B-PER O", "O B-PER", ["missed", "spurious"]),
    ("B-PER I-PER I-PER", "B-PER B-PER I-PER", ["boundary", "spurious"]),
    ("B-PER B-ORG", "B-ORG I-ORG", ["boundary", "missed"]),  # the same type before another
    ("B-PER I-PER B-ORG", "B-LOC I-LOC I-LOC", ["both", "missed"]),
])
def test_kinds_of_error(gold, predicted, kinds):
    assert [kind for kind, _, _ in pairs(spans(gold.split()), spans(predicted.split()))] == kinds


def test_the_longer_overlap_is_the_partner():
    [first, second] = pairs([(0, 4, "PER")], [(0, 1, "PER"), (1, 5, "PER")])
    assert first == ("boundary", (0, 4, "PER"), (1, 5, "PER")) and second == ("spurious", None, (0, 1, "PER"))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TAGS.names), st.sampled_from(TAGS.names)), min_size=1, max_size=12))
def test_every_entity_has_one_kind_and_scoring_counts_the_same(tagged):
    gold, predicted = zip(*tagged)
    rows = kind_table([(gold, predicted)], TAGS.types)
    counts = scoring.entity_counts(np.array([TAGS.ids[tag] for tag in gold]),
                                   np.array([TAGS.ids[tag] for tag in predicted]),
                                   np.array([len(gold)]), TAGS.names)[0]
    for (_, in_gold, in_predicted, correct, wrong_type, boundary, both, missed, spurious), of_type in zip(rows, counts):
        assert [correct, in_predicted, in_gold] == of_type.tolist()
        assert in_gold == correct + wrong_type + boundary + both + missed
    name, in_gold, in_predicted, correct, wrong_type, boundary, both, missed, spurious = rows[-1]
    assert name == "all" and in_predicted == correct + wrong_type + boundary + both + spurious


def test_containing(analysis):
    assert [one.row for one in containing(analysis.sentences, "(")] == [7]
    assert [one.row for one in containing(analysis.sentences, "lovelace")] == []
    assert [one.row for one in containing(analysis.sentences, "Ada Love")] == [7]
    assert len(containing(analysis.sentences, None)) == 2


@pytest.mark.slow
def test_the_published_counts_of_german_pan_x(shared):
    options = Options(data_dir=str(shared / "panx"), fractions={"de": 0.629}, tags=list(TAGS.names))
    corpus, tags = corpora.load(options, {"validation": ["de"]})
    source = pretrained.folder_of(options.model)
    tokenizer = pretrained.load_tokenizer(source, pretrained.load_config(source))
    data = encode(corpus["validation"]["de"], tokenizer, 512, 256)
    ones = np.ones(len(data.gold))
    found = errors.analyse(data, Predictions(data.gold, ones, ones, data.gold), tags, tokenizer)
    published = json.loads((shared / "chapter4" / "expected.json").read_text())["error_analysis_de_validation"]
    by_subword = {name: count for name, count, _, _ in found.subwords}
    assert ({name: by_subword[name] for name in published["token_counts_published"]}
            == published["token_counts_published"])
    assert {name: count for name, count, _, _ in found.tags} == published["label_counts_published"]
    assert found.confusion.sum() == np.trace(found.confusion) == sum(published["label_counts_published"].values())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Files of an analysis of two languages, one of them with sentences that try to break out."""
    tags = [["B-PER", "I-PER", "O", "B-LOC", "O", "I-LOC"]]
    nasty = errors.analyse(encoded([NASTY], tags, "<b>"), predictions([["B-PER", "O", "B-ORG", "B-LOC", "I-LOC", "O"]],
                           [0.1, 2.34, 1, 0, 1, 1]), TAGS, Subwords())
    folder = tmp_path_factory.mktemp("errors")
    plain = errors.analyse(encoded(SENTENCES, GOLD), predictions(PREDICTED, LOSS), TAGS, Subwords())
    errors.write_errors(folder, "Errors of <i>", "validation", {"de": plain, "<b>/": nasty}, TAGS, shown=1)
    return folder


def rows(path):
    lines = path.read_bytes().decode().split("\n")
    assert lines.pop() == ""
    return [line.split("\t") for line in lines]


def test_tables_have_one_line_a_row_and_as_many_cells_as_names(written):
    sizes = {}
    for path in sorted(written.glob("*.tsv")):
        table = rows(path)
        assert {len(row) for row in table} == {len(table[0])}, path
        sizes[path.name] = len(table) - 1
    assert sizes == {"confusion.tsv": 14, "error_kinds.tsv": 8, "loss_by_subword.tsv": 9, "loss_by_tag.tsv": 9,
                     "sentences.tsv": 3}
    assert rows(written / "sentences.tsv")[1] == [
        "de", "validation", "8", "4.1250", "2.0625", "in Bern", "O B-LOC", "O B-ORG", "0.125 4.000"]
    assert "a\\tb\\nc\\\\" in rows(written / "sentences.tsv")[3][5]
    assert rows(written / "confusion.tsv")[3] == ["de", "I-PER", "1", "0", "0", "0", "0", "0", "0"]


def test_the_page_runs_nothing_loads_nothing_and_shows_all_text(written):
    text = (written / "errors.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "img", "link", "iframe", "i", "b", "object", "base"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in ("src", "action") or name.startswith("on")]
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
    assert not re.search(r"url\(|@import|https?:", text)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert ("name", "viewport") in page.attributes and "prefers-color-scheme:dark" in text
    for word in [*NASTY[:3], NASTY[4], "Errors of <i>"]:
        assert word in page.text
    assert page.tags.count("li") == 2  # one a language
    assert "(1 of 2)" in page.text and "(1 of 1)" in page.text


def test_the_page_marks_entities_with_their_type_and_closes_every_mark(written):
    text = (written / "errors.html").read_text(encoding="utf-8")
    assert text.count("<mark") == text.count("</mark>") == 3 + 2 + 6
    line = text[text.index('id="l0"') : text.index('id="l1"')]
    assert '<span dir="auto">in <mark class="t2">Bern<small dir="ltr">LOC</small></mark></span>' in line
    assert '<mark class="t1"><span class="wrong">Bern</span><sub>4.0</sub><small dir="ltr">ORG</small></mark>' in line


def test_an_inside_tag_without_a_beginning_opens_an_entity_on_the_page():
    tags = ["I-PER", "I-LOC", "I-LOC"]
    found = marked(TaggedSentence(["a", "b", "c"], tags, tags, [0.0, 1.0, 2.0]), tags, False)
    assert found == [("PER", "a", False, None, "PER"), ("LOC", "b", False, None, None), (None, "c", False, None, "LOC")]


def test_the_wrong_entities_of_a_sentence():
    gold = "B-PER I-PER O B-LOC O B-ORG O ? B-LOC".split()
    predicted = "B-PER O O B-ORG O B-ORG B-LOC B-PER O".split()
    words, confidence = list("abcdefghi"), [0.25, 0.75, 1.0, 0.5, 1.0, 0.6, 0.9, 1.0, 0.95]
    found = errors_of(TaggedSentence(words, gold, predicted, [0.0] * 9, confidence))
    assert found == [("type", ("LOC", "ORG"), "d", 0.5), ("boundary", ("PER",), "a b", 0.25),
                     ("missed", ("LOC",), "i", 0.95), ("spurious", ("LOC",), "g", 0.9)]
    assert [level(one.confidence) for one in found] == [1, 0, 2, 2] and level(1.0) == 2 and level(0.0) == 0


CHOICE = re.compile(r"^:root((?::has\(#\w+:checked\))+) li:not\(:has\(((?:\.\w+)+)\)\),?$", re.MULTILINE)


def test_the_buttons_leave_sentences_with_one_error_that_is_all_of_what_they_say(tmp_path):
    """What a browser shows by the page's rules, for each way to press the buttons, and what it should show."""
    rng = random.Random(0)
    gold, predicted = ([[rng.choice(TAGS.names) for _ in range(4)] for _ in range(60)] for _ in range(2))
    tagged = Predictions(*(np.array(values) for values in (
        [TAGS.ids[tag] for tags in predicted for tag in tags], [1.0] * 240, [rng.random() for _ in range(240)],
        [0] * 240)))
    found = errors.analyse(encoded([["a", "b", "c", "d"]] * 60, gold), tagged, TAGS, Subwords())
    errors.write_errors(tmp_path, "t", "validation", {"de": found}, TAGS)
    text = (tmp_path / "errors.html").read_text(encoding="utf-8")
    rules = [(set(re.findall(r"#(\w+)", buttons)), set(classes[1:].split("."))) for buttons, classes in
             CHOICE.findall(text)]
    items = [[set(one.split()) for one in re.findall(r'class="error ([^"]*)"', item)]
             for item in re.findall("<li>.*?</li>", text, re.DOTALL)]
    ids = re.findall(r'<input type="radio" name="(\w)" value="(\d+)" id="(\w+)">([^<]*)</label>', text)
    assert [name for letter, _, _, name in ids if letter == "k"] == list(KINDS[1:]) and len(items) == 60
    assert [name for letter, _, _, name in ids if letter == "e"] == ["PER", "ORG", "LOC"]
    bounds = {"c0": (0, 0.5), "c1": (0.5, 0.9), "c2": (0.9, 2)}
    names = {id: name for _, _, id, name in ids}
    counts = set()
    for chosen in itertools.product(*([None, *(id for letter, _, id, _ in ids if letter == one)] for one in "kec")):
        pressed = {id for id in chosen if id}
        shown = [not any(buttons <= pressed and not any(classes <= error for error in item)
                         for buttons, classes in rules) for item in items]
        kind, entity, sure = chosen
        assert shown == [not pressed or any(
            (kind is None or error.kind == names[kind]) and (entity is None or names[entity] in error.types)
            and (sure is None or bounds[sure][0] <= error.confidence < bounds[sure][1])
            for error in errors_of(sentence)) for sentence in found.sentences], chosen
        counts.add(sum(shown))
    assert len(counts) > 20 and len(rules) == 6 * 4 * 4 - 1


def test_the_buttons_can_be_used_with_a_keyboard_and_a_screen_reader(written):
    text = (written / "errors.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("fieldset") == page.tags.count("legend") == 3
    assert page.tags.count("input") == page.tags.count("label") == 6 + 4 + 4
    assert re.findall("<legend>(.*?)</legend><label><input ([^>]*)>all</label>", text) == [
        (legend, f'type="radio" name="{name}" value="all" checked')
        for legend, name in (("kind of error", "k"), ("entity type", "e"), ("confidence", "c"))]
    assert "tabindex" not in text and text.count(" checked") == 3


def test_pictures_and_tensorboard(written):
    assert imread(written / "confusion.de.png").shape[0] > 300
    assert (written / "confusion.<b>%2F.png").is_file()
    events = EventAccumulator(str(written)).Reload()
    assert sorted(events.Tags()["images"]) == ["confusion_validation/<b>%2F", "confusion_validation/de"]
    [text] = events.Tensors("errors_validation/error_kinds/de/text_summary")
    assert "boundary" in text.tensor_proto.string_val[0].decode()


def test_a_filter_chooses_sentences_but_not_tables(tmp_path, analysis):
    errors.write_errors(tmp_path, "t", "validation", {"de": analysis}, TAGS, contains="<")
    assert len(rows(tmp_path / "sentences.tsv")) == 1 and len(rows(tmp_path / "loss_by_tag.tsv")) == 5
    assert "with “&lt;”" in (tmp_path / "errors.html").read_text()


@pytest.mark.slow
def test_the_time_grows_with_the_sentences():
    def analyse(count):
        rng = random.Random(0)
        gold = [[rng.choice(TAGS.names) for _ in range(10)] for _ in range(count)]
        data = encoded([["w"] * 10] * count, gold)
        predicted = predictions([tags[::-1] for tags in gold], rng.choices(range(9), k=10 * count))
        return lambda: errors.analyse(data, predicted, TAGS, Subwords())

    few, many = analyse(600), analyse(6000)
    assert best(many) < 30 * best(few)
    found = many()
    assert sum(count for _, count, _, _ in found.subwords) == 60_000 and len(found.sentences) == 6000
