"""Encoders of model_type bert against transformers, in the layouts of folders that people bring."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertForTokenClassification,
    BertModel,
    XLMRobertaTokenizer,
    pipeline,
)

from ner.data import alignment
from ner.model import packing, pretrained
from ner.options import UserError
from tests.helpers import doubles, runs
from tests.helpers.folders import TAGS, WORDS, opened, pieces, tiny_folder, tiny_model, tokenizer_of
from tests.helpers.models import batch_of

LENGTHS = [11, 9, 9, 5, 3, 2, 2, 1]
ODD = ["½", "ﬁn", "…", "Ｂｅｒｎ", "New\u200bYork", "Zu\u0308rich", "东京", "rock'n'roll", "\u200b", "##x", "[SEP]", "İ"]
SENTENCE = ["Anna", "Kellers", "fährt", "nach", "Genf", ",", "Zürich", "und", "東京", "."]


def logits_of(model, ids, mask):
    """Of transformers, for the real tokens, whose positions begin at 0 on whichever side the row is padded."""
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return model(ids, attention_mask=mask, position_ids=positions).logits.flatten(0, 1)[packing.token_index(mask)]


def ids_of(tokenizer, words):
    """As the data pipeline makes them."""
    ((window,),) = alignment.encode([words], [[0] * len(words)], tokenizer, 4096, 0)
    return window.input_ids.tolist()


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
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_position_embeddings": 50}))
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


# ---- the tokenizer


def test_words_alone_have_the_ids_of_words_together(tmp_path):
    tokenizer = opened(tiny_folder(tmp_path / "model", "bert"))[2]
    words = [*SENTENCE, *ODD]
    together = tokenizer(words, is_split_into_words=True)
    nothing = set(range(len(words))) - set(together.word_ids())  # their subword here is [UNK]
    assert {words[i] for i in nothing} == {"\u200b"}
    kept = [word for i, word in enumerate(words) if i not in nothing]
    assert ids_of(tokenizer, kept) == together.input_ids
    assert tokenizer.convert_ids_to_tokens(ids_of(tokenizer, ["Kellers", "Bern"])) == [
        "[CLS]", "Keller", "##s", "Bern", "[SEP]"]


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": True}, None])
@pytest.mark.parametrize("lower", [True, False])
def test_tokenizer_json_says_what_is_lower_cased(tmp_path, lower, settings):
    """transformers believes tokenizer_config.json, and lower-cases where that says nothing."""
    folder = tiny_folder(tmp_path / "model", "bert")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["normalizer"]["lowercase"] = lower
    path.write_text(json.dumps(content))
    (folder / "tokenizer_config.json").unlink()
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    ours, config, tokenizer = opened(folder)
    expected = Tokenizer.from_file(str(path)).encode("Anna Kellers").ids
    assert ids_of(tokenizer, ["Anna", "Kellers"]) == expected
    pretrained.save_model(tmp_path / "saved", dict(ours.named_parameters()), config, tokenizer, TAGS, "card")
    for reloaded in (opened(tmp_path / "saved")[2], AutoTokenizer.from_pretrained(tmp_path / "saved")):
        assert reloaded("Anna Kellers").input_ids == expected


@pytest.mark.parametrize("settings", [None, {"model_max_length": 512}, {"do_lower_case": "no"}])
def test_a_vocabulary_that_does_not_say_whether_it_is_cased_is_refused(tmp_path, settings):
    folder = as_gbert(tmp_path / "model")
    (folder / "tokenizer_config.json").unlink()
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"tokenizer_config.json: do_lower_case is (None|'no'); expected true or false"):
        opened(folder)


# ---- folders in the layouts that people bring; the encoder of each is the same random one


def encoder(folder: Path, tokenizer=None, **changes) -> tuple[Path, BertModel]:
    """config.json and the weights of a BertModel, with its pooler, without a prefix and without a head."""
    folder.mkdir(parents=True)
    config = tiny_model("bert", tokenizer=tokenizer, **changes)[0].config
    config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    torch.manual_seed(1)
    model = BertModel(config).eval()
    model.save_pretrained(folder)
    assert "pooler.dense.weight" in load_file(folder / "model.safetensors")
    return folder, model


def set_weights(folder: Path, change) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({change(name): tensor for name, tensor in state.items()}, folder / "model.safetensors", {"format": "pt"})


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def vocabulary_of(folder: Path) -> None:
    ids = tokenizer_of("bert").get_vocab()
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in sorted(ids, key=ids.get)), encoding="utf-8")


def as_mbert(folder: Path) -> Path:
    """bert-base-multilingual-cased: pretraining heads, old names, special tokens named nowhere."""
    encoder(folder)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    set_weights(folder, lambda name: "bert." + next((name.replace(a, b) for a, b in old.items() if a in name), name))
    path = folder / "config.json"
    write_json(path, {**json.loads(path.read_text()), "directionality": "bidi", "pooler_fc_size": 16,
                      "pooler_num_attention_heads": 2, "pooler_num_fc_layers": 3, "pooler_type": "first_token_transform"})
    state = load_file(folder / "model.safetensors")
    state |= {"cls.predictions.bias": torch.ones(3), "cls.seq_relationship.weight": torch.ones(2, 16)}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    tokenizer_of("bert").save_pretrained(folder)
    write_json(folder / "tokenizer_config.json", {"do_lower_case": False, "model_max_length": 64})
    vocabulary_of(folder)
    return folder


def as_gbert(folder: Path) -> Path:
    """gbert-base: no tokenizer.json, only vocab.txt."""
    encoder(folder)
    set_weights(folder, lambda name: "bert." + name)
    write_json(folder / "tokenizer_config.json", {"do_lower_case": False, "model_max_length": 64})
    vocabulary_of(folder)
    return folder


def as_labse(folder: Path) -> Path:
    """sentence-transformers/LaBSE: a sentence encoder with another layer in a folder of its own."""
    encoder(folder)
    tokenizer_of("bert").save_pretrained(folder)
    for name in ("1_Pooling", "2_Dense"):
        (folder / name).mkdir()
        write_json(folder / name / "config.json", {"in_features": 16, "out_features": 16})
    save_file({"linear.weight": torch.eye(16)}, folder / "2_Dense" / "model.safetensors")
    (folder / "modules.json").write_text("[]")
    return folder


def as_e5(folder: Path) -> Path:
    """multilingual-e5-small, Multilingual-MiniLM: XLM-R's vocabulary, which pads with 1, under a config.json with 0."""
    tokenizer = XLMRobertaTokenizer(vocab=[*pieces(WORDS), ("<mask>", 0.0)])
    encoder(folder, tokenizer)
    tokenizer.save_pretrained(folder)
    path = folder / "config.json"
    write_json(path, {**json.loads(path.read_text()), "tokenizer_class": "XLMRobertaTokenizer",
                      "position_embedding_type": "absolute"})
    assert json.loads(path.read_text())["pad_token_id"] == 0 and tokenizer.pad_token_id == 1
    return folder


