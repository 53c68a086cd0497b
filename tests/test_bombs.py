"""Small or sparse files that would fill the memory: each is refused in one sentence, in bounded memory."""

import gzip
import shutil
from pathlib import Path

import pytest

from tests.helpers.bombs import HUGE, LAUGHS, nested, refused, sparse
from tests.helpers.known import make_run, write_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """Folder with a run and its data."""
    folder = tmp_path_factory.mktemp("good")
    run = make_run(folder / "run", write_data(folder / "data"))
    (run / "predictions").mkdir()
    (run / "predictions" / "test.de.tsv").write_text("Bern\tB-LOC\tB-LOC\n")
    return folder


def test_recipes(tmp_path):
    (tmp_path / "laughs.yaml").write_text(f"{LAUGHS}train_langs: *i\n")
    sparse(tmp_path / "large.yaml", b"epochs: 3\n", 1 << 40)
    (tmp_path / "deep.yaml").write_text("[" * 60_000)
    for name, message in (("laughs", "an alias; repeat the value"), ("large", "longer than 65,536 characters"),
                          ("deep", "not a YAML recipe")):
        assert message in refused(tmp_path, "train", "--config", tmp_path / f"{name}.yaml", memory=30)


def test_lines_without_an_end(good, tmp_path):
    message = "the line is longer than 1,048,576 bytes"
    shutil.copytree(good, tmp_path / "good")
    sparse(tmp_path / "good" / "data" / "de" / "test.jsonl", b'{"tokens": ["', HUGE)
    assert f"test.jsonl:1: {message}" in refused(tmp_path, "evaluate", "score", good / "run", "--langs", "de",
                                                 "--data_dir", tmp_path / "good" / "data", memory=100)
    sparse(tmp_path / "exclude.tsv", b"language\tsplit\trow\thash\n", HUGE)
    assert f"exclude.tsv:2: {message}" in refused(tmp_path, "train", "--exclude", tmp_path / "exclude.tsv",
                                                  "--model", good / "run" / "model", "--max_length", 64,
                                                  "--output_dir", tmp_path / "o", memory=100)
    predictions = tmp_path / "good" / "run" / "predictions" / "test.de.tsv"
    sparse(predictions, b"Bern\tB-LOC\tB-LOC\n", HUGE)
    assert f"test.de.tsv:2: {message}" in refused(tmp_path, "evaluate", "compare", good / "run",
                                                  tmp_path / "good" / "run", memory=30)


def test_a_line_without_an_end_in_a_data_set_of_the_hubs_layout(good, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "test.jsonl").write_bytes(b'{"tokens": ["' + b"a" * HUGE)
    assert "cannot be loaded" in refused(tmp_path, "evaluate", "score", good / "run", "--langs", "de", "--dataset",
                                      tmp_path / "set", memory=1000)


@pytest.mark.parametrize("name, piece, message", [
    ("test.conll.gz", b"a O\n" * (1 << 18), "expands to more than"),
    ("test.jsonl.gz", b"\0" * (1 << 20), "test.jsonl.gz:1: the line is longer than"),
    ("test.json.gz", b"[" + b" " * (1 << 20), "not JSON"),
    ("test.json.gz", b'[{"text": "' + b"a" * (1 << 20), "longer than 1,048,576 characters"),
])
def test_gzipped_data(good, tmp_path, name, piece, message):
    (tmp_path / "data" / "de").mkdir(parents=True)
    with gzip.open(tmp_path / "data" / "de" / name, "wb") as file:
        for _ in range(100):
            file.write(piece)
    assert message in refused(tmp_path, "evaluate", "score", good / "run", "--langs", "de",
                              "--data_dir", tmp_path / "data")


@pytest.mark.parametrize("write, message", [
    (lambda path: path.write_text(f"---\n{LAUGHS}configs: *i\n---\n"), "its card has more than 1,000,000 values"),
    (lambda path: path.write_text(f"---\n{LAUGHS}dataset_info: *i\n---\n"), "its card has more than 1,000,000 values"),
    (lambda path: path.write_text("---\nconfigs: &a [*a]\n---\n"), "cannot be loaded (RecursionError"),
    (lambda path: sparse(path, b"---\n", 1 << 40), "README.md: is larger than 8,388,608 bytes"),
])
def test_cards_of_data_sets(good, tmp_path, write, message):
    (tmp_path / "set").mkdir()
    write(tmp_path / "set" / "README.md")
    assert message in refused(tmp_path, "evaluate", "score", good / "run", "--langs", "de", "--dataset",
                              tmp_path / "set", memory=100)


def test_results(good, tmp_path):
    run = shutil.copytree(good / "run", tmp_path / "run")
    nested(run / "results.json")
    assert "results.json: cannot be read" in refused(tmp_path, "evaluate", "report", run)
    (tmp_path / "r.yaml").write_text(f"runs: {{run: {{data_dir: {good / 'data'}}}}}")
    assert "results.json: cannot be read" in refused(tmp_path, "train", "--config", tmp_path / "r.yaml",
                                                     "--output_dir", tmp_path)
    assert "results.json: cannot be read" in refused(tmp_path, "train", "--resume", "--output_dir", run)
