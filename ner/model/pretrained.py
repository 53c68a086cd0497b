"""Load and save in Hugging Face format: folders that transformers reads, and that come from it, untouched.

Trade-off. Only safetensors is read, tensor by tensor and checked (name, shape, finite values) before it is used: a
pickle can run code, and a folder with a missing tensor would otherwise train from noise without a word.
"""

import copy
import json
import logging
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoTokenizer, PreTrainedTokenizerFast

from ner.files import whole_folder
from ner.model import builtin, checks
from ner.model.checks import first_line, read_json, shortened
from ner.model.roberta import ACTIVATIONS, TokenClassifier
from ner.options import Options, UserError

logger = logging.getLogger(__name__)
BUILTIN = "e5-small"
FILES = ["*.json", "vocab.txt", "model.safetensors", "model-*.safetensors"]  # fetched from the Hub: no pickles, no code
BODY = "roberta."  # what the names of the encoder's tensors begin with in this project
WORD_EMBEDDINGS = f"{BODY}embeddings.word_embeddings.weight"
POSITIONS = f"{BODY}embeddings.position_embeddings.weight"
HEAD = "classifier."  # what the names of its tensors begin with
CODE = ("auto_map", "custom_pipelines")  # where a folder names Python files of its own


class Family(NamedTuple):
    """How the encoders of a `model_type` differ from each other; their layers are the same."""

    architecture: str  # the class of transformers that a saved model names
    prefix: str = BODY  # of the encoder's tensors in a saved model
    from_zero: bool = False  # positions are counted from 0; otherwise from pad_token_id + 1
    vocabulary_file: str = "tokenizer.json"  # enough for transformers to build the fast tokenizer
    tokenizer_options: tuple[tuple[str, bool], ...] = ()  # without which words that come split are glued together


FAMILY = {
    "xlm-roberta": Family("XLMRobertaForTokenClassification"),
    "roberta": Family("RobertaForTokenClassification", tokenizer_options=(("add_prefix_space", True),)),
    "camembert": Family("CamembertForTokenClassification"),
    "bert": Family("BertForTokenClassification", "bert.", from_zero=True, vocabulary_file="vocab.txt"),
}


def folder_of(name: str, revision: str | None = None) -> Path:
    """The folder of a model given as ``e5-small``, folder or Hub name (downloaded at `revision`, without pickles)."""
    if name == BUILTIN:
        return builtin.encoder_folder()
    if os.path.lexists(name):
        if not os.path.isfile(os.path.join(name, "config.json")):
            raise UserError(f"{name}: not a model folder; expected config.json and model.safetensors in it")
        return Path(name)
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise UserError(f"{name}: no such folder; name a model folder, a model on the Hub or {BUILTIN}")
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=FILES))
    except Exception as error:  # the Hub's client raises many kinds; all of them mean the same here
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"model {name}: not a folder, and not available from the Hub ({reason})") from None
    family = FAMILY[load_config(folder).model_type]
    checks.check_download(name, folder, family.vocabulary_file)
    return folder


def encoder_of(options: Options):
    """Folder and configuration of a run's encoder; ``UserError`` where `max_length` or `freeze` is beyond it."""
    source = folder_of(options.model, options.model_revision)
    config = load_config(source)
    longest = config.max_position_embeddings - config.pad_token_id - 1
    if options.max_length > longest:
        raise UserError(f"max_length: expected at most {longest} for {options.model}, found {options.max_length}")
    if options.freeze is not None and options.freeze > config.num_hidden_layers:
        raise UserError(f"freeze: expected at most {config.num_hidden_layers}, the layers of {options.model}, "
                        f"found {options.freeze}")
    return source, config


def unused_positions(config) -> int:
    """Rows before the first position that this project's table has and the files of the family do not.

    The model counts positions from pad_token_id + 1, as RoBERTa does. BERT counts from 0, so its rows are moved.
    """
    return config.pad_token_id + 1 if FAMILY[config.model_type].from_zero else 0


def load_config(folder: Path):
    """The transformers configuration of an encoder, with as many positions as this project's table has (`save_model`
    writes the number of the files again). Code that it names is forgotten, not run."""
    path = folder / "config.json"
    content = read_json(path)
    family = content.get("model_type")
    if family not in list(FAMILY):
        raise UserError(f"{path}: model_type is {family!r}; expected one of {', '.join(FAMILY)}")
    checks.check_sizes(path, content)
    for code in CODE:
        content.pop(code, None)
    try:
        config = CONFIG_MAPPING[family].from_dict(content)
    except Exception as error:  # whatever the validators of transformers raise
        raise UserError(f"{path}: not a model configuration ({first_line(error)})") from None
    for problem in checks.problems(config, ACTIVATIONS, FAMILY[family].from_zero):
        raise UserError(f"{path}: {problem}")
    config.max_position_embeddings += unused_positions(config)
    return config


