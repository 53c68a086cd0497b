"""Model folders, both ways: what transformers saves loads here, and the other way; what is broken is refused."""

import json
import os
import pickle
import shutil
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification, AutoTokenizer, BertConfig, XLMRobertaModel, pipeline

from ner.data import alignment, readers
from ner.model import pretrained
from ner.options import UserError
from tests.model.folders import TAGS, tiny_folder, tiny_model, tokenizer_of
from tests.model.tools import batch_of

ODD = ["½", "ﬁn", "…", "№", "①", "Ｂｅｒｎ", "Ｚｕｅｒｉｃｈ", "New\u200bYork", "Bern\u200b", "Zu\u0308rich"]
CARD = "---\nlanguage: de\n---\n"


def opened(folder, attention="packed", **kwargs):
    config = pretrained.load_config(folder)
    tokenizer = pretrained.load_tokenizer(folder, config)
    return pretrained.load_model(folder, config, attention, **kwargs).eval(), config, tokenizer


def assert_same_logits(ours, theirs, vocabulary):
    batch = batch_of([11, 9, 4, 1], vocabulary)
    with torch.inference_mode():
        logits = ours(batch["input_ids"], batch["attention_mask"], batch["lengths"], batch["slots"])
        expected = theirs(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    expected = expected.flatten(0, 1)[batch["slots"]]
    assert expected.std() > 0.1
    assert torch.allclose(logits, expected, atol=1e-5, rtol=0)


def our_ids(tokenizer, words):
    """The ids of a sentence as the data pipeline makes them."""
    (window,) = alignment.encode([words], [[0] * len(words)], tokenizer, 4096, 0)
    return window.input_ids.tolist()


# ---- both ways


@pytest.mark.parametrize("shard", ["1GB", "4KB"])
@pytest.mark.parametrize("family", ["xlm-roberta", "roberta", "camembert"])
def test_folder_of_transformers_loads(tmp_path, family, shard):
    folder = tiny_folder(tmp_path / "model", family, shard)
    assert (folder / "model.safetensors").exists() == (shard == "1GB")
    ours, config, tokenizer = opened(folder)
    assert_same_logits(ours, AutoModelForTokenClassification.from_pretrained(folder).eval(), config.vocab_size)
    assert pretrained.tags_of(config) == TAGS
    words = ["Anna", "wohnt", "in", "Genf", "."]
    theirs = AutoTokenizer.from_pretrained(folder, **({"add_prefix_space": True} if family == "roberta" else {}))
    assert our_ids(tokenizer, words) == theirs(words, is_split_into_words=True).input_ids


@pytest.mark.parametrize("family", ["xlm-roberta", "roberta", "camembert"])
def test_saved_folder_loads_in_transformers(tmp_path, family):
    source = tiny_folder(tmp_path / "source", family)
    ours, config, tokenizer = opened(source, rows=None)
    folder = tmp_path / "run" / "model"
    pretrained.save_model(folder, dict(ours.named_parameters()), config, tokenizer, TAGS, CARD)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    theirs, info = AutoModelForTokenClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    assert theirs.config.id2label == dict(enumerate(TAGS)) and theirs.config.label2id["I-LOC"] == 6
    assert_same_logits(ours, theirs.eval(), config.vocab_size)
    assert_same_logits(opened(folder)[0], theirs, config.vocab_size)
    assert (folder / "README.md").read_text() == CARD
    assert json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"] != "TokenizersBackend"

    words = ["Anna", "Keller", "arbeitet", "bei", "der", "Post", "in", "Genf", "."]
    ids = our_ids(tokenizer, words)
    tagger = pipeline("token-classification", model=str(folder), aggregation_strategy="simple")
    assert tagger.tokenizer(words, is_split_into_words=True).input_ids == ids
    assert tagger.tokenizer(" ".join(words)).input_ids == ids
    assert our_ids(pretrained.load_tokenizer(folder, pretrained.load_config(folder)), words) == ids
    found = tagger(" ".join(words))
    assert all({"entity_group", "score", "start", "end"} <= set(entity) for entity in found)
    assert {entity["entity_group"] for entity in found} <= {"PER", "ORG", "LOC"}


def test_encoder_without_head_and_prefix_loads(tmp_path):
    model, tokenizer = tiny_model()
    model.roberta.save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    assert not any(name.startswith("roberta.") for name in load_file(tmp_path / "encoder" / "model.safetensors"))
    ours, config, _ = opened(tmp_path / "encoder", new_head=torch.Generator().manual_seed(5), tags=TAGS)
    theirs = XLMRobertaModel.from_pretrained(tmp_path / "encoder").eval()
    ids, mask = (batch_of([9, 9], config.vocab_size)[key] for key in ("input_ids", "attention_mask"))
    expected = ours.classifier(theirs(ids, attention_mask=mask).last_hidden_state).flatten(0, 1)
    assert torch.allclose(ours(ids, mask), expected, atol=1e-5, rtol=0)
    with pytest.raises(UserError, match="the tensor classifier.bias and 1 more is missing"):
        opened(tmp_path / "encoder")


def test_names_and_types_of_older_checkpoints(tmp_path):
    folder = tiny_folder(tmp_path / "model")
    expected, config, _ = opened(folder)
    state = load_file(folder / "model.safetensors")
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t.double()
           for name, t in state.items()}
    old["roberta.embeddings.position_ids"] = torch.arange(66)[None]
    old["lm_head.dense.weight"] = torch.full((2, 2), float("nan"))  # not ours, not read
    save_file(old, folder / "model.safetensors")
    ours = opened(folder)[0]
    for (name, a), (_, b) in zip(ours.named_parameters(), expected.named_parameters(), strict=True):
        assert a.equal(b) and a.dtype == torch.float32, name


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_activations(tmp_path, activation):
    folder = tiny_folder(tmp_path / "model", hidden_act=activation)
    ours, config, _ = opened(folder)
    assert_same_logits(ours, AutoModelForTokenClassification.from_pretrained(folder).eval(), config.vocab_size)


