"""The folder of a run, and files that are there whole or not at all."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from ner.options import Options, UserError
from ner.recipe import read_recipe

RUNS = Path(__file__).parent.parent / "runs"


def new_folder(name: str) -> Path:
    """runs/NAME, or the first of runs/NAME-2, runs/NAME-3 ... that is not there yet."""
    folder, number = RUNS / name, 1
    while folder.exists():
        number += 1
        folder = RUNS / f"{name}-{number}"
    return folder


def check_folder(folder: Path, options: Options) -> None:
    """Refuse to write over a run, or over what has the name of a run's parts."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder for output_dir")
    config = folder / "config.yaml"
    if is_finished(folder) and not options.resume:
        raise UserError(f"{folder}: holds a finished run; name another output_dir or remove it")
    if config.exists() and not options.resume:
        raise UserError(f"{folder}: holds an unfinished run; continue it with --resume or name another output_dir")
    if config.exists() and is_study(read_recipe(config)):
        raise UserError(f"{folder}: holds a study, not a run; name another output_dir")
    for part in ("model", "predictions"):
        if (folder / part).exists() and not config.exists():
            raise UserError(f"{folder}: holds a {part}/ of no run; name another output_dir or move it")


def is_study(recipe: Mapping) -> bool:
    """Whether a recipe, or the config.yaml of a folder, is one of several runs."""
    return "runs" in recipe or recipe.get("seeds") is not None


def is_finished(folder: Path) -> bool:
    return (folder / "results.json").exists()


def write_whole(path: Path, text: str) -> None:
    """The file is there with all of `text` or as it was before."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
