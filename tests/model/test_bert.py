"""Encoders of model_type bert against transformers, and a whole run of one."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification, AutoTokenizer, BertForTokenClassification

from ner.model import packing, pretrained
from ner.options import UserError
from tests.helpers import doubles, layouts, runs
from tests.helpers.folders import TAGS, opened, tiny_folder, tiny_model
from tests.helpers.models import batch_of

LENGTHS = [11, 9, 9, 5, 3, 2, 2, 1]


def logits_of(model, ids, mask):
    """Of transformers, for the real tokens, whose positions begin at 0 on whichever side the row is padded."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return model(ids, attention_mask=mask, position_ids=positions).logits.flatten(0, 1)[packing.token_index(mask)]


# ---- the model


@pytest.mark.parametrize("pad", [0, 3])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("attention", ["packed", "padded"])
def test_logits_and_gradients_equal_transformers(tmp_path, attention, side, pad):
    model, _ = tiny_model("bert", pad_token_id=pad)
    model.save_pretrained(tmp_path)
    config = pretrained.load_config(tmp_path)
    ours, theirs = pretrained.load_model(tmp_path, config, attention).eval(), model
    batch = batch_of(LENGTHS, config.vocab_size, side)
    batch["input_ids"][batch["attention_mask"] == 0] = pad
    logits = ours(batch["input_ids"], batch["attention_mask"], batch["lengths"], batch["slots"])
    expected = logits_of(theirs, batch["input_ids"], batch["attention_mask"])
    assert expected.std() > 0.1 and torch.allclose(logits, expected, atol=1e-5, rtol=0)
    labels = batch["labels"].flatten()[batch["slots"]]
    F.cross_entropy(logits, labels).backward()
    F.cross_entropy(expected, labels).backward()
    expected = {name.replace("bert.", "roberta.", 1): p.grad for name, p in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        found = parameter.grad
        if name == pretrained.POSITIONS:
            assert not found[: pad + 1].any() and not parameter[: pad + 1].any()
            found = found[pad + 1 :]
        if not name.endswith("key.bias"):  # zero in theory
            assert expected[name].norm() > 0
            assert (found - expected[name]).norm() <= 1e-5 * expected[name].norm(), name


def test_every_position_is_used(tmp_path):
    """The longest window of 64 positions has 64 subwords, counted as `build` and `load` do."""
    ours, config, _ = opened(tiny_folder(tmp_path / "model", "bert"))
    assert config.max_position_embeddings - config.pad_token_id - 1 == 64
    theirs = BertForTokenClassification.from_pretrained(tmp_path / "model").eval()
    batch = batch_of([64, 63], config.vocab_size)
    assert torch.allclose(ours(batch["input_ids"], batch["attention_mask"]),
                          logits_of(theirs, batch["input_ids"], batch["attention_mask"]), atol=1e-5, rtol=0)


def test_sixteen_positions_are_enough_and_fifteen_are_not(tmp_path):
    assert opened(tiny_folder(tmp_path / "16", "bert", max_position_embeddings=16))
    with pytest.raises(UserError, match=r"max_position_embeddings is 15; expected room for 16 subwords$"):
        opened(tiny_folder(tmp_path / "15", "bert", max_position_embeddings=15))


def test_a_table_of_other_length_is_told_in_the_numbers_of_the_files(tmp_path):
    folder = tiny_folder(tmp_path / "model", "bert")
    layouts.set_json(folder / "config.json", max_position_embeddings=50)
    with pytest.raises(UserError, match=r"shape \[64, 16\]; config.json says \[50, 16\]"):
        opened(folder)


def test_a_saved_folder_is_the_one_that_came(tmp_path):
    """Names, shapes and values of all tensors, and the sizes in config.json."""
    source = tiny_folder(tmp_path / "source", "bert")
    ours, config, tokenizer = opened(source)
    pretrained.save_model(tmp_path / "saved", dict(ours.named_parameters()), config, tokenizer, TAGS, "card")
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "saved"))
    assert before.keys() == after.keys() and all(tensor.equal(after[name]) for name, tensor in before.items())
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (source, tmp_path / "saved"))
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} <= {"_name_or_path"}
    assert config.max_position_embeddings == 65, "the caller's configuration stays as the model has it"


# ---- whole runs


def make_encoder(folder: Path) -> Path:
    """The random encoder of `runs`, whose tokenizer pads with 1, as a BERT whose config.json says 0."""
    runs.make_encoder(folder)
    layouts.set_json(folder / "config.json", model_type="bert", architectures=["BertModel"], pad_token_id=0,
                     max_position_embeddings=128)
    state = {name.removeprefix("roberta."): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    name = "embeddings.position_embeddings.weight"
    save_file({**state, name: state[name][2:].clone()}, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.slow
def test_a_run_trains_the_rows_it_touches_and_is_continued_exactly(tmp_path):
    recipe = runs.make_recipe(tmp_path / "work")
    shutil.rmtree(tmp_path / "work" / "encoder")
    make_encoder(tmp_path / "work" / "encoder")

    def run(name, *more, prepare=(doubles.keep_checkpoints,), status=0):
        found, log = runs.run_forked(runs.arguments(recipe, tmp_path / name, "--decode", "argmax", *more),
                                     tmp_path / "log", *prepare)
        assert found == status, log
        return log

    run("straight")
    run("stopped", prepare=(doubles.signal_at, 13, signal.SIGTERM), status=143)
    assert "continuing after step" in run("stopped", "--resume")
    runs.assert_same_run(tmp_path / "straight", tmp_path / "stopped")
    assert max(value for _, value in runs.curves(tmp_path / "straight")["f1/mean"]) > 0
    for option in (("--active_vocabulary", "false"), ("--attention", "padded")):
        run("other", *option, "--dropout", "0", "--max_steps", "5")
        run("plain", "--dropout", "0", "--max_steps", "5")
        other, plain = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("other", "plain"))
        for name, tensor in plain.items():
            if not name.endswith("key.bias"):
                assert (tensor - other[name]).norm() <= 1e-4 * tensor.norm(), name
        shutil.rmtree(tmp_path / "other"), shutil.rmtree(tmp_path / "plain")

    model = tmp_path / "straight" / "model"
    theirs = AutoModelForTokenClassification.from_pretrained(model).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert type(theirs) is BertForTokenClassification and theirs.config.max_position_embeddings == 128
    text = (tmp_path / "straight" / "predictions" / "test.de.tsv").read_text(encoding="utf-8")
    for block in text.strip("\n").split("\n\n"):
        words, _, predicted = zip(*(line.split("\t") for line in block.split("\n")), strict=True)
        encoded = tokenizer(list(words), is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            labels = theirs(encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits[0].argmax(-1)
        owners = encoded.word_ids(0)
        assert [theirs.config.id2label[int(labels[owners.index(i)])] for i in range(len(words))] == list(predicted)
