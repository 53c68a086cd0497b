"""Tagged texts as a page: between the marks is the text, whatever is in it, and the page does nothing but show it."""

import html
import io
import json
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.data.text import split_words
from ner.inference.page import pieces, write_tagged
from ner.inference.tag import TaggedText, entities_of
from tests.helpers.commands import call, refused
from tests.helpers.known import make_run
from tests.helpers.pages import Page

TYPES = ("PER", "ORG", "LOC")
TAGS = ["O", *(start + kind for kind in TYPES for start in ("B-", "I-"))]
ROW = re.compile(r'<li class="row"><span>(\d+)</span><span lang="" dir="auto">(.*?)</span></li>', re.DOTALL)
MARK = re.compile(r'<mark class="t(\d+)">([^<]*)<small dir="ltr">([^<]*)&nbsp;(\d\.\d\d)</small></mark>')
ATTACK = "<script>alert(1)</script> </span></li></ol><img src=x onerror=alert(2)> &lt;b&gt; {{ x }} \"'"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return make_run(folder / "run", folder)


def tagged(text, tags):
    words = split_words(text)
    return TaggedText(text, words, tags, [0.5] * len(words))


def rows(text):
    """The texts of a page, as they are shown, and their marks: colour, words, type, score."""
    found = ROW.findall(text)
    assert [int(number) for number, _ in found] == list(range(1, len(found) + 1))
    shown = [html.unescape(MARK.sub(r"\2", row)) for _, row in found]
    return shown, [[tuple(map(html.unescape, one)) for one in MARK.findall(row)] for _, row in found]


@given(st.data())
def test_the_pieces_are_all_of_the_text_and_the_marked_ones_its_entities(data):
    text = data.draw(st.text(st.characters(exclude_categories=["Cs"])))
    one = tagged(text, [data.draw(st.sampled_from(TAGS)) for _ in split_words(text)])
    assert "".join(piece for piece, _ in pieces(one)) == text
    assert [(piece, entity) for piece, entity in pieces(one) if entity] == [(e["text"], e) for e in entities_of(one)]


def test_a_page_of_a_model_with_known_answers(run, tmp_path, capsys):
    texts = ["Anna Keller wohnt in Bern.", "", "זה Bern ולא Genf", ATTACK + " Bern", "a\n  b", "Genf"]
    status, shown, _ = call(capsys, "tag", run, *texts, "--html", tmp_path / "new" / "tagged.html")
    assert status == 0 and shown == f"{tmp_path}/new/tagged.html: the texts with their entities\n"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["tagged.html"]
    text = (tmp_path / "new" / "tagged.html").read_bytes().decode()
    found, marks = rows(text)
    assert found == texts
    assert [[(words, kind, colour) for colour, words, kind, _ in row] for row in marks] == [
        [("Anna Keller", "PER", "0"), ("Bern", "LOC", "2")], [], [("Bern", "LOC", "2"), ("Genf", "LOC", "2")],
        [("Bern", "LOC", "2")], [], [("Genf", "LOC", "2")]]
    scores = [f"{entity['score']:.2f}" for entity in entities(run, capsys, *texts)]
    assert [score for row in marks for *_, score in row] == scores
    page = Page(text)
    assert set(page.tags) == {"html", "head", "meta", "title", "style", "body", "h1", "p", "mark", "ol", "li", "span",
                              "small"}
    assert {name for name, _ in page.attributes} == {"lang", "charset", "name", "content", "http-equiv", "class", "dir"}
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert "Entities found by run" in page.text and str(tmp_path) not in text


def entities(run, capsys, *texts):
    lines = call(capsys, "tag", run, *texts, "--jsonl")[1].splitlines()
    return [entity for line in lines for entity in json.loads(line)["entities"]]


def test_types_from_a_model_are_text_too(tmp_path):
    kind = "<script>alert(1)</script>"
    one = tagged("in Bern Süd", ["O", f"B-{kind}", f"I-{kind}"])._replace(confidence=[0.0, 0.75, 0.5])
    write_tagged(tmp_path / "page.html", "<b>", [one], (kind,))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags and "b" not in page.tags and page.text.count(kind) == 2
    assert rows(text) == (["in Bern Süd"], [[("0", "Bern Süd", kind, "0.62")]])


def test_thousands_of_texts_from_standard_input_and_a_threshold(run, tmp_path, capsys, monkeypatch):
    for name, more, kept in (("all", [], 1), ("none", ["--threshold", "1"], 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"in Bern {i}\n" for i in range(3000))))
        assert call(capsys, "tag", run, "-", "--html", tmp_path / name, *more)[0] == 0
        found, marks = rows((tmp_path / name).read_text())
        assert found == [f"in Bern {i}" for i in range(3000)] and {len(row) for row in marks} == {kept}


def test_texts_are_written_as_they_come(tmp_path):
    """A page longer than the memory: whatever waits to be written is a part of it."""
    def texts():
        for i in range(2000):
            yield tagged("in Bern", ["O", "B-LOC"])
            sizes.append(max(path.stat().st_size for path in tmp_path.iterdir()))

    sizes = []
    write_tagged(tmp_path / "page.html", "t", texts(), TYPES)
    assert (tmp_path / "page.html").stat().st_size - sizes[1000] > 100_000 and sizes[1000] > 100_000


def test_nothing_is_overwritten_and_a_page_is_whole_or_not_there(run, tmp_path, capsys, monkeypatch):
    path = tmp_path / "page.html"
    monkeypatch.setattr(sys, "stdin", io.StringIO("Bern\n" * 300 + '{"tokens": 1}\n'))
    said = refused(capsys, "tag", run, "-", "--pretokenized", "--html", path)
    assert said.startswith("evaluate.py: standard input:301: no list of strings") and not list(tmp_path.iterdir())
    path.write_text("mine")
    assert refused(capsys, "tag", run, "Bern", "--html", path) == (
        f"evaluate.py: {path}: already exists, perhaps with your edits; name another --html")
    assert path.read_text() == "mine"
    assert refused(capsys, "tag", run, "Bern", "--html", path / "in") == (
        f"evaluate.py: {path}/in: {path} is not a writable folder; name another --html")


@pytest.mark.parametrize("other", [["--jsonl"], ["--subwords"], ["--input", "x.txt", "--output", "out"]])
def test_one_form_at_a_time(run, tmp_path, capsys, other):
    text = [] if "--input" in other else ["Bern"]
    said = refused(capsys, "tag", run, *text, *other, "--html", tmp_path / "page.html")
    assert "not allowed with" in said or said.endswith("neither TEXT nor --jsonl, --subwords or --html with it")
    assert not list(tmp_path.iterdir())
