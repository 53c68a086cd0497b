"""Load and save in Hugging Face format: folders that transformers reads, and that come from it, untouched.

Trade-off. Only safetensors is read, tensor by tensor and checked (name, shape, finite values) before it is used: a pickle
can run code, and a folder with a missing tensor would otherwise train from noise without a word.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoTokenizer

from ner.model import builtin
from ner.model.roberta import ACTIVATIONS, TokenClassifier
from ner.options import UserError

BUILTIN = "e5-small"
FAMILY = {
    "xlm-roberta": "XLMRobertaForTokenClassification",
    "roberta": "RobertaForTokenClassification",
    "camembert": "CamembertForTokenClassification",
}
FILES = ["*.json", "*.safetensors", "*.model", "*.txt"]  # what is fetched from the Hub: no pickles, no code
WORD_EMBEDDINGS = "roberta.embeddings.word_embeddings.weight"
HEAD = ("classifier.weight", "classifier.bias")


def folder_of(name: str, revision: str | None = None) -> Path:
    """The folder of a model given as ``e5-small``, folder or Hub name (downloaded at `revision`, without pickles)."""
    if name == BUILTIN:
        return builtin.encoder_folder()
    if Path(name).exists():
        if not (Path(name) / "config.json").is_file():
            raise UserError(f"{name}: not a model folder; expected config.json and model.safetensors in it")
        return Path(name)
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise UserError(f"{name}: no such folder; name a model folder, a model on the Hub or {BUILTIN}")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=FILES))
    except Exception as error:  # the Hub's client raises many kinds; all of them mean the same here
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"model {name}: neither a folder nor to be had from the Hub ({type(error).__name__}: {reason})") from None


def load_config(folder: Path):
    """The transformers configuration of an encoder of the RoBERTa family."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers raises whatever json, its validators or the file system do
        raise UserError(f"{folder}/config.json: not a model configuration ({first_line(error)})") from None
    if config.model_type not in FAMILY:
        raise UserError(f"{folder}/config.json: model_type is {config.model_type!r}; expected one of {', '.join(FAMILY)}")
    if config.hidden_act not in ACTIVATIONS:
        raise UserError(f"{folder}/config.json: hidden_act is {config.hidden_act!r}; expected one of {', '.join(ACTIVATIONS)}")
    if config.hidden_size % config.num_attention_heads:
        raise UserError(f"{folder}/config.json: hidden_size {config.hidden_size} is no multiple of "
                        f"num_attention_heads {config.num_attention_heads}")
    if config.pad_token_id is None:
        raise UserError(f"{folder}/config.json: pad_token_id is missing; positions are counted from it")
    return config


def load_tokenizer(folder: Path, model_type: str):
    """The fast tokenizer of a model folder, ready for text that comes split into words."""
    prefix = {"add_prefix_space": True} if model_type == "roberta" else {}  # else ' word' and 'word' differ in GPT-2's BPE
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **prefix)
    except Exception as error:  # see load_config
        raise UserError(f"{folder}: the tokenizer cannot be read ({first_line(error)})") from None
    if not tokenizer.is_fast:
        raise UserError(f"{folder}: holds no tokenizer.json; expected the files of a fast tokenizer")
    for name in ("cls_token_id", "sep_token_id", "unk_token_id", "pad_token_id"):
        if getattr(tokenizer, name) is None:
            raise UserError(f"{folder}: the tokenizer has no {name.removesuffix('_id')}; expected one as in RoBERTa")
    return tokenizer


def weight_files(folder: Path) -> dict[str, Path]:
    """Tensor name (as in the file) -> the safetensors file that holds it."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.is_file():
        try:
            shards = {folder / name for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
        except (ValueError, KeyError, AttributeError, TypeError):
            raise UserError(f"{index}: not an index of weights; expected a weight_map") from None
        if any(path.parent != folder for path in shards):
            raise UserError(f"{index}: names a file outside its folder")
    elif single.exists():
        shards = {single}
    else:
        pickles = [name for name in ("pytorch_model.bin", "pytorch_model.bin.index.json") if (folder / name).exists()]
        found = f"; {pickles[0]} is a pickle, which is not read: save it as safetensors with transformers" if pickles else ""
        raise UserError(f"{folder}: holds no model.safetensors{found}")
    files = {}
    for path in sorted(shards):
        try:
            with safe_open(path, "pt") as file:
                files.update(dict.fromkeys(file.keys(), path))
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path}: not a safetensors file ({first_line(error)})") from None
    return files


def our_name(name: str) -> str:
    """A checkpoint's tensor name as this model has it: older and headless files leave out the prefix."""
    name = name.removeprefix("camembert.").removeprefix("xlm_roberta.")
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return name if name.startswith(("roberta.", "classifier.")) else f"roberta.{name}"