LAYOUTS = {"mBERT": as_mbert, "GBERT": as_gbert, "LaBSE": as_labse, "e5-small": as_e5}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_encoder_loads_and_its_export_is_the_same_model_in_transformers(tmp_path, layout):
    folder = LAYOUTS[layout](tmp_path / "encoder")
    _, theirs = encoder(tmp_path / "plain", opened_tokenizer(folder))
    config, tokenizer = pretrained.load_config(folder), opened_tokenizer(folder)
    config.num_labels = len(TAGS)
    ours = pretrained.load_model(folder, config, "packed", None, torch.Generator().manual_seed(5), TAGS).eval()
    batch = batch_of([9, 7, 3], config.vocab_size)
    hidden = theirs(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    expected = ours.classifier(hidden).flatten(0, 1)[batch["slots"]]
    assert expected.std() > 0.1
    assert torch.allclose(ours(batch["input_ids"], batch["attention_mask"]), expected, atol=1e-5, rtol=0)

    saved = tmp_path / "saved"
    pretrained.save_model(saved, dict(ours.named_parameters()), config, tokenizer, TAGS, "card")
    exported, info = AutoModelForTokenClassification.from_pretrained(saved, output_loading_info=True)
    assert type(exported) is BertForTokenClassification and not any(info.values())
    assert exported.config.max_position_embeddings == 64 and exported.config.type_vocab_size == 2
    assert torch.allclose(logits_of(exported.eval(), batch["input_ids"], batch["attention_mask"]), expected, atol=1e-5,
                          rtol=0)
    reloaded, _, ours_again = opened(saved)
    assert all(tensor.equal(dict(reloaded.named_parameters())[name]) for name, tensor in ours.named_parameters())

    ids = ids_of(tokenizer, SENTENCE)
    tagger = pipeline("token-classification", model=str(saved), aggregation_strategy="simple")
    assert ids == ids_of(ours_again, SENTENCE) == tagger.tokenizer(SENTENCE, is_split_into_words=True).input_ids
    assert ids == AutoTokenizer.from_pretrained(saved)(" ".join(SENTENCE)).input_ids
    assert len(set(ids)) > 8, "the words are known"
    assert {entity["entity_group"] for entity in tagger(" ".join(SENTENCE))} <= {"PER", "ORG", "LOC"}


def opened_tokenizer(folder: Path):
    return pretrained.load_tokenizer(folder, pretrained.load_config(folder))


def test_bert_pads_as_its_tokenizer_does_and_roberta_as_both_do(tmp_path):
    folder = as_e5(tmp_path / "e5")
    assert opened_tokenizer(folder).pad_token_id == 1
    path = folder / "config.json"
    write_json(path, {**json.loads(path.read_text()), "model_type": "xlm-roberta"})
    with pytest.raises(UserError, match="the tokenizer pads with id 1, config.json says 0"):
        opened_tokenizer(folder)


# ---- whole runs


def make_encoder(folder: Path) -> Path:
    """The random encoder of `runs`, whose tokenizer pads with 1, as a BERT whose config.json says 0."""
    runs.make_encoder(folder)
    path = folder / "config.json"
    content = json.loads(path.read_text())
    write_json(path, {**content, "model_type": "bert", "architectures": ["BertModel"], "pad_token_id": 0,
                      "max_position_embeddings": 128})
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
        found, log = runs.run_forked(runs.arguments(recipe, tmp_path / name, *more), tmp_path / "log", *prepare)
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
    theirs, tokenizer = AutoModelForTokenClassification.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)
    assert type(theirs) is BertForTokenClassification and theirs.config.max_position_embeddings == 128
    text = (tmp_path / "straight" / "predictions" / "test.de.tsv").read_text(encoding="utf-8")
    for block in text.strip("\n").split("\n\n"):
        words, _, predicted = zip(*(line.split("\t") for line in block.split("\n")), strict=True)
        encoded = tokenizer(list(words), is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            labels = theirs(encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits[0].argmax(-1)
        owners = encoded.word_ids(0)
        assert [theirs.config.id2label[int(labels[owners.index(i)])] for i in range(len(words))] == list(predicted)
