"""Model folders, both ways: what transformers saves loads here, and the other way."""

import json
import logging
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification, AutoTokenizer, XLMRobertaModel, pipeline

from ner.data import alignment, folders, readers
from ner.model import pretrained
from ner.options import UserError
from tests.helpers import doubles
from tests.helpers.folders import TAGS, contents, opened, tiny_folder, tiny_model
from tests.helpers.models import batch_of

ODD = ["½", "ﬁn", "…", "№", "①", "Ｂｅｒｎ", "Ｚｕｅｒｉｃｈ", "New\u200bYork", "Bern\u200b", "Zu\u0308rich"]
CARD = "---\nlanguage: de\n---\n"


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
    ((window,),) = alignment.encode([words], [[0] * len(words)], tokenizer, 4096, 0)
    return window.input_ids.tolist()


# ---- both ways


@pytest.mark.parametrize("shard", ["1GB", "4KB"])
@pytest.mark.parametrize("family", ["xlm-roberta", "roberta", "camembert", "bert"])
def test_folder_of_transformers_loads(tmp_path, family, shard):
    folder = tiny_folder(tmp_path / "model", family, shard)
    assert (folder / "model.safetensors").exists() == (shard == "1GB")
    ours, config, tokenizer = opened(folder)
    assert_same_logits(ours, AutoModelForTokenClassification.from_pretrained(folder).eval(), config.vocab_size)
    assert pretrained.tags_of(config) == TAGS
    words = ["Anna", "wohnt", "in", "Genf", "."]
    theirs = AutoTokenizer.from_pretrained(folder, **({"add_prefix_space": True} if family == "roberta" else {}))
    assert our_ids(tokenizer, words) == theirs(words, is_split_into_words=True).input_ids


@pytest.mark.slow
@pytest.mark.parametrize("family", ["xlm-roberta", "roberta", "camembert", "bert"])
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
    with pytest.raises(UserError, match=r"the tensor classifier.bias and 1 more is missing"):
        opened(tmp_path / "encoder")


def test_names_and_types_of_older_checkpoints(tmp_path):
    folder = tiny_folder(tmp_path / "model")
    expected, _, _ = opened(folder)
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
        return [window.input_ids.tolist() for (window,) in alignment.encode(sentences, labels, tokenizer, 100_000, 0)]

    expected = encoded(ours)
    assert encoded(reloaded) == expected
    assert auto(sentences, is_split_into_words=True).input_ids == expected
    assert piped([" ".join(words) for words in sentences]).input_ids == expected


@pytest.mark.slow
def test_ids_of_odd_text_survive_saving(tokenizers):
    assert_same_ids(tokenizers, [ODD, *[[word] for word in ODD]])
    tokens = tokenizers[1].convert_ids_to_tokens(our_ids(tokenizers[1], ODD))
    assert tokens[1:6] == ["▁1⁄2", "▁fin", "▁...", "▁No", "▁1"] and "▁York" in tokens


@pytest.mark.slow
def test_ids_of_real_text_survive_saving(tokenizers, shared):
    sentences = [s.tokens for s in readers.read_file(folders.find_file(shared / "panx", "it", "test"), "it")]
    assert len(sentences) == 10_000
    words = sorted({word for words in sentences for word in words})
    known = tokenizers[0]([[word] for word in words], is_split_into_words=True, add_special_tokens=False).input_ids
    nothing = {word for word, ids in zip(words, known) if not ids}  # gets <unk> here, and nothing from transformers
    kept = [[word for word in words if word not in nothing] for words in sentences]
    assert sum(map(len, sentences)) - sum(map(len, kept)) < 100
    assert_same_ids(tokenizers, [words for words in kept if words])


# ---- saving is all or nothing


def save_and_die(monkeypatch, target, model, name, call):
    """Save in a child process that is killed at the `call`-th call of a function; whether it was."""
    child = os.fork()
    if child == 0:
        real, calls = doubles.original(name), []

        def killed(*args):
            calls.append(args)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        try:
            doubles.replace(monkeypatch, name, killed)
            ours, config, tokenizer = model
            pretrained.save_model(target, dict(ours.named_parameters()), config, tokenizer, TAGS, "new")
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.slow
def test_killed_save_leaves_the_old_folder_or_none(tmp_path, monkeypatch):
    model = opened(tiny_folder(tmp_path / "source"))
    target = shutil.copytree(tmp_path / "source", tmp_path / "run" / "model")
    (target / "README.md").write_text("old")
    moved = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda a, b: moved.append((a, b)))
        pretrained.save_model(target, dict(model[0].named_parameters()), *model[1:], TAGS, "new")
    last = len(moved)
    for name, call in (("save_weights", 1), ("save_tokenizer", 1), ("os.replace", last - 1)):
        assert save_and_die(monkeypatch, target, model, name, call)
        assert (target / "README.md").read_text() == "old" and opened(target)
    assert save_and_die(monkeypatch, target, model, "os.replace", last) and not target.exists()
    assert not save_and_die(monkeypatch, target, model, "os.replace", 99), "nothing is in the way"
    assert (target / "README.md").read_text() == "new" and opened(target)
    assert [path.name for path in target.parent.iterdir()] == ["model"]


def test_failed_save_says_so_and_keeps_the_old_folder(tmp_path, monkeypatch):
    ours, config, tokenizer = opened(tiny_folder(tmp_path / "source"))
    target = shutil.copytree(tmp_path / "source", tmp_path / "run" / "model")
    before = contents(target)

    def full(*args):
        raise OSError(28, "No space left on device")

    doubles.replace(monkeypatch, "save_weights", full)
    with pytest.raises(UserError, match=r"the model could not be written .*No space left"):
        pretrained.save_model(target, dict(ours.named_parameters()), config, tokenizer, TAGS, CARD)
    assert contents(target) == before and [path.name for path in target.parent.iterdir()] == ["model"]


def test_save_does_not_touch_the_configuration_of_the_caller(tmp_path):
    ours, config, tokenizer = opened(tiny_folder(tmp_path / "source"))
    before = config.to_json_string()
    pretrained.save_model(tmp_path / "m", dict(ours.named_parameters()), config, tokenizer, tuple(reversed(TAGS)), CARD)
    assert config.to_json_string() == before


def test_opening_a_tokenizer_that_has_no_length_warns_of_nothing(tmp_path, monkeypatch, caplog):
    folder = tiny_folder(tmp_path / "model")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": -1}))
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    opened(folder)
    assert not caplog.records