def load_tokenizer(folder: Path, config):
    """The fast tokenizer of a model folder, ready for text split into words; all its ids have an embedding."""
    family = FAMILY[config.model_type]
    checks.check_vocabulary(folder, str(folder), str(folder), family.vocabulary_file)
    checks.check_files(folder)
    given = {"config": copy.deepcopy(config), "trust_remote_code": False, **dict(family.tokenizer_options)}
    try:
        if family.vocabulary_file == "vocab.txt":
            given |= checks.wordpiece_settings(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, **given)
        if checks.is_replaced(folder, tokenizer):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)  # tokenizer.json as it is
    except UserError:
        raise
    except Exception as error:  # transformers and tokenizers raise whatever their parsers do
        raise UserError(f"{folder}: the tokenizer cannot be used ({first_line(error)})") from None
    checks.check_tokenizer(folder, tokenizer, config, family.from_zero)
    return tokenizer


def word_embeddings(model: nn.Module) -> nn.Parameter:
    """The parameter that `WORD_EMBEDDINGS` names, also where `model` is wrapped, as by peft."""
    return next(p for name, p in model.named_parameters() if name.endswith(WORD_EMBEDDINGS))


def weight_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Tensor name, as in this model -> the safetensors file that holds it and its name there."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if single.is_file():
        shards = {single}
    elif index.is_file():
        names = read_json(index).get("weight_map")
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise UserError(f"{index}: not an index of weights; expected a weight_map from tensors to files")
        shards = {folder / name for name in names.values()}
        for path in sorted(shards):
            if path.parent != folder:
                raise UserError(f"{index}: names {str(path)!r}; expected files in its own folder")
    else:
        raise UserError(f"{folder}: holds no model.safetensors; a pickle (pytorch_model.bin) is not read: save the "
                        f"model as safetensors with transformers, or take it from the Hub by its name with "
                        f"--model_revision refs/pr/N, {checks.CONVERSION}")
    files: dict[str, tuple[Path, str]] = {}
    for path in sorted(shards):
        try:
            with safe_open(path, "pt") as file:
                files |= {our_name(name): (path, name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        except (SafetensorError, OSError, RuntimeError) as error:  # the last: one larger than the memory
            raise UserError(f"{path}: not a safetensors file ({first_line(error)})") from None
    return files


def our_name(name: str) -> str:
    """A checkpoint's tensor name as this model has it: older and headless files leave out the prefix."""
    for family in FAMILY.keys() - {"roberta"}:
        name = name.removeprefix(f"{family.replace('-', '_')}.")
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    return name if name.startswith((BODY, HEAD)) else f"{BODY}{name}"


def read_tensor(folder: Path, name: str) -> Tensor:
    """One tensor of a model folder in fp32, by this model's name; ``UserError`` where it is missing or not finite."""
    files = weight_files(folder)
    if name not in files:
        raise UserError(f"{folder}: the tensor {name} is missing")
    return checks.read_checked(*files[name])


def load_model(folder: Path, config, attention: str, rows: np.ndarray | None = None,
               new_head: torch.Generator | None = None, tags: tuple[str, ...] = ()) -> TokenClassifier:
    """A `TokenClassifier` with the weights of `folder`, in fp32 on the CPU.

    rows: keep these rows of the word embeddings only (active vocabulary). new_head: draw the head from this generator
    (`Head.initialise`), but keep the rows that the folder's head has for any of `tags`. Without new_head, the head must
    be in the folder.
    """
    with torch.device("meta"):
        model = TokenClassifier(config, attention)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    if rows is not None:
        model.roberta.embeddings.word_embeddings = nn.Embedding(
            len(rows), config.hidden_size, config.pad_token_id, device="meta")
    files, state = weight_files(folder), {}
    if new_head is not None:
        state = head_state(model, folder, files, new_head, tags)
    missing = sorted(shapes.keys() - files.keys() - state.keys())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UserError(f"{folder}: the tensor {missing[0]}{more} is missing in its safetensors files")
    for name in [name for name in shapes if name not in state]:
        count, *others = shapes[name]
        unused = unused_positions(config) if name == POSITIONS else 0
        tensor = checks.read_checked(*files[name], torch.Size((count - unused, *others)))
        if unused:
            tensor = F.pad(tensor, (0, 0, unused, 0))
        state[name] = tensor[torch.as_tensor(rows)] if name == WORD_EMBEDDINGS and rows is not None else tensor.clone()
    model.load_state_dict(state, assign=True, strict=True)
    return model


def head_state(model: TokenClassifier, folder: Path, files: dict[str, tuple[Path, str]], generator: torch.Generator,
               tags: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of a head for `tags`: the folder's own where they are for just these tags in this order; otherwise
    drawn from the generator, and the rows of the tags that the folder's head knows put in their places."""
    shapes = {f"{HEAD}{name}": parameter.shape for name, parameter in model.classifier.named_parameters()}
    theirs = head_tags(folder) if files.keys() >= shapes.keys() else ()
    known = [tag for tag in tags if tag in theirs]
    if known and theirs == tags:
        logger.warning("%s: has a head for these tags, training goes on from it", folder)
        return {name: checks.read_checked(*files[name], shape).clone() for name, shape in shapes.items()}
    model.classifier.to_empty(device="cpu")
    model.classifier.initialise(model.config.initializer_range, generator)
    state = {name: model.get_parameter(name).data for name in shapes}
    if not known or list(shapes) != [f"{HEAD}weight", f"{HEAD}bias"]:
        return state  # what else a head holds by tag cannot be put in another order from here
    for name, tensor in state.items():
        found = checks.read_checked(*files[name], torch.Size((len(theirs), *tensor.shape[1:])))
        tensor[[tags.index(tag) for tag in known]] = found[[theirs.index(tag) for tag in known]]
    if sorted(theirs) == sorted(tags):
        logger.warning("%s: has a head for these tags, training goes on from it", folder)
    else:
        new = [tag for tag in tags if tag not in theirs]
        logger.warning("%s: has a head for other tags; it keeps its rows for %s, and gets new ones for %s", folder,
                       " ".join(known), " ".join(new) or "no tag")
    return state


def head_tags(folder: Path) -> tuple[str, ...]:
    """The tags of a folder's head, none where it names none."""
    try:
        return tags_of(load_config(folder)) or ()
    except ValueError:
        return ()


def save_model(folder: Path, state: dict[str, Tensor], config, tokenizer, tags: tuple[str, ...], card: str) -> None:
    """Write a folder that ``AutoModelForTokenClassification`` and ``pipeline`` load; it appears whole or not at all."""
    config, family, unused = copy.deepcopy(config), FAMILY[config.model_type], unused_positions(config)
    config.id2label = dict(enumerate(tags))
    config.label2id = {tag: i for i, tag in enumerate(tags)}
    config.architectures = [family.architecture]
    config.dtype = "float32"
    with torch.device("meta"):
        expected = dict(TokenClassifier(config).named_parameters()).keys()
    config.max_position_embeddings -= unused
    if odd := sorted(expected ^ state.keys()):
        raise ValueError(f"{folder}: the tensors {', '.join(odd[:3])} are missing or unknown; expected those of a "
                         f"TokenClassifier, with what was added to its linear maps merged into them")
    try:
        with whole_folder(folder) as new:
            config.save_pretrained(new)
            save_tokenizer(new, tokenizer)
            tensors = {name.replace(BODY, family.prefix, 1) if name.startswith(BODY) else name:
                       (tensor[unused:].clone() if name == POSITIONS and unused else tensor).contiguous()
                       for name, tensor in state.items()}
            save_file(tensors, new / "model.safetensors", {"format": "pt"})
            (new / "README.md").write_text(card, encoding="utf-8")
    except Exception as error:  # a full disk is another kind of error to each of the writers
        raise UserError(f"{folder}: the model could not be written ({first_line(error)})") from None


def save_tokenizer(folder: Path, tokenizer) -> None:
    """As transformers does, but under a class name that its version 4 knows too, and without code."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    content = {key: value for key, value in read_json(path).items() if key not in CODE}
    if content["tokenizer_class"] == "TokenizersBackend":
        content["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def tags_of(config) -> tuple[str, ...] | None:
    """The tag names of a token-classification checkpoint in the order of their ids; None for a bare encoder's defaults.
    ValueError where the ids are not 0 to K - 1."""
    ids = sorted(config.id2label or {})
    if ids != list(range(len(ids))):
        raise ValueError(f"its ids are {shortened(ids)}; expected 0 to {len(ids) - 1}")
    names = tuple(config.id2label[i] for i in ids)
    return None if all(str(name).startswith("LABEL_") for name in names) else names
