"""Words and types that try to break out of HTML, TSV and TensorBoard, from a file to everything that is written."""

import html
import json
import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugin_util import markdown_to_safe_html

import evaluate
import train
from ner.evaluation.predictions import read_predictions
from tests.helpers import runs
from tests.helpers.pages import Page
from tests.helpers.results import fake_results, scores

WORDS = ["<script>alert(1)</script>", "</td>", '"><img', "src=x>", "=1+1", "+A1", "@SUM(1)", "a\rb", "\r", "&amp;", "'",
         "\\t", "a\u2028b", "\x1b[2J", "</pre>", "</style>", "-->", "${x}", "{{x}}", "`x`", "|",
         "[x](javascript:alert(1))"]
TYPES = ["X<b>", "<script>alert(2)</script>", "[x](javascript:alert(3))", "A|B", "&lt;", "../../evil", "$x^"]
# what may not be there; a report's own pictures may
OUTBREAK = r'<(script|iframe|style|img(?! alt="[^"<>]*" src="figures/))|href="javascript:'
TAGS = ["O", *(f"{start}-{kind}" for kind in TYPES for start in "BI")]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A run on such sentences, its error analysis and its report."""
    folder = tmp_path_factory.mktemp("nasty")
    recipe = runs.make_recipe(folder / "small", epochs=1, eval_langs=["de"], tags=TAGS)
    rows = [f"de:{word}\t{TAGS[1 + i % (len(TAGS) - 1)]}\n" for i, word in enumerate(WORDS)]
    for split in ("train", "validation", "test"):
        path = folder / "small" / "data" / "de" / f"{split}.tsv"
        path.write_text("".join([*rows, "\n"] * 3), encoding="utf-8", newline="\n")
    assert train.main(runs.arguments(recipe, folder / "run")) == 0
    assert evaluate.main(["errors", str(folder / "run"), "--output_dir", str(folder / "errors")]) == 0
    assert evaluate.main(["report", str(folder / "run")]) == 0
    return folder


@pytest.mark.slow
def test_predictions_hold_the_words_as_they_are(written):
    path = written / "run" / "predictions" / "test.de.tsv"
    rows = [line.split("\t") for line in path.read_bytes().decode().split("\n")]
    assert [row[0] for row in rows] == [*WORDS, ""] * 3 + [""]
    assert {len(row) for row in rows if row != [""]} == {3}
    assert [one.words for one in read_predictions(path)] == [WORDS] * 3


@pytest.mark.slow
def test_the_page_shows_them_and_runs_nothing(written):
    text = (written / "errors" / "errors.html").read_bytes().decode()
    page = Page(text)
    assert set(page.tags) <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "a", "mark",
                              "span", "sub", "small", "div", "table", "tr", "th", "td", "ol", "li", "fieldset",
                              "legend", "label", "input", "bdi"}
    assert {value for name, value in page.attributes if name == "type"} == {"radio"}
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "action", "formaction")]
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
    assert all(word in page.text for word in WORDS) and all(kind in page.text for kind in TYPES)


def unescaped(cell: str) -> str:
    return re.sub(r"\\(.)", lambda m: {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}[m[1]], cell)


@pytest.mark.slow
def test_tables_keep_their_cells_and_lose_nothing(written):
    for path in sorted((written / "errors").glob("*.tsv")):
        rows = [line.split("\t") for line in path.read_bytes().decode().split("\n")[:-1]]
        assert {len(row) for row in rows} == {len(rows[0])}, path
        assert not any("\r" in cell for row in rows for cell in row), path
    header, *rows = [line.split("\t") for line in (written / "errors" / "sentences.tsv").read_text().split("\n")[:-1]]
    assert [unescaped(row[header.index("words")]) for row in rows] == [" ".join(WORDS)] * 3


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["run", "errors", "run/report"])
def test_tensorboard_shows_text_only(written, folder):
    events = EventAccumulator(str(written / folder)).Reload()
    texts = [tag for tag in events.Tags()["tensors"] if tag.endswith("/text_summary")]
    assert texts
    for tag in texts:
        [event, *_] = events.Tensors(tag)
        source = event.tensor_proto.string_val[0].decode()
        shown = markdown_to_safe_html(source)
        assert not re.search(OUTBREAK, shown), tag
        if source.startswith("<pre>"):
            inner = re.fullmatch(r"<pre>\n(.*)\n</pre>", source, re.DOTALL)[1]
            assert "<" not in inner, tag
    everything = "".join(events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in texts)
    assert all(html.escape(kind, quote=False) in everything for kind in TYPES[:2])


@pytest.mark.slow
def test_tags_of_tensorboard_have_two_parts(written):
    """A type with slashes is one part of a tag, not a path."""
    scalars = EventAccumulator(str(written / "run")).Reload().Tags()["scalars"]
    assert "f1_..%2F..%2Fevil/de" in scalars and "f1_X<b>/de" in scalars
    assert all(tag.count("/") == 1 for tag in scalars)


@pytest.mark.slow
def test_nothing_is_written_outside_the_folders(written):
    assert sorted(path.name for path in written.iterdir()) == ["errors", "run", "small"]
    assert not list(written.parent.glob("*evil*"))
    card = (written / "run" / "model" / "README.md").read_text()
    assert "<script" not in card and "X&lt;b&gt;, &lt;script&gt;" in card
    assert json.loads((written / "run" / "results.json").read_text())["eval"]["test"]["de"]["words"] == 3 * len(WORDS)


def test_a_report_on_results_from_elsewhere_writes_into_its_own_folder(tmp_path):
    """The name of a language in results.json is also the name of a plot."""
    lang = "../../../evil"
    for count in (100, 200):
        results = fake_results("fr-250")
        results["options"] |= {"train_langs": [lang], "eval_langs": [lang], "validation_langs": None}
        results["train"] |= {"langs": [lang], "sentences": count, "epochs": []}
        results["eval"] = {"test": {lang: scores(count / 400, 300), "mean_f1": count / 400}}
        (tmp_path / "a" / "runs" / str(count)).mkdir(parents=True)
        (tmp_path / "a" / "runs" / str(count) / "results.json").write_text(json.dumps(results))
    before = set(tmp_path.rglob("*"))
    assert evaluate.main(["report", str(tmp_path / "a" / "runs")]) == 0
    new = set(tmp_path.rglob("*")) - before
    assert tmp_path / "a" / "runs" / "figures" / "learning_curve_..%2F..%2F..%2Fevil.png" in new
    assert all(path.is_relative_to(tmp_path / "a" / "runs") for path in new)
