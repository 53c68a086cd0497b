"""What board.py writes is read back: by TensorBoard's own reader, and over HTTP from a real TensorBoard server."""

import gc
import html
import io
import json
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlencode
from urllib.request import ProxyHandler, build_opener

import numpy as np
import pytest
import yaml
from matplotlib._pylab_helpers import Gcf
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import STORE_EVERYTHING_SIZE_GUIDANCE, EventAccumulator
from tensorboard.plugin_util import markdown_to_safe_html, safe_html
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.summary.writer import event_file_writer

from ner.evaluation import board
from ner.evaluation.scoring import confusion, entity_counts, entity_types, scores

NAMES = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
GOLD = np.array([1, 2, 0, 5, 0, 0, 1, 0])
PREDICTED = np.array([1, 2, 0, 3, 0, 0, 0, 0])
NASTY = "<script>alert(1)</script> </pre> ``` &lt; <!-- [x](javascript:alert(1)) # <b>ü</b>\n\n    | a |\n```\n<div>"


def score_of(gold, predicted, loss):
    """One language's part of `eval`."""
    counts = entity_counts(gold, predicted, np.array([4, 4]), NAMES)
    return {**scores(counts, entity_types(NAMES)), "loss": loss}


SCORES = {"de": score_of(GOLD, PREDICTED, 0.25), "fr": score_of(GOLD, GOLD, 0.125)}


def read(folder):
    return EventAccumulator(str(folder), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE).Reload()


def scalars(folder):
    """tag -> [(step, value), ...]"""
    events = read(folder)
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def text(folder, tag):
    [event] = read(folder).Tensors(f"{tag}/text_summary")
    return event.tensor_proto.string_val[0].decode()


def write_fork(folder, log):
    """A run killed at step 10 while it wrote, resumed at step 6, now at step 8; `log` writes one step."""
    with board.open_board(folder) as writer:
        for step in range(1, 11):
            log(writer, step, step)
    [path] = folder.glob("events.out.tfevents.*")
    path.write_bytes(path.read_bytes()[:-3])
    with board.open_board(folder, purge_step=6) as writer:
        for step in range(6, 9):
            log(writer, step, 100 + step)


FORK = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 106), (7, 107), (8, 108)]


def test_training_and_scores_have_exactly_these_tags_steps_and_values(tmp_path):
    with board.open_board(tmp_path) as writer:
        board.log_step(writer, 1, 2.5, 5e-5, 1.75, 320.0)
        board.log_step(writer, 2, 1.5, 4e-5, float("inf"), 330.0)
        board.log_validation(writer, 2, SCORES, 0.75)
        board.log_f1(writer, 2, "test_f1", SCORES, 0.625)
    expected = {
        "train/loss": [(1, 2.5), (2, 1.5)],
        "train/learning_rate": [(1, 5e-5), (2, 4e-5)],
        "train/grad_norm": [(1, 1.75), (2, float("inf"))],
        "train/sentences_per_second": [(1, 320.0), (2, 330.0)],
        # German: PER right, LOC taken for ORG, PER missed
        "f1/de": [(2, 2 / 5)], "precision/de": [(2, 1 / 2)], "recall/de": [(2, 1 / 3)], "loss/de": [(2, 0.25)],
        "f1_PER/de": [(2, 2 / 3)], "f1_ORG/de": [(2, 0)], "f1_LOC/de": [(2, 0)],
        "f1/fr": [(2, 1)], "precision/fr": [(2, 1)], "recall/fr": [(2, 1)], "loss/fr": [(2, 0.125)],
        "f1_PER/fr": [(2, 1)], "f1_LOC/fr": [(2, 1)],  # no ORG in gold or prediction
        "f1/mean": [(2, 0.75)],
        "test_f1/de": [(2, 2 / 5)], "test_f1/fr": [(2, 1)], "test_f1/mean": [(2, 0.625)],
    }
    assert scalars(tmp_path) == {tag: [(step, np.float32(value)) for step, value in points]
                                 for tag, points in expected.items()}
    assert [path for path in tmp_path.rglob("*") if path.is_dir()] == []  # one run, no run a key


