"""Model folders that would fill the memory: each is refused in one sentence, in bounded memory."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.helpers.bombs import MEMORY, many_lists, measured, nested, refused, sparse
from tests.helpers.folders import lexicon_folder

pytestmark = pytest.mark.slow


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
def test_model_folders(tmp_path, case):
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
    status, grown, log = measured(tmp_path, "evaluate", "tag", folder, "Anna in Bern")
    assert (status, log) == (0, "Anna\tB-PER\nin\tO\nBern\tB-LOC\n") and grown < MEMORY
