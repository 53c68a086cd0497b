"""Sentences as records, one JSON object each."""

import json
import re
from pathlib import Path
from typing import TypeGuard

from ner.data.sentences import NOT_IN_A_WORD, Sentence
from ner.options import UserError
from ner.tags import check_tag


def starts_json(line: str) -> bool:
    """Whether ``{`` opens an object; it may be the first word of a file with columns, but then a tag ends the line."""
    if not line.startswith("{"):
        return False
    try:
        check_tag(re.split("[ \t]", line)[-1])
    except ValueError:
        return True
    return False


def read_json(path: Path, number: int, line: str) -> Sentence:
    try:
        return Sentence(*json_row(line), number)
    except ValueError as error:
        expected = '{"tokens": [...], "tags": [...]}, a tag for every token'
        raise UserError(f"{path}:{number}: {error}; expected {expected}") from None


def json_row(line: str) -> tuple[list[str], list[str]]:
    """Tokens and tags of one object; ValueError for tokens, too, that no file of columns could hold."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({getattr(error, 'msg', error)})") from None
    tokens, tags = (row.get("tokens"), row.get("tags")) if isinstance(row, dict) else (None, None)
    if not (is_string_list(tokens) and is_string_list(tags)):
        raise ValueError("no lists of strings under 'tokens' and 'tags'")
    if not tokens or len(tokens) != len(tags):
        raise ValueError(f"{len(tokens)} tokens and {len(tags)} tags")
    for token, tag in zip(tokens, tags, strict=True):
        if not token:
            raise ValueError("a word is empty")
        if bad := NOT_IN_A_WORD.search(token):
            raise ValueError(f"{bad[0]!r} inside the word {token[:40]!r}")
        check_tag(tag)
    return tokens, tags


def is_string_list(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
