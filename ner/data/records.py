"""Sentences as JSON records: words with tags, or texts with character spans; JSON Lines or one list of records.

The first record shows under which keys words and tags are, and whether tags are names or numbers; every other record
must be like it.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeGuard

from ner.data.sentences import NOT_IN_A_WORD, Sentence
from ner.data.spans import EXPECTED as SPANS_EXPECTED
from ner.data.spans import Tagged, first_key, has_spans, read_spans
from ner.data.tag_names import tag_names
from ner.options import Options, UserError
from ner.tags import check_tag

logger = logging.getLogger(__name__)
WORDS, TAGS = ("tokens", "words"), ("ner_tags", "tags", "labels")
EXPECTED = 'expected {"tokens": [...], "tags": [...]}, a tag for every token'
OBJECT = re.compile(r'\{\s*("(?:[^"\\]|\\.)*"\s*:|$)')
TAG_AT_END = re.compile(r"[ \t](O|[BIESLUM]-\S+)$")
LIST = re.compile(rb'\[\s*(\{\s*"|\[\s*")')
Reader = Callable[[Any], Tagged]


def starts_json(line: str) -> bool:
    """Whether ``{`` opens an object. It may be the first word of a file with columns, but then a tag ends the line."""
    return OBJECT.match(line) is not None and TAG_AT_END.search(line) is None


def starts_list(head: bytes, is_json: bool) -> bool:
    """Whether ``[`` opens a list of records. It may be the first word of a file with columns, or open a line of JSON
    Lines: ``["text", {...}]``."""
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return LIST.match(head) is not None or is_json and head.startswith(b"[") and not head.startswith(b'["')


def parsed(path: Path, number: int, line: str) -> tuple[int, Any]:
    """The value in one line of JSON Lines, with its number."""
    try:
        return number, json.loads(line)
    except (ValueError, RecursionError) as error:
        problem = getattr(error, "msg", str(error))
        raise UserError(f"{path}:{number}: not JSON ({problem}); {EXPECTED}") from None


def read_records(path: Path, rows: Iterable[tuple[int, Any]], options: Options, unit: str = "") -> list[Sentence]:
    """The sentences of (line, record); `unit` names a record where several may be on one line."""
    sentences: list[Sentence] = []
    read: Reader | None = None
    cuts, count, entities, left_out = "", 0, 0, 0
    for position, (line, row) in enumerate(rows, start=1):
        place = f"{path}:{line}: {unit} {position}:" if unit else f"{path}:{line}:"
        read = read or reader_of(path, row, options)
        try:
            found = read(row)
        except ValueError as error:
            expected = SPANS_EXPECTED if read is read_spans else EXPECTED
            raise UserError(f"{place} {error}" if "; expected " in str(error) else f"{place} {error}; {expected}"
                            ) from None
        cuts = cuts or (f"{place} {found.cuts[0]}" if found.cuts else "")
        count, entities = count + len(found.cuts), entities + found.entities
        if found.tokens:
            sentences.append(Sentence(found.tokens, found.tags, line))
        else:
            left_out += 1
    if left_out:
        logger.warning("%s: left out %d texts without words or annotation", path, left_out)
    if cuts:
        logger.warning("%s, which was split there (%d of %d entities)", cuts, count, entities)
    return sentences


def reader_of(path: Path, row: Any, options: Options) -> Reader:
    """What reads records like this one, the first. --token_column and --tag_column name keys."""
    keys = row if isinstance(row, dict) else {}
    for name, key in (("token_column", options.token_column), ("tag_column", options.tag_column)):
        if key is not None and key not in keys:
            raise UserError(f"{path}: no key {key!r} in its first record; expected {name} to be one of "
                            f"{', '.join(map(repr, keys))[:200] or 'its keys'}")
    words, tags = options.token_column or first_key(keys, WORDS), options.tag_column or first_key(keys, TAGS)
    if words and tags and (is_flat(row[tags]) or not has_spans(row)):
        with_ids = isinstance(row[tags], list) and any(type(tag) is int for tag in row[tags])
        names = tag_names(path) if with_ids else None
        return lambda later: word_row(later, words, tags, names)
    if isinstance(row, dict) and {"tokenized_text", "ner"} <= row.keys():
        return gliner_row
    return read_spans if has_spans(row) else unknown


def unknown(row: Any) -> Tagged:
    keys = f"the keys {', '.join(map(repr, row))[:200]}" if isinstance(row, dict) else "no object"
    raise ValueError(f"{keys}: no lists of strings under 'tokens' and 'tags', no 'text' with 'entities'")


def word_row(row: Any, words: str, tags: str, names: dict[int, str] | None) -> Tagged:
    """Words and tags under these keys; ValueError for words, too, that no file of columns could hold."""
    tokens, found = (row.get(words), row.get(tags)) if isinstance(row, dict) else (None, None)
    if names and is_flat(found):
        unnamed = next((tag for tag in found if type(tag) is not int or tag not in names), None)
        if unnamed is not None:
            raise ValueError(f"{unnamed!r} under {tags!r} has no name; expected one of the numbers "
                             f"{', '.join(map(str, names))[:200]}")
        found = [names[tag] for tag in found]
    if not (is_string_list(tokens) and is_string_list(found)):
        raise ValueError(f"no lists of strings under {words!r} and {tags!r}")
    if not tokens or len(tokens) != len(found):
        raise ValueError(f"{len(tokens)} tokens and {len(found)} tags")
    for token in tokens:
        check_word(token)
    return Tagged(tokens, found)


def gliner_row(row: Any) -> Tagged:
    """GLiNER's ``{"tokenized_text": [...], "ner": [[first, last, TYPE]]}``: words counted from 0, the last included."""
    tokens, spans = (row.get("tokenized_text"), row.get("ner")) if isinstance(row, dict) else (None, None)
    if not (is_string_list(tokens) and tokens and isinstance(spans, list)):
        raise ValueError("no words under 'tokenized_text' or no list under 'ner'; "
                         'expected {"tokenized_text": [...], "ner": [[first, last, "TYPE"]]}')
    for token in tokens:
        check_word(token)
    tags = ["O"] * len(tokens)
    for span in spans:
        first, last, kind = span if isinstance(span, list) and len(span) == 3 else (None, None, None)
        if not (type(first) is type(last) is int and isinstance(kind, str) and 0 <= first <= last < len(tokens)):
            raise ValueError(f"{str(span)[:80]} under 'ner' is not [first, last, \"TYPE\"] of {len(tokens)} words; "
                             "expected numbers of words from 0")
        if any(tag != "O" for tag in tags[first : last + 1]):
            raise ValueError(f"the entity {first}-{last} {kind[:40]!r} overlaps another one; expected at most one "
                             "entity at each word")
        check_tag(f"B-{kind}")
        tags[first : last + 1] = [f"B-{kind}"] + [f"I-{kind}"] * (last - first)
    return Tagged(tokens, tags)


def check_word(token: str) -> None:
    if not token:
        raise ValueError("a word is empty")
    if bad := NOT_IN_A_WORD.search(token):
        raise ValueError(f"{bad[0]!r} inside the word {token[:40]!r}")


def is_flat(value: object) -> TypeGuard[list]:
    return isinstance(value, list) and all(isinstance(item, (str, int)) for item in value)


def is_string_list(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
