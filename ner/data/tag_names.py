"""The names of tags that are numbers in a data file: a file beside it, or in the folder above."""

import json
import logging
import re
from pathlib import Path
from typing import Any

from ner.data.lines import is_blank, numbered_lines
from ner.options import UserError, shown

logger = logging.getLogger(__name__)
FILES = ("label.json", "labels.json", "labels.txt", "tags.txt", "label.txt", "tags.json")
FORMS = 'expected a list of names, {"O": 0, "B-PER": 1, ...} or one name per line'
MAX_LINES = 10_000


def tag_names(path: Path) -> dict[int, str]:
    """Number -> tag for the data file `path`; UserError where no file says so."""
    there = [folder / name for folder in (path.parent, path.parent.parent) for name in FILES]
    found = next((file for file in there if file.is_file()), None)
    if found is None:
        raise UserError(f"{path}: its tags are numbers; expected their names in {', '.join(FILES[:4])} in {path.parent}"
                        " or the folder above")
    names = read_names(found)
    logger.warning("%s: the names of its tags were read from %s", path, found)
    return names


def read_names(path: Path) -> dict[int, str]:
    lines = []
    for number, line in numbered_lines(path):
        if number > MAX_LINES:
            raise UserError(f"{path}: longer than {MAX_LINES:,} lines; {FORMS}")
        lines.append(line)
    try:
        if path.suffix == ".json":
            return named(json.loads("\n".join(lines)))
        return named([line.strip() for line in lines if not is_blank(line)])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: {error}; {FORMS}") from None


def named(content: Any) -> dict[int, str]:
    """Number -> name from a list, from names with their numbers, or the other way round."""
    if isinstance(content, dict) and len(content) == 1 and isinstance(next(iter(content.values())), dict | list):
        content = next(iter(content.values()))  # {"id2label": {...}}
    if isinstance(content, list) and content and all(isinstance(name, str) for name in content):
        pairs = [numbered(name, position) for position, name in enumerate(content)]
    elif isinstance(content, dict) and content:
        pairs = [(int(key), value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", key) else (value, key)
                 for key, value in content.items()]
    else:
        raise ValueError("no names in it")
    names = dict(pairs)
    bad = next((pair for pair in pairs if type(pair[0]) is not int or names[pair[0]] != pair[1]), None)
    if bad:
        raise ValueError(f"{shown(bad[1])} has the number {shown(bad[0])}, which is not an integer or has another name")
    return names


def numbered(line: str, position: int) -> tuple[int, str]:
    """A name by its place in the list; a number beside it counts instead: ``0 O``, ``O<TAB>0``."""
    cells = line.split()
    for number, name in (cells, cells[::-1]) if len(cells) == 2 else ():
        if re.fullmatch("[0-9]{1,9}", number):
            return int(number), name
    return position, line
