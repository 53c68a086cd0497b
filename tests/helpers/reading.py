"""A data file with some content, read or refused."""

from pathlib import Path

import pytest

from ner.data.readers import read_file
from ner.data.sentences import Sentence
from ner.options import UserError


def read(folder: Path, content: str | bytes, name: str = "train", lang: str = "de") -> list[Sentence]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_file(path, lang)


def complaint(folder: Path, content: str | bytes, name: str = "train", lang: str = "de") -> str:
    """What follows the file's path in the message."""
    with pytest.raises(UserError) as error:
        read(folder, content, name, lang)
    assert str(error.value).startswith(str(folder / name) + ":") and "\n" not in str(error.value)
    return str(error.value)[len(str(folder / name)) + 1 :]
