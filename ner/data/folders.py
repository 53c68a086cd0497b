"""Where the files of a data_dir are: ``<lang>/train.txt`` or, without folders, ``de-train.txt``, ``train.de.tsv``."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ner.data.lines import reason
from ner.data.sentences import LANGUAGE
from ner.options import UserError, shown

SPLIT_NAMES = {"train": ("train",), "validation": ("dev", "validation", "valid", "val", "testa"),
               "test": ("test", "testb")}  # testa and testb as in CoNLL-2003
EXTENSIONS = ("", ".txt", ".tsv", ".conll", ".conllu", ".bio", ".iob2", ".csv", ".json", ".jsonl")
SPLITS = {name: split for split, names in SPLIT_NAMES.items() for name in names}
ANY_SPLIT = "|".join(SPLITS)
FLAT = re.compile(rf"(?P<lang>.+)[-_.](?P<split>{ANY_SPLIT})|(?P<first>{ANY_SPLIT})[-_.](?P<second>.+)", re.DOTALL)
FILES = f"train, dev and test [{' '.join(EXTENSIONS[1:])}] [.gz]"
EXPECTED = "expected a folder with <lang>/train, dev and test files"


def split_file(data_dir: Path, lang: str, split: str, otherwise: str = "") -> Path:
    """The file of a split; UserError where there is none, and where there are two. otherwise: the end of the message
    where there is no such language."""
    there = languages(data_dir)
    if lang not in there:
        if found := names_in(data_dir / lang):
            raise UserError(f"{data_dir / lang}: no file of any split, found {listed(found)}; "
                            f"expected {FILES}{hint(found)}")
        raise UserError(f"{data_dir}: no language '{lang}'; there are {', '.join(there)}{otherwise}")
    path = find_file(data_dir, lang, split)
    if path is None:
        names = " or ".join(SPLIT_NAMES[split][:2]) if split == "validation" else split
        place = data_dir / lang if is_nested(data_dir) else data_dir
        others = [name for name in names_in(place)
                  if split_of(name) is None and (is_nested(data_dir) or flat_name(name) is None)]
        seen = f", found {listed(others)}" if others else ""
        raise UserError(f"{place}: no file for the {split} split{seen}; expected {names} "
                        f"[{' '.join(EXTENSIONS[1:])}] [.gz]{hint(others)}")
    return path


def find_file(data_dir: Path, lang: str, split: str) -> Path | None:
    """The file of a split, a folder or a dead link of that name included; UserError where there are two."""
    if is_nested(data_dir):
        found = [data_dir / lang / name for name in names_in(data_dir / lang) if split_of(name) == split]
    else:
        found = [data_dir / name for name in names_in(data_dir) if flat_name(name) == (lang, split)]
    if len(found) > 1:
        raise UserError(f"{found[0]} and {found[1]} both hold the {split} split of {lang!r}; expected one file")
    return found[0] if found else None


def languages(data_dir: Path) -> list[str]:
    """The languages that have a file of some split, sorted; UserError where there are none."""
    try:
        names = sorted(os.listdir(data_dir))
    except (OSError, ValueError) as error:
        raise UserError(f"{data_dir}: {reason(error)}; {EXPECTED}") from None
    found = list(nested_languages(data_dir)) or sorted({flat[0] for name in names if (flat := flat_name(name))})
    if not found:
        files = [f"{name}/{file}" for name in names if LANGUAGE.fullmatch(name) for file in names_in(data_dir / name)]
        there = f", found {listed(files or names)}" if names else ""
        raise UserError(f"{data_dir}: no language in this folder{there}; {EXPECTED}{hint(files + names)}")
    return found


def is_nested(data_dir: Path) -> bool:
    return any(True for _ in nested_languages(data_dir))


def nested_languages(data_dir: Path) -> Iterator[str]:
    """The folders with a name for a language and a file of some split, sorted."""
    return (name for name in names_in(data_dir)
            if LANGUAGE.fullmatch(name) and any(map(split_of, names_in(data_dir / name))))


def names_in(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where it is not one."""
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []


def stem_of(name: str) -> str:
    """A file's name without .gz and one of `EXTENSIONS`."""
    name = name.removesuffix(".gz")
    return next((name.removesuffix(ending) for ending in EXTENSIONS[1:] if name.endswith(ending)), name)


def ending_of(path: Path) -> str:
    """``.json`` of ``train.json`` and of ``train.json.gz``."""
    return Path(path.name.removesuffix(".gz")).suffix


def split_of(name: str) -> str | None:
    return SPLITS.get(stem_of(name))


def flat_name(name: str) -> tuple[str, str] | None:
    """Language and split of ``de-train.txt``, ``train.de.tsv``, ``de_test.conll``."""
    match = FLAT.fullmatch(stem_of(name))
    lang = match and (match["lang"] or match["second"])
    if not (match and lang and LANGUAGE.fullmatch(lang)):
        return None
    return lang, SPLITS[match["split"] or match["first"]]


def listed(names: list[str]) -> str:
    """Some of them."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(shown, names[:3])) + more


def hint(names: list[str]) -> str:
    """How to go on where the files show what they are."""
    if any(name.endswith(".ann") for name in names):
        return f". {BRAT}"
    if any(name.endswith(".parquet") for name in names):
        return ". Parquet is read by --dataset FOLDER"
    return ""


BRAT = ("The .ann files are brat's, with the entities of the .txt file beside each; write both as one line of JSON, "
        '{"text": "...", "entities": [[start, end, "TYPE"]]}, in a .jsonl file')