def read_tensor(folder: Path, name: str) -> Tensor:
    """One tensor of a model folder in fp32, by this model's name for it; ``UserError`` where it is missing or not finite."""
    for theirs, path in weight_files(folder).items():
        if our_name(theirs) == name:
            with safe_open(path, "pt") as file:
                return finite(file.get_tensor(theirs), path, theirs)
    raise UserError(f"{folder}: the tensor {name} is missing")


def finite(tensor: Tensor, path: Path, name: str) -> Tensor:
    if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
        raise UserError(f"{path}: the tensor {name} holds values that are no finite numbers")
    return tensor.float()


def load_model(folder: Path, config, attention: str, rows: np.ndarray | None = None, new_head: torch.Generator | None = None):
    """A `TokenClassifier` with the weights of `folder`, in fp32 on the CPU.

    rows: keep these rows of the word embeddings only (active vocabulary). new_head: draw the head from this generator, as
    transformers initialises it (normal, sd `initializer_range`; zero bias); without it the head must be in the folder.
    """
    with torch.device("meta"):
        model = TokenClassifier(config, attention)
    wanted = dict(model.named_parameters())
    if rows is not None:
        embeddings = model.roberta.embeddings
        embeddings.word_embeddings = nn.Embedding(len(rows), config.hidden_size, config.pad_token_id, device="meta")
    state = {}
    if new_head is not None:
        shape = wanted[HEAD[0]].shape
        state = {HEAD[0]: torch.randn(shape, generator=new_head) * config.initializer_range, HEAD[1]: torch.zeros(shape[0])}
    by_file = {}
    for theirs, path in weight_files(folder).items():
        if our_name(theirs) in wanted and our_name(theirs) not in state:
            by_file.setdefault(path, []).append(theirs)
    for path, names in by_file.items():
        with safe_open(path, "pt") as file:
            for theirs in names:
                name, tensor = our_name(theirs), file.get_tensor(theirs)
                if tensor.shape != wanted[name].shape:
                    raise UserError(f"{path}: the tensor {theirs} has shape {list(tensor.shape)}; "
                                    f"config.json says {list(wanted[name].shape)}")
                tensor = finite(tensor, path, theirs)
                state[name] = tensor[rows].clone() if rows is not None and name == WORD_EMBEDDINGS else tensor.clone()
    missing = sorted(set(wanted) - set(state))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{folder}: the tensor {missing[0]}{more} is missing in its safetensors files")
    model.load_state_dict(state, assign=True, strict=True)
    return model


def save_model(folder: Path, state: dict[str, Tensor], config, tokenizer, tags: tuple[str, ...], card: str) -> None:
    """Write a Hugging Face folder that ``AutoModelForTokenClassification`` and ``pipeline`` load; it appears whole or not."""
    config.id2label = dict(enumerate(tags))
    config.label2id = {tag: i for i, tag in enumerate(tags)}
    config.architectures = [FAMILY[config.model_type]]
    config.dtype = "float32"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        new = Path(temporary) / folder.name
        config.save_pretrained(new)
        tokenizer.save_pretrained(new)
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, new / "model.safetensors", {"format": "pt"})
        (new / "README.md").write_text(card, encoding="utf-8")
        old = Path(temporary) / "old"
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)


def tags_of(config) -> tuple[str, ...] | None:
    """The tag names of a token-classification checkpoint in the order of their ids; None for a bare encoder's defaults."""
    names = tuple(config.id2label[i] for i in sorted(config.id2label)) if config.id2label else ()
    return None if not names or all(name.startswith("LABEL_") for name in names) else names


def first_line(error: Exception) -> str:
    return (str(error).strip().split("\n") or [""])[0][:200]
