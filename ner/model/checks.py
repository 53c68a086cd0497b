"""Everything that a model folder from elsewhere can get wrong: sizes, configuration, tokenizer, tensors.

A bomb is refused before it fills the memory. Trade-off: the limits are round numbers that no encoder of the family
comes near, not the sizes that the machine could take: what is refused here is never a model. How much longer a
precompiled map of characters makes a word is not checked.
"""

import json
import math
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import torch
from huggingface_hub import HfApi
from safetensors import safe_open
from torch import Tensor

from ner.options import UserError

MAX_JSON = 1 << 23  # bytes; 100,000 labels take 5 MB
MAX_TOKENIZER = 1 << 27  # bytes of any of its files; 250,000 pieces take 17 MB
MAX_GROWTH = 256  # characters that a normaliser makes of one; the built-in encoder's: 16
MAX_TEMPLATE = 1 << 16  # bytes of JSON
LARGEST = {  # sizes in config.json; beyond them, building the model would fill the memory
    "num_hidden_layers": 1000, "num_attention_heads": 10**5, "hidden_size": 10**5, "intermediate_size": 10**6,
    "vocab_size": 10**7, "max_position_embeddings": 10**7, "type_vocab_size": 10**5, "num_labels": 10**5,
}
SHARES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "layer_norm_eps",
          "initializer_range")
SPECIAL = ("cls_token", "sep_token", "unk_token", "pad_token")
MODEL_KIND = re.compile(rb'"model"\s*:\s*{\s*"type"\s*:\s*"(\w+)"')  # in tokenizer.json, which takes a second to parse
SHORTEST_WINDOW = 16  # subwords
BOT, TITLE = "SFconvertbot", "Adding `safetensors` variant of this model"  # the Hub's conversions, on pull requests
CONVERSION = f"where N is the pull request {TITLE!r} in the model's Community tab"
LONGEST_TRIAL = 64  # subwords of three characters; bytes of UTF-8 are 5


def read_json(path: Path) -> dict:
    try:
        found = path.stat()  # before opening, since opening a pipe would wait for ever
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_JSON:
            raise ValueError(f"expected a file of up to {MAX_JSON:,} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({first_line(error)})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found {shortened(content)}")
    return content


def check_sizes(path: Path, content: dict) -> None:
    """The sizes that `content`, a config.json, names."""
    for name, largest in LARGEST.items():
        value = content.get(name, 1)
        if type(value) is not int or not 1 <= value <= largest:
            raise UserError(f"{path}: {name} is {shortened(value)}; expected a whole number from 1 to {largest}")


def check_files(folder: Path) -> None:
    """All that transformers may read besides the weights."""
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".txt", ".model", ".jinja") and path.is_file() and (
                path.stat().st_size > MAX_TOKENIZER):
            raise UserError(f"{path}: is larger than {MAX_TOKENIZER:,} bytes; expected a tokenizer's file")


def check_download(name: str, folder: Path, vocabulary_file: str) -> None:
    """A model of the Hub, as it was fetched into `folder`, has weights and a tokenizer that are read."""
    if not any((folder / file).is_file() for file in ("model.safetensors", "model.safetensors.index.json")):
        number = conversion(name)
        way = (f"use --model_revision refs/pr/{number}, its open pull request {TITLE!r}" if number else
               f"use --model_revision refs/pr/N, {CONVERSION}")
        raise UserError(f"model {name}: holds no model.safetensors on this revision, and a pickle (pytorch_model.bin) "
                        f"is not read; {way}")
    check_vocabulary(folder, f"model {name}", name, vocabulary_file)


def conversion(name: str) -> int | None:
    """The number of the open pull request with a Hub model's weights as safetensors; None where the Hub names none."""
    try:
        found = HfApi().get_repo_discussions(
            name, author=BOT, discussion_type="pull_request", discussion_status="open")
        return next((one.num for one in found if one.is_pull_request and (one.author, one.title, one.status) == (
            BOT, TITLE, "open")), None)
    except Exception:  # no network, no permission: the message tells how to look for it
        return None


