"""Broken and malicious model folders: one sentence, nothing run, nothing overwritten, no network."""

import json
import pickle
import shutil
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import DistilBertConfig

from ner.model import pretrained
from ner.options import UserError
from tests.helpers import doubles
from tests.helpers.bombs import Malicious
from tests.helpers.folders import TAGS, contents, opened, tiny_folder, tokenizer_of


def set_config(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return change


def set_tensors(edit):
    def change(folder):
        state = load_file(folder / "model.safetensors")
        edit(state)
        save_file(state, folder / "model.safetensors")
    return change


def write(name, content):
    def change(folder):
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            (folder / name).write_text(content, encoding="utf-8")
    return change


def remove(name):
    return lambda folder: (folder / name).unlink()


def as_folder(name):
    def change(folder):
        (folder / name).unlink()
        (folder / name).mkdir()
    return change


def as_loop(name):
    def change(folder):
        (folder / name).unlink()
        (folder / name).symlink_to(name)
    return change


def cut(name, share):
    def change(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])
    return change


def index(target):
    def change(folder):
        shutil.copy(folder / "model.safetensors", folder.parent / "outside.safetensors")
        (folder / "model.safetensors").unlink()
        content = target if isinstance(target, str) else json.dumps(target)
        (folder / "model.safetensors.index.json").write_text(content)
    return change


def pickled(*names):
    def change(folder):
        (folder / "model.safetensors").unlink()
        for name in names:
            (folder / name).write_bytes(b"pickle")
    return change


def poison(name, value):
    def edit(state):
        state[name][0] = value
    return set_tensors(edit)


def replace_query(tensor):
    return set_tensors(lambda state: state.update({QUERY: tensor}))


def other_tokenizer(folder):
    tokenizer_of("xlm-roberta", [f"wort{i}" for i in range(90)]).save_pretrained(folder)


