"""A smaller vocabulary: the subwords that a text can need, and the tokenizer that has only these.

A tokenizer chooses among the ways to split a word: Unigram the most probable one, WordPiece the longest subwords from
the left. What it chose among all subwords it chooses among fewer, too, as long as these are there. Other words are
split into shorter subwords, down to single characters.

Trade-off: BPE is refused, because it reaches a subword by merging others, all of which would have to stay.
"""

import copy
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ner.model.vocabulary import active_rows
from ner.options import UserError

COMMON = 0.01  # of the letters in a text: from there on, a script's other characters are expected, too
KINDS = ("Unigram", "WordPiece")
CONTINUING = "##"  # what WordPiece writes before a subword inside a word


def script(character: str) -> str | None:
    """``"é" -> "LATIN"``, ``"字" -> "CJK"``; None for what any script can use, as digits, punctuation and accents."""
    category, name = unicodedata.category(character), unicodedata.name(character, "").split(" ")[0]
    return None if category[0] not in "LM" or category == "Lm" or name == "COMBINING" else name


def common_scripts(words: Mapping[str, int]) -> set[str | None]:
    """Scripts of at least `COMMON` of the letters in words that occur so often, and None."""
    characters: Counter[str] = Counter()
    for word, times in words.items():
        for character in word:
            characters[character] += times
    scripts: Counter[str] = Counter()
    for character, times in characters.items():
        if (name := script(character)) is not None:
            scripts[name] += times
    return {None, *(name for name, times in scripts.items() if times >= COMMON * scripts.total())}


def pieces(model: dict) -> dict[str, int]:
    """Subword -> id, of a tokenizer's model as tokenizer.json has it."""
    vocabulary = model["vocab"]
    return vocabulary if isinstance(vocabulary, dict) else {piece: i for i, (piece, _) in enumerate(vocabulary)}


def check_kind(folder, content: dict) -> None:
    """``UserError`` for a tokenizer.json whose subwords cannot be chosen one by one."""
    model = content["model"]
    if model["type"] not in KINDS or model.get("byte_fallback"):
        found = model["type"] + " with byte_fallback" * bool(model.get("byte_fallback"))
        raise UserError(f"{folder}: its tokenizer is {found}; expected {' or '.join(KINDS)} without byte_fallback")


def kept_ids(content: dict, chosen: Sequence[Sequence[int]], words: Mapping[str, int], pad_id: int) -> np.ndarray:
    """Sorted ids: those of the subwords that were `chosen` for words, special ones, and single characters of the words'
    scripts. Ids up to `pad_id` stay the same, since positions are counted from it.

    content: tokenizer.json.
    """
    model, scripts = content["model"], common_scripts(words)
    single = [i for piece, i in pieces(model).items()
              if len(bare := piece.removeprefix(CONTINUING) or piece) == 1 and script(bare) in scripts]
    special = [token["id"] for token in content["added_tokens"]]
    if model["type"] == "Unigram":  # from the lowest score of all, it derives that of an unknown character
        special += [model["unk_id"], min(range(len(model["vocab"])), key=lambda i: model["vocab"][i][1])]
    else:
        special.append(model["vocab"][model["unk_token"]])
    return active_rows([np.asarray(ids, np.int64) for ids in chosen], [*special, *single], pad_id)


def trimmed(content: dict, rows: np.ndarray) -> dict:
    """tokenizer.json with the subwords of the ids `rows`, which are numbered from 0 in their order."""
    new = {old: i for i, old in enumerate(rows.tolist())}
    result = copy.deepcopy(content)
    model, vocabulary = result["model"], content["model"]["vocab"]
    if isinstance(vocabulary, list):
        model["vocab"] = [vocabulary[old] for old in rows.tolist() if old < len(vocabulary)]
        model["unk_id"] = new[model["unk_id"]]
    else:
        model["vocab"] = {piece: new[old] for piece, old in vocabulary.items() if old in new}
    for token in result["added_tokens"]:
        token["id"] = new[token["id"]]
    renumber(result["post_processor"] or {}, new)
    return result


def renumber(processor: dict, new: Mapping[int, int]) -> None:
    """The special tokens that a post-processor of tokenizers adds, in place."""
    for part in processor.get("processors", ()):
        renumber(part, new)
    for token in processor.get("special_tokens", {}).values():
        token["ids"] = [new[old] for old in token["ids"]]
    for role in ("sep", "cls"):  # of BERT's and RoBERTa's: (token, id)
        if role in processor:
            processor[role][1] = new[processor[role][1]]


def otherwise(subwords: Mapping[str, Sequence[int]], rows: np.ndarray, words: Mapping[str, int]) -> float | None:
    """The share of words, each counted as often as it occurs, that a tokenizer with the ids `rows` alone splits in
    another way, None without words; `subwords`: how the one with all ids splits them."""
    there = set(rows.tolist())
    lost = sum(times for word, times in words.items() if not there.issuperset(subwords[word]))
    return lost / sum(words.values()) if words else None


def every_tenth(sentences: Iterable[Sequence[str]]) -> tuple[Counter[str], Counter[str]]:
    """How often words occur in nine of ten sentences, and in every tenth."""
    counts: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    for number, words in enumerate(filter(len, sentences), start=1):
        counts[number % 10 == 0].update(words)
    return counts
