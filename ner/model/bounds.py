"""How large the files of a model folder may be: a bomb is refused before it fills the memory.

Trade-off. The limits are round numbers that no encoder of the family comes near, not the sizes that the machine could
bear: what is refused here is never a model. How far a precompiled map of characters stretches a word is not looked at.
"""

import json
import math
import stat
from pathlib import Path

from ner.options import UserError

MAX_JSON = 1 << 23  # bytes; 100,000 labels take 5 MB
MAX_TOKENIZER = 1 << 27  # bytes of any of its files; 250,000 pieces take 17 MB
MAX_GROWTH = 256  # characters that a normaliser makes of one; the built-in encoder's: 16
MAX_TEMPLATE = 1 << 16  # bytes of JSON
LARGEST = {  # sizes in config.json; beyond them, building the model would fill the memory
    "num_hidden_layers": 1000, "num_attention_heads": 10**5, "hidden_size": 10**5, "intermediate_size": 10**6,
    "vocab_size": 10**7, "max_position_embeddings": 10**7, "type_vocab_size": 10**5, "num_labels": 10**5,
}


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
    """All that transformers may read beside the weights."""
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".txt", ".model", ".jinja") and path.is_file() and (
                path.stat().st_size > MAX_TOKENIZER):
            raise UserError(f"{path}: is larger than {MAX_TOKENIZER:,} bytes; expected a tokenizer's file")


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


def shortened(value) -> str:
    return repr(value)[:80]


def first_line(error: Exception) -> str:
    return (str(error).strip().split("\n") or [""])[0][:200]
