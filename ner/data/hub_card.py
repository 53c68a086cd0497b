"""What a data set's repository says about its rows: the card, and the files that name its labels."""

import ast
import json
import re
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from huggingface_hub import DatasetCard, hf_hub_download, list_repo_files
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from ner.data import tag_names
from ner.data.sentences import LANGUAGE
from ner.options import UserError

CARD, BARE_CARD = "README.md", ".huggingface.yaml"
MAX_CARD_BYTES, MAX_CARD_VALUES = 1 << 23, 10**6
CONVERTED = "refs/convert/"  # the branch where the Hub keeps a data set as Parquet; it holds nothing but the rows
LABEL_FILES = {*tag_names.FILES, *(f"{stem}{ending}" for stem in ("label2id", "id2label") for ending in (".json", ""))}
MAPPING = re.compile(r"\{[^{}]{3,20000}\}")


class Repository:
    """A data set on the Hub, at a revision, or a folder. A folder is checked first and never asks the network."""

    def __init__(self, name: str, revision: str | None) -> None:
        self.name, self.revision = name, revision
        self.folder = Path(name) if Path(name).is_dir() else None
        if self.folder:
            check_card(self.folder)

    @cached_property
    def files(self) -> list[str]:
        """The paths of all files, but for hidden ones and those that no message can show."""
        if self.folder:
            found = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
        else:
            found = list_repo_files(self.name, repo_type="dataset", revision=self.revision)
        return sorted(path for path in found if path.isprintable() and not re.search(r"(^|/)[.]", path))

    def path(self, file: str) -> Path | None:
        """Where a file is on this machine; None where the repository has no such file."""
        if self.folder:
            return self.folder / file if (self.folder / file).is_file() else None
        for revision in (self.revision, *([None] if (self.revision or "").startswith(CONVERTED) else [])):
            try:
                return Path(hf_hub_download(self.name, file, repo_type="dataset", revision=revision))
            except LocalEntryNotFoundError:  # no network: not known, rather than not there
                raise
            except EntryNotFoundError:
                pass
        return None

    @cached_property
    def card(self) -> tuple[dict[str, Any], str]:
        """The card's metadata and its text."""
        path = self.path(CARD)
        card = DatasetCard.load(path) if path else None
        bare = self.folder / BARE_CARD if self.folder else None
        more = yaml.safe_load(bare.read_text(encoding="utf-8")) if bare and bare.is_file() else None
        metadata = card.data.to_dict() if card else {}
        return metadata | (more if isinstance(more, dict) else {}), card.text if card else ""

    @property
    def languages(self) -> list[str]:
        """The languages that the card names."""
        metadata, _ = self.card
        found = metadata.get("language") or metadata.get("languages")
        # Unquoted, YAML reads the code of Norwegian as false.
        found = ["no"] if metadata.get("language") is False else found if isinstance(found, list) else [found]
        languages = ["no" if lang is False else str(lang) for lang in found if lang is not None]
        return [lang for lang in languages if LANGUAGE.fullmatch(lang) and not lang.isdecimal()]

    def label_names(self, column: str, value: str) -> dict[int, str] | None:
        """The names of a column's numbers: from the card's features, a file such as label.json (the one in the
        language's folder if there are several), or a mapping in the card's text."""
        metadata, text = self.card
        if named := names_in_features(metadata.get("dataset_info"), column):
            return named
        paths = [file for file in self.files if PurePosixPath(file).name in LABEL_FILES]
        own = [file for file in paths if value in PurePosixPath(file).parts]
        found = {file: self.names_in_file(file) for file in own or paths}
        found |= {} if any(found.values()) else {CARD: names_in_text(text)}
        named_by = {file: names for file, names in found.items() if names}
        if not named_by:
            return None
        (first, names), *others = named_by.items()
        if other := next((file for file, different in others if different != names), None):
            raise UserError(f"{self.name}: {first} and {other} name the labels differently; expected one of them")
        return names

    def names_in_file(self, file: str) -> dict[int, str] | None:
        path = self.path(file)
        if path is None or path.stat().st_size > MAX_CARD_BYTES:
            return None
        if path.suffix == ".txt":
            return tag_names.read_names(path)
        try:
            return label_names(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.name}, {file}: is not JSON ({str(error)[:80]}); expected the labels' names"
                            ) from None


def label_names(content: Any) -> dict[int, str] | None:
    """Number -> name as `tag_names.named` reads them; None for what names no labels."""
    if isinstance(content, dict):
        content = {str(key): value for key, value in content.items()}
    try:
        names = tag_names.named(content)
    except ValueError:
        return None
    return names if "O" in names.values() else None


def names_in_features(info, column: str) -> dict[int, str] | None:
    """The names in a card's ``dataset_info``, one mapping or a list of them with one for each configuration."""
    for one in info if isinstance(info, list) else [info]:
        features = one.get("features") if isinstance(one, dict) else None
        for feature in features if isinstance(features, list) else []:
            if isinstance(feature, dict) and feature.get("name") == column:
                inner: Any = feature
                while isinstance(inner, dict) and "class_label" not in inner:
                    inner = next((inner[key] for key in ("sequence", "list", "large_list", "dtype") if key in inner),
                                 None)
                if isinstance(inner, dict) and isinstance(inner["class_label"], dict):
                    return label_names(inner["class_label"].get("names"))
    return None


def names_in_text(text: str) -> dict[int, str] | None:
    """The first mapping of names and numbers in a card's text, as in ``{'O': 0, 'B-PER': 1}``."""
    for written in MAPPING.findall(text):
        if re.search("[\"']O[\"']", written):
            try:
                names = label_names(ast.literal_eval(written))
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
                continue
            if names:
                return names
    return None


def check_card(folder: Path) -> None:
    """A data set's card may name files anywhere, but a user who names a folder has not asked for the network; and the
    card may be a bomb: a few lines of aliases that expand to more values than fit into memory."""
    card, bare, described = folder / CARD, folder / BARE_CARD, []
    for path in filter(Path.is_file, (card, bare)):
        if path.stat().st_size > MAX_CARD_BYTES:
            raise UserError(f"{path}: is larger than {MAX_CARD_BYTES:,} bytes; expected a data set's card")
        described.append(DatasetCard.load(path).data.to_dict() if path == card
                         else yaml.safe_load(path.read_text(encoding="utf-8")))
    if written_out(described, {}) > MAX_CARD_VALUES:
        raise UserError(f"{folder}: its card has more than {MAX_CARD_VALUES:,} values; expected a data set's card")
    if any("://" in str(one.get("configs")) for one in described if isinstance(one, dict)):
        raise UserError(f"{folder}: its card names files on other machines; expected files in this folder")


def written_out(value, known: dict[int, int]) -> int:
    """How many values there are in YAML's lists and mappings; what an alias repeats counts each time."""
    if id(value) not in known:
        parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
        known[id(value)] = 1 + sum(written_out(part, known) for part in parts)
    return known[id(value)]