def test_rows_of_the_table(tmp_path):
    folder = tiny_folder(tmp_path / "model")
    rows = np.array([0, 1, 2, 3, 9, 17])
    ours, _, _ = opened(folder, rows=rows)
    full = pretrained.read_tensor(folder, pretrained.WORD_EMBEDDINGS)
    assert ours.roberta.embeddings.word_embeddings.weight.equal(full[rows])
    assert ours.roberta.embeddings.word_embeddings.padding_idx == 1


# ---- the head


def test_new_head_is_drawn_as_transformers_does_and_by_the_seed(tmp_path):
    folder = tiny_folder(tmp_path / "model", tags=("O", "B-X", "I-X"))
    config = pretrained.load_config(folder)
    config.num_labels = len(TAGS)

    def head(seed):
        new = torch.Generator().manual_seed(seed)
        return pretrained.load_model(folder, config, "packed", new_head=new, tags=TAGS).classifier

    assert head(1).weight.equal(head(1).weight) and not head(1).weight.equal(head(2).weight)
    assert head(1).weight.shape == (7, 16) and not head(1).bias.any()
    assert 0.2 < head(1).weight.std() < 0.4, "initializer_range is 0.3"


def test_head_for_the_same_tags_is_kept_and_matched_by_name(tmp_path):
    folder = tiny_folder(tmp_path / "model")
    theirs = opened(folder)[0].classifier
    order = [6, 0, 3, 2, 1, 5, 4]
    ours = opened(folder, new_head=torch.Generator(), tags=tuple(TAGS[i] for i in order))[0].classifier
    assert ours.weight.equal(theirs.weight[order]) and ours.bias.equal(theirs.bias[order])
    config = pretrained.load_config(folder)
    config.num_labels = 3
    other = pretrained.load_model(folder, config, "packed", new_head=torch.Generator(), tags=("O", "B-PER", "I-PER"))
    assert other.classifier.weight.shape == (3, 16)


