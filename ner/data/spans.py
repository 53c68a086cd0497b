"""Texts with entities given by their characters -> words and tags, from the JSON of the tools that write such texts.

Doccano, Label Studio, spaCy, Prodigy and ``evaluate.py tag --jsonl`` differ in their keys alone. Words are those of
`split_words`, or the tool's own where it gives them (Prodigy, spaCy). An entity that begins or ends inside a word
splits it there: no annotation is lost, and the reader says how often that happened.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from ner.data.sentences import NOT_IN_A_WORD
from ner.data.text import Word, split_words
from ner.options import shown
from ner.tags import check_tag

EXPECTED = 'expected {"text": "...", "entities": [[start, end, "TYPE"]]}'
ENTITIES = ("entities", "spans", "ents", "label", "labels")  # spaCy writes ents, Prodigy spans, Doccano label or labels
STARTS, ENDS = ("start", "start_offset"), ("end", "end_offset")
TYPES = ("label", "type", "entity_group", "labels")


class Entity(NamedTuple):
    """`type` of the characters `[start:end]`."""

    start: int
    end: int
    type: str


class Tagged(NamedTuple):
    """Words with a tag each; `cuts` describes the entities that begin or end inside a word, of `entities` in all."""

    tokens: list[str]
    tags: list[str]
    cuts: Sequence[str] = ()
    entities: int = 0


def has_spans(row: Any) -> bool:
    """Whether this is a text with entities, as one of the tools writes it."""
    if is_pair(row):
        return True
    if not isinstance(row, dict):
        return False
    if is_task(row):
        return True
    spans = first_key(row, ENTITIES)
    return text_key(row) is not None and (spans is not None or may_lack_spans(row))


def may_lack_spans(row: dict) -> bool:
    """Prodigy, and Label Studio's JSON-MIN, leave the key out where there are no entities."""
    tokens = row.get("tokens")
    return "annotation_id" in row or isinstance(tokens, list) and all(isinstance(word, dict) for word in tokens)


def is_pair(row: Any) -> bool:
    """spaCy's training examples: ``["text", {"entities": [...]}]``."""
    return isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], dict)


def is_task(row: dict) -> bool:
    """Label Studio's export: the text under data, the entities in the results of annotations."""
    return isinstance(row.get("data"), dict) and isinstance(row.get("annotations", row.get("completions")), list)


def read_spans(row: Any) -> Tagged:
    """Words and tags of one text; none where its annotator rejected it, skipped it or has not come to it."""
    if is_pair(row):
        row = {"text": row[0], **row[1]}
    if not isinstance(row, dict):
        raise ValueError(f"{shown(row)} is not an object")
    if row.get("answer", "accept") != "accept":  # Prodigy
        return Tagged([], [])
    text, items = task(row) if is_task(row) else plain(row)
    if items is None:
        return Tagged([], [])
    given = row.get("tokens")
    if isinstance(given, list) and given:
        return tagged(text, own_words(given, text), [entity(item, text) for item in items])
    return tagged(text, split_words(text), [trimmed(entity(item, text), text) for item in items])


def plain(row: dict) -> tuple[str, list]:
    key, spans = text_key(row), first_key(row, ENTITIES)
    if key is None:
        raise ValueError("no string under 'text'")
    if spans is None and may_lack_spans(row):
        return row[key], []
    if spans is None or not isinstance(row[spans], list):
        raise ValueError(f"no list under {spans or 'entities'!r}")
    return row[key], row[spans]


def task(row: dict) -> tuple[str, list | None]:
    texts = [value for value in row["data"].values() if isinstance(value, str)]
    text = row["data"].get("text", texts[0] if len(texts) == 1 else None)
    if not isinstance(text, str):
        raise ValueError(f"{len(texts)} strings under 'data', none of them called 'text'")
    found = []
    for annotation in row["annotations"] if "annotations" in row else row["completions"]:
        results = annotation.get("result") if isinstance(annotation, dict) else None
        if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
            raise ValueError("no list of objects under 'result' of an annotation")
        if not annotation.get("was_cancelled"):
            found.append([one["value"] for one in results if isinstance(one.get("value"), dict)
                          and (one.get("type", "labels") in ("labels", "hypertextlabels"))])
    if any(other != found[0] for other in found[1:]):
        raise ValueError(f"{len(found)} annotations that differ; expected one per text")
    return text, found[0] if found else None


def text_key(row: dict) -> str | None:
    """Where the text is; some versions of Doccano call it data."""
    return next((key for key in ("text", "data") if isinstance(row.get(key), str)), None)


def first_key(row: dict, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in row), None)