FAMILIES = "xlm-roberta, roberta, camembert, bert"
WORD, QUERY = "roberta.embeddings.word_embeddings.weight", "roberta.encoder.layer.1.attention.self.query.weight"
BAD = {
    "no config": (remove("config.json"), "not a model folder; expected config.json"),
    "config is a folder": (as_folder("config.json"), "not a model folder; expected config.json"),
    "config is a symlink loop": (as_loop("config.json"), "not a model folder; expected config.json"),
    "config is no JSON": (write("config.json", "{'a': 1}"), "config.json: cannot be read as JSON"),
    "config is empty": (write("config.json", ""), "config.json: cannot be read as JSON"),
    "config is a list": (write("config.json", "[]"), "config.json: expected a JSON object, found \\[\\]"),
    "config is nested": (write("config.json", "[" * 100_000), "config.json: cannot be read as JSON"),
    "config is UTF-16": (write("config.json", "{}".encode("utf-16")), "config.json: cannot be read as JSON"),
    "no family": (write("config.json", "{}"), f"model_type is None; expected one of {FAMILIES}"),
    "another family": (set_config(model_type="modernbert"), "model_type is 'modernbert'; expected one of xlm-roberta"),
    "relative positions": (set_config(position_embedding_type="relative_key"),
                           "position_embedding_type is 'relative_key'; expected 'absolute'"),
    "family is a list": (set_config(model_type=["xlm-roberta"]), r"model_type is \['xlm-roberta'\]"),
    "size is a string": (set_config(hidden_size="16"), "hidden_size is '16'; expected a whole number"),
    "size is null": (set_config(intermediate_size=None), "intermediate_size is None; expected a whole number"),
    "size 0": (set_config(hidden_size=0), "hidden_size is 0; expected a whole number"),
    "no heads": (set_config(num_attention_heads=0), "num_attention_heads is 0; expected"),
    "negative size": (set_config(num_hidden_layers=-1), "num_hidden_layers is -1"),
    "true for a size": (set_config(num_hidden_layers=True), "num_hidden_layers is True"),
    "many layers": (set_config(num_hidden_layers=10**9), "num_hidden_layers is 1000000000; expected .* 1 to 1000"),
    "huge": (set_config(hidden_size=10**18), "hidden_size is 10+; expected"),
    "many labels": (set_config(num_labels=10**10, id2label=None), "num_labels is 10+; expected"),
    "wide": (set_config(hidden_size=65536, num_attention_heads=1), "has shape .*; config.json says"),
    "heads do not divide": (set_config(num_attention_heads=3), "hidden_size is 16; expected a multiple of num_att"),
    "activation": (set_config(hidden_act="silu"), "hidden_act is 'silu'; expected one of gelu, relu"),
    "activation is a number": (set_config(hidden_act=3), "config.json: "),
    "decoder": (set_config(is_decoder=True), "is_decoder is true"),
    "dropout": (set_config(hidden_dropout_prob=1.5), "hidden_dropout_prob is 1.5; expected 0 up to below 1"),
    "dropout is NaN": (set_config(attention_probs_dropout_prob=float("nan")), "attention_probs_dropout_prob is nan"),
    "epsilon": (set_config(layer_norm_eps=-1.0), "layer_norm_eps is -1.0"),
    "spread": (set_config(initializer_range=float("inf")), "initializer_range is inf"),
    "no padding": (set_config(pad_token_id=None), "pad_token_id is None; expected an id below"),
    "padding outside": (set_config(pad_token_id=10**6), "pad_token_id is 1000000; expected an id below"),
    "other padding": (set_config(pad_token_id=2), "the tokenizer pads with id 1, config.json says 2"),
    "no room": (set_config(max_position_embeddings=10), "max_position_embeddings is 10; expected room for 16"),
    "few positions": (set_config(max_position_embeddings=50), r"shape \[66, 16\]; config.json says \[50, 16\]"),
    "small vocabulary": (set_config(vocab_size=20), "tokenizer has ids up to .*, but vocab_size is 20"),
    "larger tokenizer": (other_tokenizer, "tokenizer has ids up to .*, but vocab_size is"),
    "labels are a list": (set_config(id2label=list(TAGS)), "config.json: "),
    "labels by name": (set_config(id2label={"O": "O"}), "config.json: not a model configuration"),
    "no weights": (remove("model.safetensors"), "holds no model.safetensors"),
    "pickle": (pickled("pytorch_model.bin"), r"holds no model.safetensors; a pickle \(pytorch_model.bin\) is not read"),
    "weights are a folder": (as_folder("model.safetensors"), "holds no model.safetensors"),
    "weights are a symlink loop": (as_loop("model.safetensors"), "holds no model.safetensors"),
    "weights are text": (write("model.safetensors", "hello"), "model.safetensors: not a safetensors file"),
    "weights are empty": (write("model.safetensors", b""), "model.safetensors: not a safetensors file"),
    "cut weights": (cut("model.safetensors", 0.7), "model.safetensors: not a safetensors file"),
    "cut header": (cut("model.safetensors", 0.01), "model.safetensors: not a safetensors file"),
    "huge header": (write("model.safetensors", b"\xff" * 16), "model.safetensors: not a safetensors file"),
    "missing tensor": (set_tensors(lambda state: state.pop(QUERY)), f"the tensor {QUERY} is missing"),
    "other shape": (replace_query(torch.ones(2, 3)), r"shape \[2, 3\]; config.json says \[16, 16\]"),
    "integers": (replace_query(torch.ones(16, 16, dtype=torch.int8)), "is of type torch.int8; expected floating"),
    "NaN": (poison(QUERY, float("nan")), f"{QUERY} holds values that are not finite numbers"),
    "infinity": (poison(WORD, float("-inf")), f"{WORD} holds values that are not finite numbers"),
    "index outside": (index({"weight_map": {WORD: "../outside.safetensors"}}), "expected files in its own folder"),
    "absolute index": (index({"weight_map": {WORD: "/etc/passwd"}}), "'/etc/passwd'; expected files in its own folder"),
    "index of the folder": (index({"weight_map": {WORD: ".."}}), "not a safetensors file"),
    "index of nothing": (index({"weight_map": {WORD: "gone.safetensors"}}), "gone.safetensors: not a safetensors file"),
    "index of numbers": (index({"weight_map": {WORD: 5}}), "not an index of weights"),
    "index without map": (index({"weight_map": []}), "not an index of weights"),
    "broken index": (index("{"), "index.json: cannot be read as JSON"),
    "no tokenizer": (remove("tokenizer.json"), "holds no tokenizer.json"),
    "broken tokenizer": (write("tokenizer.json", "{}"), "the tokenizer cannot be used"),
    "cut tokenizer": (cut("tokenizer.json", 0.5), "the tokenizer cannot be used"),
    "broken tokenizer_config": (write("tokenizer_config.json", "["), "the tokenizer cannot be used"),
    "tokenizer_config is a list": (write("tokenizer_config.json", "[]"), "the tokenizer"),
    "no unknown token": (write("tokenizer_config.json",
                               '{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": ""}'),
                         "the tokenizer cannot be used .*recursion"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("good") / "model")


@pytest.mark.parametrize("case", BAD)
def test_bad_folder_is_one_sentence(tmp_path, good, case):
    change, message = BAD[case]
    folder = shutil.copytree(good, tmp_path / "model")
    change(folder)
    before = contents(folder)
    with pytest.raises(UserError, match=message) as caught:
        opened(pretrained.folder_of(str(folder)))
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["gone/model/x", "./gone", "/gone", "~/gone"])
def test_no_such_folder_is_not_looked_up_on_the_hub(name, monkeypatch):
    doubles.replace(monkeypatch, "snapshot_download", None)
    with pytest.raises(UserError, match="no such folder; name a model folder"):
        pretrained.folder_of(name)