def check_vocabulary(folder: Path, where: str, name: str, vocabulary_file: str) -> None:
    """`folder` holds what a fast tokenizer is made from: otherwise transformers makes one up from special tokens.

    where: how the message begins. name: what `AutoTokenizer` is given, which is the folder itself or a Hub name.
    """
    if (folder / "tokenizer.json").is_file() or (folder / vocabulary_file).is_file():
        return
    files = " or ".join(dict.fromkeys(("tokenizer.json", vocabulary_file)))
    before, line, after = "", f"AutoTokenizer.from_pretrained({json.dumps(name)}).save_pretrained", json.dumps(name)
    if name != str(folder):
        before, after = f"hf download {name} --local-dir FOLDER, then ", '"FOLDER"'
    raise UserError(f"{where}: holds no {files}; expected the files of a fast tokenizer, which transformers makes "
                    f"(pip install sentencepiece): {before}{line}({after})" + ", and --model FOLDER" * bool(before))


def wordpiece_settings(folder: Path) -> dict:
    """What transformers must be told to build the WordPiece tokenizer of the folder: of tokenizer.json it takes the
    vocabulary, the rest from tokenizer_config.json, and it lower-cases where nothing is said there."""
    if (folder / "tokenizer.json").is_file():
        normalizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")).get("normalizer") or {}
        if normalizer.get("type") != "BertNormalizer":
            return {}
        return {"do_lower_case": normalizer["lowercase"], "strip_accents": normalizer["strip_accents"],
                "tokenize_chinese_chars": normalizer["handle_chinese_chars"]}
    path = folder / "tokenizer_config.json"
    said = read_json(path).get("do_lower_case") if path.is_file() else None
    if not isinstance(said, bool):
        raise UserError(f"{path}: do_lower_case is {shortened(said)}; expected true or false beside a vocab.txt")
    return {}


def is_replaced(folder: Path, tokenizer) -> bool:
    """Whether transformers has built another tokenizer than tokenizer.json describes: a class takes the vocabulary from
    there and may have its own idea of the rest. Only WordPiece is compared in detail."""
    path, built = folder / "tokenizer.json", tokenizer.backend_tokenizer
    kind = MODEL_KIND.search(path.read_bytes()) if path.is_file() else None
    if kind is None:
        return False
    if kind[1].decode() != type(built.model).__name__:
        return True
    if kind[1] != b"WordPiece":
        return False
    content, parts = json.loads(path.read_text(encoding="utf-8")), (built.normalizer, built.pre_tokenizer)
    found = [None if part is None else json.loads(part.__getstate__()) for part in parts]
    return found != [content.get("normalizer"), content.get("pre_tokenizer")]


def growth(normalizer: dict) -> int:
    """The most characters that a normaliser of tokenizers, as its JSON says, makes of one by replacing.

    ``{"type": "Replace", "content": "aa", ...} -> 3``; parts of a sequence multiply.
    """
    parts = normalizer.get("normalizers")
    if parts is not None:
        return math.prod(map(growth, parts))
    return 1 + len(normalizer.get("content") or normalizer.get("prepend") or "")


def check_growth(folder: Path, tokenizer) -> None:
    """What a tokenizer makes of a word is of about the word's length."""
    parts = tokenizer.backend_tokenizer.normalizer, tokenizer.backend_tokenizer.post_processor
    normalizer, template = ("{}" if part is None else part.__getstate__() for part in parts)
    found = growth(json.loads(normalizer))
    if found > MAX_GROWTH:
        raise UserError(f"{folder}: the tokenizer may make {found:,} characters of one; expected up to {MAX_GROWTH}")
    if len(template) > MAX_TEMPLATE:
        raise UserError(f"{folder}: the tokenizer's template for a sentence takes {len(template):,} bytes; "
                        f"expected the special tokens of the model's family")