@pytest.mark.slow
def test_a_resumed_run_continues_its_curves(tmp_path):
    write_fork(tmp_path, lambda writer, step, value: board.log_step(writer, step, value, value, value, value))
    assert scalars(tmp_path) == {f"train/{key}": FORK
                                 for key in ("loss", "learning_rate", "grad_norm", "sentences_per_second")}


@pytest.mark.slow
def test_a_run_resumed_at_once_is_read_in_the_order_of_writing(tmp_path, monkeypatch):
    """Names of event files end in second, host, process, number of the writer; readers sort them, 10 before 9."""
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(9))
    for part, purge_step in enumerate((None, 2)):
        with board.open_board(tmp_path, purge_step) as writer:
            for step in (1, 2, 3)[part:]:
                board.log_f1(writer, step, "test_f1", {}, part)
    assert scalars(tmp_path) == {"test_f1/mean": [(1, 0), (2, 1), (3, 1)]}


ODD = ("de", "de_CH", "d.", "zh/tw", "zh%2Ftw", "a b", "mean", "", "$x^", "Züri", "ไทย",
       "a\nb", "\ud800", "<i>", "x" * 300, "(")


def test_every_name_has_its_own_tag(tmp_path):
    odd = {lang: {**SCORES["fr"], "f1": i / 64, "by_type": {lang: {"f1": i / 64}}} for i, lang in enumerate(ODD)}
    with board.open_board(tmp_path) as writer:
        board.log_validation(writer, 7, odd, 0.75)
        board.log_options(writer, {}, list(odd))
        names = ["O", "B-$\\frac{^$", "I-" + "x" * 9999]
        board.log_confusion(writer, 7, "zh/$tw^", "test", np.eye(3, dtype=int), names)
    events = read(tmp_path)
    assert events.Tags()["images"] == ["confusion_test/zh%2F$tw^"]
    found = scalars(tmp_path)
    for i, lang in enumerate(ODD):
        part = board.tag_part(lang)
        assert found.pop(f"f1/{part}") == [(7, i / 64)] and found.pop(f"f1_{part}/{part}") == [(7, i / 64)]
        assert part.isprintable() and "/" not in part
    assert found.pop("f1/mean") == [(7, 0.75)]
    assert Counter(tag.split("/")[0] for tag in found) == {key: len(ODD) for key in ("precision", "recall", "loss")}
    assert [board.tag_part(lang) for lang in ODD[:11]] == [
        "de", "de_CH", "d.", "zh%2Ftw", "zh%252Ftw", "a b", "%6Dean", "", "$x^", "Züri", "ไทย"]

    [stored] = events.Tensors("custom_scalars__config__")
    tags = [*events.Tags()["scalars"], "train/loss"]
    shown = {category.title: {chart.title: [[tag for tag in tags if re.match(pattern, tag)]
                                            for pattern in chart.multiline.tag] for chart in category.chart}
             for category in Layout.FromString(stored.tensor_proto.string_val[0]).category}
    parts = [board.tag_part(lang) for lang in ODD]
    f1, loss = ([[f"{key}/{part}"] for part in parts] for key in ("f1", "loss"))
    assert list(shown) == ["F1 on validation", "loss in nats per word", "all languages"]
    assert list(shown["F1 on validation"].items()) == [
        ("mean", [["f1/mean"]]), *((part, [tag]) for part, tag in zip(parts, f1))]
    assert list(shown["loss in nats per word"].items()) == [
        ("training", [["train/loss"]]), *((part, [tag]) for part, tag in zip(parts, loss))]
    assert shown["all languages"] == {"F1 on validation": f1, "loss on validation": loss}


def test_options_are_the_yaml_of_a_recipe_in_their_order(tmp_path):
    options = {"model": "e5-small", "fractions": {"de": 0.629}, "train_langs": ["de", "no"], "data_dir": NASTY}
    with board.open_board(tmp_path) as writer:
        board.log_options(writer, options, ["de"])
    shown = text(tmp_path, "options")
    body = html.unescape(re.fullmatch(r"<pre>\n(.*)\n</pre>", shown, re.DOTALL)[1])
    assert yaml.safe_load(body) == options and list(yaml.safe_load(body)) == list(options)
    assert "<script>" not in shown and "model: e5-small\nfractions:\n  de: 0.629\n" in shown


