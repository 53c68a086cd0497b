"""Encoders and token classifiers in the layouts of folders that people bring, with random weights.

The layouts are those of public models, named in docs/encoders.md as examples; nothing in them is theirs.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, XLMRobertaTokenizer

from tests.helpers.folders import WORDS, pieces, tiny_folder, tiny_model, tokenizer_of, wordpieces

IOB1 = ("B-LOC", "B-MISC", "B-ORG", "I-LOC", "I-MISC", "I-ORG", "I-PER", "O")  # no PER follows another in CoNLL-2003


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def set_json(path: Path, **changes) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def set_weights(folder: Path, change) -> None:
    """`change`: name and tensor -> the same of the file that is written instead."""
    state = dict(change(name, tensor) for name, tensor in load_file(folder / "model.safetensors").items())
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def encoder(folder: Path, family: str, tokenizer=None, **changes) -> Path:
    """config.json, tokenizer files and the weights without prefix and head, but with a pooler."""
    tokenizer = tokenizer or tokenizer_of(family)
    config = tiny_model(family, tokenizer=tokenizer, **changes)[0].config
    config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    torch.manual_seed(1)
    AutoModel.from_config(config).save_pretrained(folder)
    assert "pooler.dense.weight" in load_file(folder / "model.safetensors")
    tokenizer.save_pretrained(folder)
    return folder


def of_xlmr(folder: Path, **changes) -> Path:
    """xlm-roberta-base: with prefix, and the head of a language model."""
    encoder(folder, "xlm-roberta", XLMRobertaTokenizer(vocab=[*pieces(WORDS), ("<mask>", 0.0)]), **changes)
    set_weights(folder, lambda name, tensor: (f"roberta.{name}", tensor))
    save_file({**load_file(folder / "model.safetensors"), "lm_head.bias": torch.ones(3)},
              folder / "model.safetensors", {"format": "pt"})
    return folder


def sharded(folder: Path) -> Path:
    """mRoBERTa-like: the weights in several files."""
    tiny_folder(folder, "roberta", "4KB")
    assert not (folder / "model.safetensors").exists()
    return folder


def long_windows(folder: Path) -> Path:
    """bge-m3 and snowflake-arctic-embed-l-v2.0: 8194 positions, no prefix."""
    return encoder(folder, "xlm-roberta", max_position_embeddings=8194)


def half(folder: Path, dtype: torch.dtype = torch.bfloat16) -> Path:
    """granite-embedding: bfloat16, two word types."""
    encoder(folder, "xlm-roberta", type_vocab_size=2)
    set_weights(folder, lambda name, tensor: (name, tensor.to(dtype)))
    set_json(folder / "config.json", dtype=str(dtype).removeprefix("torch."))
    return folder


def of_fairseq(folder: Path) -> Path:
    """Early conversions: LayerNorm.gamma and .beta, position_ids among the weights."""
    of_xlmr(folder)
    set_weights(folder, lambda name, tensor: (
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"), tensor))
    save_file({**load_file(folder / "model.safetensors"), "roberta.embeddings.position_ids": torch.arange(66)[None]},
              folder / "model.safetensors", {"format": "pt"})
    return folder


def vocabulary_of(folder: Path) -> None:
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in wordpieces(WORDS)), encoding="utf-8")


def of_mbert(folder: Path) -> Path:
    """bert-base-multilingual-cased: pretraining heads, old names, special tokens named nowhere."""
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    encoder(folder, "bert")
    set_weights(folder, lambda name, tensor: (
        "bert." + next((name.replace(a, b) for a, b in old.items() if a in name), name), tensor))
    heads = {"cls.predictions.bias": torch.ones(3), "cls.seq_relationship.weight": torch.ones(2, 16)}
    save_file({**load_file(folder / "model.safetensors"), **heads}, folder / "model.safetensors", {"format": "pt"})
    set_json(folder / "config.json", directionality="bidi", pooler_fc_size=16, pooler_num_fc_layers=3,
             pooler_type="first_token_transform")
    write_json(folder / "tokenizer_config.json", {"do_lower_case": False, "model_max_length": 64})
    vocabulary_of(folder)
    return folder


def of_gbert(folder: Path) -> Path:
    """gbert-base: no tokenizer.json, only vocab.txt."""
    encoder(folder, "bert")
    set_weights(folder, lambda name, tensor: (f"bert.{name}", tensor))
    (folder / "tokenizer.json").unlink()
    write_json(folder / "tokenizer_config.json", {"do_lower_case": False, "model_max_length": 64})
    vocabulary_of(folder)
    return folder


def of_labse(folder: Path) -> Path:
    """LaBSE: a sentence encoder with another layer in a folder of its own."""
    encoder(folder, "bert")
    for name in ("1_Pooling", "2_Dense"):
        (folder / name).mkdir()
        write_json(folder / name / "config.json", {"in_features": 16, "out_features": 16})
    save_file({"linear.weight": torch.eye(16)}, folder / "2_Dense" / "model.safetensors")
    (folder / "modules.json").write_text("[]")
    return folder


def of_e5(folder: Path) -> Path:
    """multilingual-e5-small, Multilingual-MiniLM: XLM-R's vocabulary, which pads with 1, under a config.json with 0."""
    tokenizer = XLMRobertaTokenizer(vocab=[*pieces(WORDS), ("<mask>", 0.0)])
    encoder(folder, "bert", tokenizer)
    set_json(folder / "config.json", tokenizer_class="XLMRobertaTokenizer", position_embedding_type="absolute")
    assert json.loads((folder / "config.json").read_text())["pad_token_id"] == 0 and tokenizer.pad_token_id == 1
    return folder


def of_camembertv2(folder: Path) -> Path:
    """camembertv2-base: model_type roberta with a WordPiece tokenizer."""
    ids = {piece: i for i, piece in enumerate(wordpieces(WORDS))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])])
    encoder(folder, "roberta", tokenizer_of("bert"), pad_token_id=0)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "RobertaTokenizer", "add_prefix_space": True, "model_max_length": 64, "cls_token": "[CLS]",
        "bos_token": "[CLS]", "sep_token": "[SEP]", "eos_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]",
        "mask_token": "[MASK]"})
    return folder
