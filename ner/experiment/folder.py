"""The folder of a run: its name, what must not be overwritten, and results.json, written and read.

results.json is checked once, when it is read, so that reports and studies can rely on it. Only values that some code
reads are checked.
"""

import json
import os
from contextlib import ExitStack
from pathlib import Path

from ner.files import hold, write_whole
from ner.options import FIELDS, Options, UserError, as_recipe, resolve, shown
from ner.recipe import is_study, read_recipe

RUNS = Path(__file__).parent.parent.parent / "runs"
PSEUDO = "pseudo"  # the folder in a run's that holds the sentences which its teacher tagged


def claim(folder: Path, held: ExitStack) -> bool:
    """Keep other processes out of a run's folder until `held` is closed; False if one is in it."""
    handle = hold(folder)
    if handle is not None:
        held.callback(os.close, handle)
    return handle is not None


def in_use(folder: Path) -> UserError:
    return UserError(f"{folder}: another process is training there; wait for it or name another output_dir")


def new_folder(name: str) -> Path:
    """runs/NAME, or the first of runs/NAME-2, runs/NAME-3, ... that does not exist yet."""
    folder, number = RUNS / name, 1
    while folder.exists():
        number += 1
        folder = RUNS / f"{name}-{number}"
    return from_here(folder)


def from_here(path: Path) -> Path:
    """The path without the current folder, so that it is short in messages and in commands to copy."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def check_folder(folder: Path, options: Options) -> None:
    """Refuse to overwrite a run, or a folder that has the name of one of its parts."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder for output_dir")
    config = folder / "config.yaml"
    if is_finished(folder) and not options.resume:
        raise UserError(f"{folder}: holds a finished run; name another output_dir or remove it")
    if config.exists() and not options.resume:
        raise UserError(f"{folder}: holds an unfinished run; continue it with --resume or name another output_dir")
    if config.exists() and is_study(read_recipe(config)):
        raise UserError(f"{folder}: holds a study, not a run; name another output_dir")
    for part in ("model", "predictions", PSEUDO):
        if (folder / part).exists() and not config.exists():
            raise UserError(f"{folder}: has a {part}/ that is not from a run; name another output_dir or move it")


def check_output(path: Path, option: str = "--output") -> None:
    """``UserError`` if a new file or folder cannot be written there: better now than after the work. `option`: where
    its name is from."""
    if os.path.lexists(path):
        raise UserError(f"{path}: already exists, perhaps with your edits; name another {option}")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise UserError(f"{path}: {above} is not a writable folder; name another {option}")


def is_finished(folder: Path) -> bool:
    return (folder / "results.json").exists()


def write_results(folder: Path, results: dict, writer: int = 0) -> None:
    """Write results.json; it must be the last file of a run, because it marks the run as finished. `writer` as in
    `whole_file`."""
    write_whole(folder / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n", writer)


def number(value) -> bool:
    return isinstance(value, int | float) and 0 <= value < 1e15


def count(value) -> bool:
    return number(value) and value >= 1


def share(value) -> bool:
    return number(value) and value <= 1


METRICS = {"f1": share, "f1_ci95?": (share, share), "sentences": count, "f1_sd?": share, "f1_unseen?": share,
           "f1_unseen_ci95?": (share, share), "unseen_sentences?": number, "ece?": share,
           "calibration?": [(share, share, number)]}
EPOCH = {"epoch": number, "train_loss": number, "validation": {...: {"f1": share, "loss": number}}}
AMOUNTS = {"tagged": number, "sentences": number, "words": number, "masked": number}
TRAIN = {"sentences": count, "seconds": number, "sentences_per_second": number, "tokens_per_second": number,
         "peak_memory_mib": number, "epochs?": [EPOCH], "pseudo?": {"languages": {...: AMOUNTS}}}
RESULTS = {"options": {}, "versions": {}, "train?": TRAIN,
           "eval": {...: {"mean_f1": share, "mean_f1_sd?": share, "mean_f1_ci95?": (share, share), ...: METRICS}}}


def read_results(path: Path) -> dict:
    """The contents of a results.json, with defaults for options that it does not have yet; ``UserError`` if it is not a
    results file."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        check(results, RESULTS)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected the results of a run") from None
    known = {name: value for name, value in results["options"].items() if name in FIELDS and value is not None}
    return {**results, "options": results["options"] | as_recipe(resolve(known, str(path)))}


def check(content, shape) -> None:
    """ValueError if `content` does not have this shape or cannot be written (NaN, infinity, lone surrogates)."""
    json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    if (place := misfit(content, shape)) is not None:
        raise ValueError(f"{shown(place) if place else 'its content'} is missing or not what a run writes")


def misfit(value, shape, place: str = "") -> str | None:
    """The first place where `value` (parsed JSON) does not match `shape`, as ``eval/test/de/f1``; None if it matches.

    A shape is a predicate, ``[shape]`` for a list of any length, a tuple of shapes for a list of exactly these, or a
    mapping. In a mapping, a key that ends in ``?`` may be missing or null, ``...`` matches every key that is not named,
    and other keys are ignored.
    """
    if isinstance(shape, dict) and isinstance(value, dict):
        named = {key.removesuffix("?"): key for key in shape if key is not ...}
        parts = [(name, value.get(name), shape[key]) for name, key in named.items()
                 if name == key or value.get(name) is not None]
        parts += [(name, item, shape[...]) for name, item in value.items() if ... in shape and name not in named]
    elif isinstance(shape, list) and isinstance(value, list):
        parts = [(i, item, shape[0]) for i, item in enumerate(value)]
    elif isinstance(shape, tuple) and isinstance(value, list) and len(shape) == len(value):
        parts = [(i, *pair) for i, pair in enumerate(zip(value, shape, strict=True))]
    elif callable(shape) and shape(value):
        parts = []
    else:
        return place
    found = (misfit(item, part, f"{place}/{name}".lstrip("/")) for name, item, part in parts)
    return next((one for one in found if one is not None), None)
