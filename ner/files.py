"""The folder of a run, and files that are there whole or not at all."""

import hashlib
import json
import os
from pathlib import Path

from ner.options import Options, UserError

RUNS = Path(__file__).parent.parent / "runs"


def new_folder(name: str) -> Path:
    """runs/NAME, or the first of runs/NAME-2, runs/NAME-3 ... that is not there yet."""
    folder, number = RUNS / name, 1
    while folder.exists():
        number += 1
        folder = RUNS / f"{name}-{number}"
    return folder


def check_folder(folder: Path, options: Options) -> None:
    """Refuse to write over a run."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder for output_dir")
    if is_finished(folder) and not options.resume:
        raise UserError(f"{folder}: holds a finished run; name another output_dir or remove it")
    if (folder / "config.yaml").exists() and not options.resume:
        raise UserError(f"{folder}: holds an unfinished run; continue it with --resume or name another output_dir")


def is_finished(folder: Path) -> bool:
    return (folder / "results.json").exists()


def read_results(path: Path) -> dict:
    """A results.json; ``UserError`` where the file is something else."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected the results of a run") from None
    if not isinstance(results, dict) or not all(isinstance(results.get(key), dict) for key in ("options", "eval")):
        raise UserError(f"{path}: has no options and eval; expected the results of a run")
    return results


def write_whole(path: Path, text: str) -> None:
    """The file is there with all of `text` or as it was before."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


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