@pytest.mark.parametrize("content", ["a  b\n  c\n\nd", NASTY, "</pre><img src=x>", "~~~\n<!-- ", "\udc80 <?php ]]>"])
@pytest.mark.parametrize("render", [markdown_to_safe_html, safe_html])
def test_a_report_is_shown_as_it_is(tmp_path, content, render):
    with board.open_board(tmp_path) as writer:
        board.log_report(writer, 3, "report/de", content)
    shown = re.fullmatch(r"<pre>\n?(.*)\n</pre>\s*", render(text(tmp_path, "report/de")), re.DOTALL)[1]
    assert "<" not in shown
    assert html.unescape(shown) == content.replace("\udc80", "\\udc80")


def test_classification_report():
    assert board.classification_report(SCORES["de"]).split("\n") == [
        "                    precision    recall      f1    support",
        "PER                    1.0000    0.5000  0.6667          2",
        "ORG                    0.0000    0.0000  0.0000          0",
        "LOC                    0.0000    0.0000  0.0000          1",
        "micro average          0.5000    0.3333  0.4000          3",
        "macro average          0.3333    0.1667  0.2222          3",
        "weighted average       0.6667    0.3333  0.4444          3",
    ]
    nothing = board.classification_report(score_of(np.zeros(8, int), np.zeros(8, int), 0.5))
    assert nothing.split("\n")[1].split() == ["micro", "average", "0.0000", "0.0000", "0.0000", "0"]


def test_the_confusion_matrix_is_an_image_of_its_language(tmp_path):
    matrix = confusion(GOLD, PREDICTED, len(NAMES))
    with board.open_board(tmp_path) as writer:
        board.log_confusion(writer, 5, "de", "validation", matrix, NAMES)
    [event] = read(tmp_path).Images("confusion_validation/de")
    assert event.step == 5
    expected = board.confusion_image(matrix, NAMES, "de, validation, step 5: 8 words")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(event.encoded_image_string))), expected)


def test_rows_are_gold_and_columns_predicted():
    """Three gold O taken for B-X: one dark cell at the top right; the row without gold words divides nothing by 0."""
    with np.errstate(all="raise"):
        image = board.confusion_image(np.array([[0, 3], [0, 0]]), ["O", "B-X"], "title")
    height, width = image.shape[:2]
    full = (image == [8, 48, 107]).all(axis=2)[:, : int(0.8 * width)]  # without the colour bar
    rows, columns = np.nonzero(full)
    assert full.sum() > 0.1 * height * width
    assert rows.max() < 0.5 * height and columns.min() > 0.4 * width
    with pytest.raises(ValueError, match=r"shape \(2, 3\) for 2 tags: expected \(2, 2\)"):
        board.confusion_image(np.zeros((2, 3), int), ["O", "B-X"], "title")


@pytest.mark.parametrize("names", [["O"], NAMES[:3], NAMES, [f"B-location-{i}" for i in range(41)]])
def test_nothing_of_the_picture_is_cut_off(names):
    image = board.confusion_image(np.full((len(names), len(names)), 1234567), names, "de, validation, step 1,000")
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert image.dtype == np.uint8 and (edge == 255).all()
    ink = (image < 128).any(axis=2).any(axis=0)
    first = np.flatnonzero(ink)[0]
    assert first < 12 and not ink[first + 25 :].all()  # the axis label stands at the left


@pytest.mark.slow
def test_pictures_leave_no_open_figure():
    board.confusion_image(np.eye(3, dtype=int), NAMES[:3], "title")
    gc.collect()
    assert not Gcf.figs and not [thing for thing in gc.get_objects() if type(thing) is Figure]