def test_bare_encoder_has_no_tags(tmp_path):
    config = tiny_model(tags=("LABEL_0", "LABEL_1"))[0].config
    assert pretrained.tags_of(config) is None
    config.id2label = {0: "O", 2: "B-PER"}
    with pytest.raises(ValueError, match=r"ids are \[0, 2\]; expected 0 to 1"):
        pretrained.tags_of(config)


# ---- the tokenizer of the built-in encoder


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """The built-in encoder's, as it is and saved and reloaded: by this project, by transformers, by its pipeline."""
    try:
        source = pretrained.folder_of("e5-small")
    except UserError as error:
        pytest.skip(str(error))
    ours = pretrained.load_tokenizer(source, pretrained.load_config(source))
    model, _ = tiny_model(vocab_size=len(ours))
    folder = tmp_path_factory.mktemp("saved") / "model"
    state = {name: parameter.detach() for name, parameter in model.named_parameters()}
    pretrained.save_model(folder, state, model.config, ours, TAGS, CARD)
    reloaded = pretrained.load_tokenizer(folder, pretrained.load_config(folder))
    piped = pipeline("token-classification", model=str(folder), aggregation_strategy="simple").tokenizer
    return ours, reloaded, AutoTokenizer.from_pretrained(folder), piped


def assert_same_ids(tokenizers, sentences):
    ours, reloaded, auto, piped = tokenizers
    labels = [[0] * len(words) for words in sentences]

    def encoded(tokenizer):
        return [window.input_ids.tolist() for window in alignment.encode(sentences, labels, tokenizer, 100_000, 0)]

    expected = encoded(ours)
    assert encoded(reloaded) == expected
    assert auto(sentences, is_split_into_words=True).input_ids == expected
    assert piped([" ".join(words) for words in sentences]).input_ids == expected


def test_ids_of_odd_text_survive_saving(tokenizers):
    assert_same_ids(tokenizers, [ODD, *[[word] for word in ODD]])
    tokens = tokenizers[1].convert_ids_to_tokens(our_ids(tokenizers[1], ODD))
    assert tokens[1:6] == ["▁1⁄2", "▁fin", "▁...", "▁No", "▁1"] and "▁York" in tokens


def test_ids_of_real_text_survive_saving(tokenizers, shared):
    sentences = [s.tokens for s in readers.read_file(readers.find_file(shared / "panx", "it", "test"), "it")]
    assert len(sentences) == 10_000
    words = sorted({word for words in sentences for word in words})
    known = tokenizers[0]([[word] for word in words], is_split_into_words=True, add_special_tokens=False).input_ids
    nothing = {word for word, ids in zip(words, known) if not ids}  # gets <unk> here, and nothing from transformers
    kept = [[word for word in words if word not in nothing] for words in sentences]
    assert sum(map(len, sentences)) - sum(map(len, kept)) < 100
    assert_same_ids(tokenizers, [words for words in kept if words])


# ---- saving is all or nothing


def save_and_die(monkeypatch, target, model, module, name, call):
    """Save in a child process that is killed at the `call`-th call of a function; whether it was."""
    child = os.fork()
    if child == 0:
        real, calls = getattr(module, name), []

        def killed(*args):
            calls.append(args)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        try:
            monkeypatch.setattr(module, name, killed)
            ours, config, tokenizer = model
            pretrained.save_model(target, dict(ours.named_parameters()), config, tokenizer, TAGS, "new")
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_killed_save_leaves_the_old_folder_or_none(tmp_path, monkeypatch):
    model = opened(tiny_folder(tmp_path / "source"))
    target = shutil.copytree(tmp_path / "source", tmp_path / "run" / "model")
    (target / "README.md").write_text("old")
    moved = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda a, b: moved.append((a, b)))
        pretrained.save_model(target, dict(model[0].named_parameters()), *model[1:], TAGS, "new")
    last = len(moved)
    moments = ((pretrained, "save_file", 1), (pretrained, "save_tokenizer", 1), (os, "replace", last - 1))
    for module, name, call in moments:
        assert save_and_die(monkeypatch, target, model, module, name, call)
        assert (target / "README.md").read_text() == "old" and opened(target)
    assert save_and_die(monkeypatch, target, model, os, "replace", last) and not target.exists()
    assert not save_and_die(monkeypatch, target, model, os, "replace", 99), "nothing is in the way"
    assert (target / "README.md").read_text() == "new" and opened(target)
    assert [path.name for path in target.parent.iterdir()] == ["model"]