def test_symlink_loop_and_file_are_not_looked_up_on_the_hub(tmp_path, monkeypatch):
    doubles.replace(monkeypatch, "snapshot_download", None)
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").write_text("")
    for name in ("loop", "file"):
        with pytest.raises(UserError, match="not a model folder"):
            pretrained.folder_of(name)


def test_another_architecture_of_transformers_is_refused(tmp_path):
    DistilBertConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=f"model_type is 'distilbert'; expected one of {FAMILIES}"):
        pretrained.load_config(pretrained.folder_of(str(tmp_path)))


def test_tokenizer_that_glues_words_together_is_refused(tmp_path):
    """GPT-2's BPE under a class that does not know add_prefix_space: 'a', 'b' would be read as 'ab'."""
    folder = tiny_folder(tmp_path / "model", "roberta")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(UserError, match=r"reads words that come one by one as parts of one word; .* add_prefix_space"):
        opened(folder)


# ---- nothing of a folder is run, and no network is used


READ = ["config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
        "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "sentencepiece.bpe.model",
        "generation_config.json", "chat_template.jinja", "pytorch_model.bin", "pytorch_model.bin.index.json",
        "training_args.bin", "optimizer.pt"]


@pytest.mark.parametrize("name", READ)
def test_planted_pickle_is_not_run(tmp_path, good, name):
    folder, mark = shutil.copytree(good, tmp_path / "model"), tmp_path / "ran"
    (folder / name).write_bytes(pickle.dumps(Malicious(mark)))
    if name.startswith("pytorch_model") or name.endswith("index.json"):
        (folder / "model.safetensors").unlink()
    try:
        opened(folder)
    except UserError as error:
        assert "\n" not in str(error)
    assert not mark.exists()
    pickle.loads((folder / name).read_bytes())
    assert mark.exists(), "the pickle was no danger"


def test_code_of_a_folder_is_not_run_nor_passed_on(tmp_path, good):
    folder, mark = shutil.copytree(good, tmp_path / "model"), tmp_path / "ran"
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nclass Evil: pass\n")
    code = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForTokenClassification"), "evil.Evil")
    set_config(auto_map=code, trust_remote_code=True, custom_pipelines={"x": {"impl": "evil.Evil"}})(folder)
    path = folder / "tokenizer_config.json"
    named = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": named}))
    ours, config, tokenizer = opened(folder)
    pretrained.save_model(tmp_path / "saved", dict(ours.named_parameters()), config, tokenizer, TAGS, "card")
    assert not mark.exists()
    assert not any("evil" in path.read_text() for path in (tmp_path / "saved").glob("*.json"))


def test_folder_needs_no_network(good, monkeypatch):
    def refuse(*args):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert opened(pretrained.folder_of(str(good)))


def test_hub_name_without_a_network_is_one_sentence(monkeypatch):
    def fail(name, revision, allow_patterns):
        assert (name, revision) == ("someone/model", "v1")
        assert not any(pattern.endswith((".bin", ".py", ".pt")) or pattern == "*" for pattern in allow_patterns)
        raise OSError("cannot reach\nthe Hub")

    doubles.replace(monkeypatch, "snapshot_download", fail)
    message = r"^model someone/model: not a folder, and not available from the Hub \(OSError: cannot reach\)$"
    with pytest.raises(UserError, match=message):
        pretrained.folder_of("someone/model", "v1")