def entity(item: Any, text: str) -> Entity:
    """The entity of a list or an object."""
    written = None
    if isinstance(item, dict):
        span = item.get("span")  # [start, end] of Stockmark's corpora
        start, end = span if isinstance(span, list) and len(span) == 2 else (
            item.get(first_key(item, names)) for names in (STARTS, ENDS))
        kind, written = item.get(first_key(item, TYPES)), item.get("text")
        if isinstance(kind, list) and len(kind) == 1:
            kind = kind[0]
    elif isinstance(item, list) and len(item) == 3:
        start, end, kind = item
    else:
        raise ValueError(f"{shown(item)} is not an entity")
    if not (type(start) is type(end) is int and isinstance(kind, str)):
        raise ValueError(f"the entity {shown(item)} has no start and end (integers) or no type (a string)")
    place = f"the entity {start}-{end} {kind[:40]!r}"
    if not 0 <= start < end <= len(text):
        raise ValueError(f"{place} is not inside the text of {len(text)} characters; expected start < end, in "
                         "characters from 0")
    inside = text[start:end]
    if isinstance(written, str) and bare(written) != bare(inside):
        raise ValueError(f"{place} is {written[:40]!r}, but these characters are {inside[:40]!r}; expected offsets in "
                         "characters from 0")
    try:
        check_tag(f"B-{kind}")
    except ValueError:
        raise ValueError(f"{place}: the type cannot be part of a tag; expected printable characters without spaces"
                         ) from None
    return Entity(start, end, kind)


def trimmed(found: Entity, text: str) -> Entity:
    """Without white space at its ends."""
    inside = text[found.start : found.end]
    if not inside.strip():
        raise ValueError(f"the entity {found.start}-{found.end} {found.type!r} is white space; expected a word")
    return Entity(found.end - len(inside.lstrip()), found.start + len(inside.rstrip()), found.type)


def bare(text: str) -> str:
    """Without white space, which Label Studio writes in its own way."""
    return re.sub(r"\s|\\n", "", text)


def own_words(tokens: list, text: str) -> list[Word]:
    """The words that a tool gives, with their offsets or as they are in the text, one after the other."""
    words: list[Word] = []
    end = 0
    is_joined = all(isinstance(token, str) for token in tokens) and text == " ".join(tokens)
    for token in tokens:
        start, stop = (token.get("start"), token.get("end")) if isinstance(token, dict) else (None, None)
        if isinstance(token, str):
            start = end + bool(words) if is_joined else text.find(token, end)
            stop = start + len(token)
        if not (type(start) is type(stop) is int and end <= start <= stop <= len(text)):
            raise ValueError(f"{shown(token)} is not a token of the text; expected start and end in characters from 0, "
                             "one token after the other")
        end = stop
        if text[start:end].strip() or isinstance(token, str):  # spaCy counts white space as tokens
            words.append(Word(text[start:end], start, end))
    return words


def tagged(text: str, words: list[Word], entities: list[Entity]) -> Tagged:
    """IOB2 tags for the words, which are split where entities begin or end inside; ValueError for overlaps."""
    entities = sorted(set(entities))
    for one, other in pairwise(entities):
        if other.start < one.end:
            raise ValueError(f"the entities {one.start}-{one.end} {one.type!r} and {other.start}-{other.end} "
                             f"{other.type!r} overlap; expected at most one entity at each word")
    edges = sorted({edge for found in entities for edge in found[:2]})
    pieces, cut = [], {}
    for word in words:
        inside = edges[bisect_right(edges, word.start) : bisect_left(edges, word.end)]
        cut.update(dict.fromkeys(inside, word))
        pieces += [Word(text[i:j], i, j) for i, j in pairwise([word.start, *inside, word.end])]
    if bad := next(filter(None, (NOT_IN_A_WORD.search(piece.text) for piece in pieces)), None):
        raise ValueError(f"{bad[0]!r} inside a word; expected text")
    tags, at = ["O"] * len(pieces), 0
    for start, end, kind in entities:
        while at < len(pieces) and pieces[at].start < start:
            at += 1
        first = at
        while at < len(pieces) and pieces[at].start < end:
            tags[at] = ("B-" if at == first else "I-") + kind
            at += 1
        if at == first:
            raise ValueError(f"the entity {start}-{end} {kind!r} is not part of any word; expected one of the tokens")
    cuts = [f"the entity {one.start}-{one.end} {one.type!r} cuts the word {word.text[:40]!r}"
            for one in entities for word in [cut.get(one.start) or cut.get(one.end)] if word]
    return Tagged([piece.text for piece in pieces], tags, cuts, len(entities))