def problems(config, activations, from_zero: bool) -> Iterator[str]:
    """What keeps a configuration from being built; each may rely on the ones before it.

    from_zero: the family counts positions from 0; otherwise from pad_token_id + 1.
    """
    if config.hidden_act not in activations:
        yield f"hidden_act is {config.hidden_act!r}; expected one of {', '.join(activations)}"
    if config.is_decoder:
        yield "is_decoder is true; expected an encoder"
    if config.hidden_size % config.num_attention_heads:
        yield (f"hidden_size is {config.hidden_size}; expected a multiple of num_attention_heads "
               f"{config.num_attention_heads}")
    kind = getattr(config, "position_embedding_type", None) or "absolute"
    if kind != "absolute":
        yield f"position_embedding_type is {shortened(kind)}; expected 'absolute'"
    for name in SHARES:
        if not 0 <= (getattr(config, name) or 0) < 1:
            yield f"{name} is {getattr(config, name)}; expected 0 up to below 1"
    if config.pad_token_id is None or not 0 <= config.pad_token_id < config.vocab_size:
        yield f"pad_token_id is {config.pad_token_id}; expected an id below vocab_size {config.vocab_size}"
    first = 0 if from_zero else config.pad_token_id + 1
    if config.max_position_embeddings - first < SHORTEST_WINDOW:
        yield (f"max_position_embeddings is {config.max_position_embeddings}; expected room for {SHORTEST_WINDOW} "
               f"subwords" + (f" after the pad_token_id {config.pad_token_id}" if first else ""))


def check_tokenizer(folder: Path, tokenizer, config, from_zero: bool) -> None:
    """It takes words that come split, pads as the model does, and every id of it has an embedding.

    from_zero: positions do not depend on the padding, so the tokenizer may pad with another id than config.json names:
    BERTs with XLM-R's vocabulary do (0 there, 1 in the tokenizer).
    """
    try:
        check_growth(folder, tokenizer)
        # without special tokens, of which a template may add any number
        plain = {"add_special_tokens": False, "verbose": False}
        words = tokenizer(["a", "a", "\U000f0000"], is_split_into_words=True, **plain)
        text = tokenizer("a a \U000f0000", **plain)
        largest = max(tokenizer.get_vocab().values())
        lacking = [name for name in SPECIAL if getattr(tokenizer, f"{name}_id") is None]  # recurses where <unk> is none
    except UserError:
        raise
    except Exception as error:  # transformers and tokenizers raise whatever their parsers do
        raise UserError(f"{folder}: the tokenizer cannot be used ({first_line(error)})") from None
    if lacking:
        raise UserError(f"{folder}: the tokenizer has no {lacking[0]}; expected one as in RoBERTa or BERT")
    if not 0 < len(words.input_ids) <= LONGEST_TRIAL:
        raise UserError(f"{folder}: the tokenizer makes {len(words.input_ids):,} subwords of three characters; "
                        f"expected a template that takes a sentence once")
    if words.input_ids != text.input_ids:
        raise UserError(f"{folder}: the tokenizer reads words that come one by one as parts of one word; expected the "
                        f"tokenizer class of the model's family with add_prefix_space, or a pre-tokenizer that sets it")
    if tokenizer.pad_token_id != config.pad_token_id and not from_zero:
        raise UserError(f"{folder}: the tokenizer pads with id {tokenizer.pad_token_id}, "
                        f"config.json says {config.pad_token_id}")
    if largest >= config.vocab_size:
        raise UserError(f"{folder}: the tokenizer has ids up to {largest}, but vocab_size is {config.vocab_size}; "
                        f"expected the tokenizer that the model was trained with")


def read_checked(path: Path, name: str, shape: torch.Size | None = None) -> Tensor:
    """A tensor of a safetensors file in fp32, all of it finite, of `shape` where that is known."""
    with safe_open(path, "pt") as file:
        found = file.get_slice(name).get_shape()  # before reading: a file can claim any
        if shape is not None and found != list(shape):
            raise UserError(f"{path}: the tensor {name} has shape {found}; config.json says {list(shape)}")
        tensor = file.get_tensor(name)
    if not tensor.is_floating_point():
        raise UserError(f"{path}: the tensor {name} is of type {tensor.dtype}; expected floating-point numbers")
    tensor = tensor.float()
    if tensor.numel() and not torch.isfinite(torch.stack(tensor.aminmax())).all():  # isfinite of all would copy it all
        raise UserError(f"{path}: the tensor {name} holds values that are not finite numbers")
    return tensor


def shortened(value) -> str:
    return repr(value)[:80]


def first_line(error: Exception) -> str:
    return (str(error).strip().split("\n") or [""])[0][:200]
