"""Small or sparse files that would fill the memory: each is refused in one sentence, soon, in bounded memory."""

import json
import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.model.folders import lexicon_folder
from tests.test_inference import make_run, write_data
from tests.training import tools

MIB = 1 << 20
HUGE = 100_000_000  # bytes
SECONDS, MEMORY = 20, 300  # MiB more than before
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(  # 9 ** 9 of them
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """Folder with a run and its data."""
    folder = tmp_path_factory.mktemp("good")
    run = make_run(folder / "run", write_data(folder / "data"))
    (run / "predictions").mkdir()
    (run / "predictions" / "test.de.tsv").write_text("Bern\tB-LOC\tB-LOC\n")
    return folder


def status_field(name: str) -> int:
    """MiB of memory as /proc says."""
    line = next(line for line in Path("/proc/self/status").read_text().split("\n") if line.startswith(name))
    return int(line.split()[1]) // 1024


def called(script: str, argv: list[str], log: str, report: str) -> None:
    """A script's `main` in this process; its exit status, seconds, and MiB of memory beyond those before it."""
    import importlib

    main = importlib.import_module(script).main
    import ner.evaluation.report  # noqa: F401  what the scripts import late is no part of what is measured
    import ner.inference  # noqa: F401
    import ner.suspects  # noqa: F401

    tools.to_file(log)
    Path("/proc/self/clear_refs").write_text("5")
    before, started = status_field("VmRSS"), time.monotonic()
    found = main(argv)
    Path(report).write_text(json.dumps([found, time.monotonic() - started, status_field("VmHWM") - before]))


def refused(folder: Path, script: str, *argv, memory: int = MEMORY) -> str:
    """The one sentence."""
    (folder / "log").unlink(missing_ok=True)
    process = tools.forked(called, script, [str(word) for word in argv], str(folder / "log"), str(folder / "report"))
    process.join(120)
    log = (folder / "log").read_text()
    assert process.exitcode == 0, log
    status, seconds, grown = json.loads((folder / "report").read_text())
    sentence = log.splitlines()[-1]
    assert status == 2 and "Traceback" not in log, log
    assert sentence.startswith(f"{script}.py: ") and len(sentence) < 1000, log
    assert seconds < SECONDS and grown < memory, f"{seconds:.1f} s, {grown} MiB: {sentence}"
    return sentence


def sparse(path: Path, start: bytes, size: int) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(start)
    os.truncate(path, size)


def nested(path: Path) -> None:
    path.write_text("[" * 100_000)


def many_lists(path: Path) -> None:
    path.write_bytes(b"[" + b"[]," * (HUGE // 3) + b"[]]")


def changed(change):
    """A change of a JSON file's content."""
    def write(path: Path) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
    return write


def replacing(count: int):
    """A normaliser that makes 10 characters of one, again and again."""
    parts = [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}] * count
    return changed(lambda content: content.update(normalizer={"type": "Sequence", "normalizers": parts}))


def padding_on(content: dict) -> None:
    content["padding"] = {"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1,
                          "pad_type_id": 0, "pad_token": "<pad>"}


def template(content: dict, special: dict, parts: list[dict]) -> None:
    content["post_processor"] = {"type": "TemplateProcessing", "special_tokens": special, "pair": [], "single": parts}


def long_template(content: dict) -> None:
    """A sentence would begin with 10 ** 9 special tokens."""
    special = {"id": "<s>", "ids": [0] * 30_000, "tokens": ["<s>"] * 30_000}
    template(content, {"<s>": special}, [{"SpecialToken": {"id": "<s>", "type_id": 0}}] * 30_000)


def weights(path: Path, *table: int) -> None:
    """Weights with an embedding table of that shape, as their header and the file's size say."""
    shapes = {name: list(tensor.shape) for name, tensor in load_file(path).items()}
    shapes["roberta.embeddings.word_embeddings.weight"] = list(table)
    ends = np.cumsum([0, *(4 * math.prod(shape) for shape in shapes.values())]).tolist()
    tensors = {name: {"dtype": "F32", "shape": shape, "data_offsets": place}
               for (name, shape), place in zip(shapes.items(), zip(ends, ends[1:]))}
    text = json.dumps(tensors).encode()
    sparse(path, len(text).to_bytes(8, "little") + text, 8 + len(text) + ends[-1])


SENTENCE = {"Sequence": {"id": "A", "type_id": 0}}
BOMBS = {
    "config of 100 MB": ("config.json", many_lists, "config.json: cannot be read as JSON (expected a file of up to"),
    "nested config": ("config.json", nested, "config.json: cannot be read as JSON"),
    "nested tokenizer": ("tokenizer.json", nested, "the tokenizer cannot be used"),
    "nested tokenizer_config": ("tokenizer_config.json", nested, "the tokenizer cannot be used"),
    "large tokenizer": ("tokenizer.json", lambda path: sparse(path, b"{", 1 << 40), "tokenizer.json: is larger than"),
    "large special tokens": ("special_tokens_map.json", lambda path: sparse(path, b"{", 1 << 40), "is larger than"),
    "replacing tokenizer": ("tokenizer.json", replacing(12), "the tokenizer may make 3,138,428,376,721 characters of"),
    "tokenizer with a long template": ("tokenizer.json", changed(long_template), "template for a sentence takes"),
    "tokenizer that repeats": ("tokenizer.json", changed(lambda content: template(content, {}, [SENTENCE] * 500)),
                               "makes 3,000 subwords of three characters; expected a template that takes"),
    "tokenizer that says nothing": ("tokenizer.json", changed(lambda content: template(content, {}, [])),
                                    "makes 0 subwords of three characters"),
    "weights with a header of 1 GB": ("model.safetensors",
                                      lambda path: sparse(path, (1 << 30).to_bytes(8, "little"), 1 << 31),
                                      "model.safetensors: not a safetensors file"),
    "weights of a terabyte": ("model.safetensors", lambda path: weights(path, 1 << 20, 1 << 18), "model.safetensors: "),
    "a table of 4 GB": ("model.safetensors", lambda path: weights(path, 1 << 20, 1 << 10),
                        "has shape [1048576, 1024]; config.json says"),
    "index of 100 MB": ("model.safetensors.index.json", many_lists, "index.json: cannot be read as JSON (expected"),
}


@pytest.mark.parametrize("case", BOMBS)
def test_model_folders(good, tmp_path, case):
    name, write, message = BOMBS[case]
    folder = lexicon_folder(tmp_path / "model")
    if name.endswith("index.json"):
        (folder / "model.safetensors").unlink()
    write(folder / name)
    assert message in refused(tmp_path, "evaluate", "tag", folder, "Bern")


def test_padding_is_not_asked_for(tmp_path):
    """A tokenizer that pads every text to a length of 10 ** 9 works."""
    folder = lexicon_folder(tmp_path / "model")
    changed(padding_on)(folder / "tokenizer.json")
    process = tools.forked(called, "evaluate", ["tag", str(folder), "Anna in Bern"], str(tmp_path / "log"),
                           str(tmp_path / "report"))
    process.join(120)
    status, seconds, grown = json.loads((tmp_path / "report").read_text())
    assert (tmp_path / "log").read_text() == "Anna\tB-PER\nin\tO\nBern\tB-LOC\n"
    assert status == 0 and seconds < SECONDS and grown < MEMORY, (seconds, grown)


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
    assert "not to be had" in refused(tmp_path, "evaluate", "score", good / "run", "--langs", "de", "--dataset",
                                      tmp_path / "set", memory=1000)


@pytest.mark.parametrize("write, message", [
    (lambda path: path.write_text(f"---\n{LAUGHS}configs: *i\n---\n"), "its card has more than 1,000,000 values"),
    (lambda path: path.write_text(f"---\n{LAUGHS}dataset_info: *i\n---\n"), "its card has more than 1,000,000 values"),
    (lambda path: path.write_text("---\nconfigs: &a [*a]\n---\n"), "not to be had (RecursionError"),
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