@contextmanager
def tensorboard(folder, loader):
    """A TensorBoard server on `folder`; yields a function that fetches a path (bytes)."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "127.0.0.1", "--port", "0",
               "--load_fast", loader]
    log = folder.parent / "server.log"
    with open(log, "w") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        try:
            address = wait_for(lambda: re.search(r"http://127\.0\.0\.1:\d+/", log.read_text()), server, log)[0]
            opener = build_opener(ProxyHandler({}))

            def fetch(path, **query):
                with opener.open(f"{address}data/{path}?{urlencode(query)}", timeout=30) as answer:
                    return answer.read()

            fetch.wait = lambda condition: wait_for(condition, server, log)
            yield fetch
        finally:
            server.kill()


def wait_for(condition, server, log, seconds=60):
    """The first true value of `condition()`; fails after `seconds` or when the server has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        if value := condition():
            return value
        time.sleep(0.2)
    pytest.fail(f"TensorBoard: exit status {server.poll()}, waited up to {seconds} s\n{log.read_text()}")


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["auto", "false"])  # TensorBoard's loader in Rust, where installed, and in Python
def test_a_real_server_serves_all_of_it(tmp_path, loader):
    folder, report = tmp_path / "run", board.classification_report(SCORES["de"])
    matrix = confusion(GOLD, PREDICTED, len(NAMES))

    def log(writer, step, value):
        if value in (1, 106):  # the resumed run writes them again
            board.log_options(writer, {"data_dir": NASTY, "epochs": 3}, list(SCORES))
        board.log_step(writer, step, value, 5e-5, 1.0, 300.0)
        if step % 4 == 0:
            board.log_validation(writer, step, SCORES, 0.7)
            board.log_report(writer, step, "report_validation/de", report)
            board.log_confusion(writer, step, "de", "validation", matrix, NAMES)
        if value == 108:
            board.log_f1(writer, step, "test_f1", SCORES, 0.7)

    write_fork(folder, log)
    with tensorboard(folder, loader) as fetch:
        def get(path, **query):
            return json.loads(fetch(path, **query))

        fetch.wait(lambda: "test_f1/mean" in get("plugin/scalars/tags").get(".", {}))  # the last event written
        assert get("runs") == ["."]
        assert set(get("plugin/scalars/tags")["."]) == {
            "train/loss", "train/learning_rate", "train/grad_norm", "train/sentences_per_second",
            *(f"{key}/{lang}" for lang in SCORES for key in ("f1", "precision", "recall", "loss", "test_f1")),
            "f1_PER/de", "f1_ORG/de", "f1_LOC/de", "f1_PER/fr", "f1_LOC/fr", "f1/mean", "test_f1/mean"}
        losses = get("plugin/scalars/scalars", run=".", tag="train/loss")
        assert [(step, value) for _, step, value in losses] == FORK

        patterns = [[chart["multiline"]["tag"] for chart in category["chart"]]
                    for category in get("plugin/custom_scalars/layout")["category"]]
        assert patterns == [[["f1/mean$"], ["f1/de$"], ["f1/fr$"]], [["train/loss$"], ["loss/de$"], ["loss/fr$"]],
                            [["f1/de$", "f1/fr$"], ["loss/de$", "loss/fr$"]]]
        overlaid = get("plugin/custom_scalars/scalars", run=".", tag="f1/de$")
        assert {tag: len(points) for tag, points in overlaid["tag_to_events"].items()} == {"f1/de": 2}

        assert sorted(get("plugin/text/tags")["."]) == ["options/text_summary", "report_validation/de/text_summary"]
        options = get("plugin/text/text", run=".", tag="options/text_summary")[-1]["text"]
        assert set(re.findall(r"<(\w+)", options)) == {"table", "tbody", "tr", "td", "pre"}  # none of a value's
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in options and "epochs: 3" in options
        shown = get("plugin/text/text", run=".", tag="report_validation/de/text_summary")
        assert [text["step"] for text in shown] == [4, 8] and all(report in text["text"] for text in shown)

        assert list(get("plugin/images/tags")["."]) == ["confusion_validation/de"]
        images = get("plugin/images/images", run=".", tag="confusion_validation/de", sample=0)
        assert [image["step"] for image in images] == [4, 8]
        picture = Image.open(io.BytesIO(fetch("plugin/images/individualImage", **dict(parse_qsl(images[-1]["query"])))))
        expected = board.confusion_image(matrix, NAMES, "de, validation, step 8: 8 words")
        np.testing.assert_array_equal(np.asarray(picture), expected)