def test_failed_save_says_so_and_keeps_the_old_folder(tmp_path, monkeypatch):
    ours, config, tokenizer = opened(tiny_folder(tmp_path / "source"))
    target = shutil.copytree(tmp_path / "source", tmp_path / "run" / "model")
    before = contents(target)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pretrained, "save_file", full)
    with pytest.raises(UserError, match="the model could not be written .*No space left"):
        pretrained.save_model(target, dict(ours.named_parameters()), config, tokenizer, TAGS, CARD)
    assert contents(target) == before and [path.name for path in target.parent.iterdir()] == ["model"]


def test_save_does_not_touch_the_configuration_of_the_caller(tmp_path):
    ours, config, tokenizer = opened(tiny_folder(tmp_path / "source"))
    before = config.to_json_string()
    pretrained.save_model(tmp_path / "m", dict(ours.named_parameters()), config, tokenizer, tuple(reversed(TAGS)), CARD)
    assert config.to_json_string() == before


# ---- bad folders


def contents(folder: Path) -> dict:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


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
    "no family": (write("config.json", "{}"), "model_type is None; expected one of xlm-roberta, roberta, camembert"),
    "another family": (set_config(model_type="bert"), "model_type is 'bert'; expected one of xlm-roberta"),
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
    "heads do not divide": (set_config(num_attention_heads=3), "hidden_size 16 is no multiple of num_att"),
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
    "NaN": (poison(QUERY, float("nan")), f"{QUERY} holds values that are no finite numbers"),
    "infinity": (poison(WORD, float("-inf")), f"{WORD} holds values that are no finite numbers"),
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
    monkeypatch.setattr(pretrained, "snapshot_download", None)
    with pytest.raises(UserError, match="no such folder; name a model folder"):
        pretrained.folder_of(name)


def test_symlink_loop_and_file_are_not_looked_up_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "snapshot_download", None)
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").write_text("")
    for name in ("loop", "file"):
        with pytest.raises(UserError, match="not a model folder"):
            pretrained.folder_of(name)


def test_bert_of_transformers_is_refused(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="model_type is 'bert'; expected one of xlm-roberta, roberta, camembert"):
        pretrained.load_config(pretrained.folder_of(str(tmp_path)))


def test_tokenizer_that_glues_words_together_is_refused(tmp_path):
    """GPT-2's BPE under a class that does not know add_prefix_space: 'a', 'b' would be read as 'ab'."""
    folder = tiny_folder(tmp_path / "model", "roberta")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(UserError, match="reads words that come one by one as parts of one word; .* add_prefix_space"):
        opened(folder)


# ---- nothing of a folder is run, and no network is used


class Malicious:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


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
    code = {name: "evil.Evil" for name in ("AutoConfig", "AutoModel", "AutoModelForTokenClassification")}
    set_config(auto_map=code, trust_remote_code=True, custom_pipelines={"x": {"impl": "evil.Evil"}})(folder)
    path = folder / "tokenizer_config.json"
    named = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": named}))
    ours, config, tokenizer = opened(folder)
    pretrained.save_model(tmp_path / "saved", dict(ours.named_parameters()), config, tokenizer, TAGS, CARD)
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

    monkeypatch.setattr(pretrained, "snapshot_download", fail)
    with pytest.raises(UserError, match=r"^model someone/model: neither a folder .* \(OSError: cannot reach\)$"):
        pretrained.folder_of("someone/model", "v1")
