"""What tests replace inside `ner`, and where it is: when a name moves, only `PLACES` changes.

A name that is not in `PLACES` is a place itself, outside `ner`: "os.replace".
"""

import contextlib
import os
import pkgutil
import signal
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

PLACES = {  # name -> every place that holds it
    # folders and names
    "RUNS": ("ner.experiment.folder.RUNS", "ner.experiment.study.RUNS"),
    "PANX": ("ner.data.corpora.PANX",),
    # what asks the Hub
    "snapshot_download": ("ner.model.pretrained.snapshot_download",),
    "config_names": ("ner.data.hub.get_dataset_config_names",),
    "split_names": ("ner.data.hub.get_dataset_split_names",),
    "repo_files": ("ner.data.hub_card.list_repo_files",),
    "hub_file": ("ner.data.hub_card.hf_hub_download",),
    "load_dataset": ("ner.data.hub.load_dataset",),
    "HfApi": ("ner.experiment.publish.HfApi", "ner.model.checks.HfApi"),
    # what is built in
    "encoder_folder": ("ner.model.builtin.encoder_folder",),
    "decode": ("ner.model.builtin._decode",),
    "sentences": ("ner.data.swiss.generate.sentences",),
    # what writes files
    "save_encoder": ("ner.model.builtin.save_file",),
    "save_weights": ("ner.model.pretrained.save_file",),
    "save_tokenizer": ("ner.model.pretrained.save_tokenizer",),
    "save_checkpoint": ("ner.training.checkpoint.save_file",),
    "sync": ("ner.files.sync",),
    "remove_checkpoints": ("ner.training.checkpoint.remove",),
    # a run and its parts
    "build": ("ner.experiment.experiment.build",),
    "run": ("ner.experiment.experiment.run",),
    "make_model": ("ner.experiment.experiment.make_model",),
    "adamw": ("ner.training.optim.adamw",),
    "Head": ("ner.model.roberta.Head",),
    "pseudo_labelled": ("ner.inference.pseudo.pseudo_labelled",),
    "pseudo_checksum": ("ner.inference.pseudo.checksum",),
    "train_step": ("ner.training.loop.train_step",),
    "scaled_mask": ("ner.model.cpu.scaled_mask",),
    # the benchmark
    "serve": ("ner.arms.serve",),
    # what a run shows
    "f1_table": ("ner.evaluation.per_language.f1_table",),
    "log_step": ("ner.evaluation.board.log_step",),
    "log_f1": ("ner.evaluation.board.log_f1",),
    "log_validation": ("ner.evaluation.board.log_validation",),
    "log_report": ("ner.evaluation.board.log_report",),
    "log_confusion": ("ner.evaluation.board.log_confusion",),
    # what an evaluation calls, and what writes its files
    "predict": ("ner.evaluation.per_language.predict",),
    "entity_counts": ("ner.evaluation.scoring.entity_counts",),
    "scores": ("ner.evaluation.scoring.scores",),
    "f1_interval": ("ner.evaluation.intervals.f1_interval",),
    "by_type_intervals": ("ner.evaluation.intervals.by_type_intervals",),
    "calibration": ("ner.evaluation.intervals.calibration",),
    "mean_f1": ("ner.evaluation.per_language.mean_f1",),
    "write_predictions": ("ner.evaluation.predictions.write_predictions",),
    "model_card": ("ner.experiment.ending.model_card",),
    "write_results": ("ner.experiment.ending.write_results",),
    "save_model": ("ner.model.pretrained.save_model",),
    "full_state": ("ner.experiment.experiment.full_state",),
    "confusion_image": ("ner.evaluation.board.confusion_image",),
}

def places(name: str) -> tuple[str, ...]:
    """Where a name is."""
    return PLACES.get(name, (name,))


def original(name: str):
    """What is there now, for doubles that call it."""
    return pkgutil.resolve_name(places(name)[0])


def replace(monkeypatch, name: str, double) -> None:
    """Until pytest's `monkeypatch` undoes it."""
    for place in places(name):
        monkeypatch.setattr(place, double)


@contextlib.contextmanager
def replaced(**doubles) -> Iterator[None]:
    """Within a block."""
    with contextlib.ExitStack() as stack:
        for name, double in doubles.items():
            for place in places(name):
                stack.enter_context(mock.patch(place, double))
        yield


def replace_for_good(name: str, double) -> None:
    """Run a function in a new process and wait for its end."""
    for place in places(name):
        mock.patch(place, double).start()


# ---- doubles


def runs_folder(monkeypatch, folder: Path) -> None:
    """Runs without a name are written there."""
    replace(monkeypatch, "RUNS", folder)


def no_hub(*args, **kwargs):
    """In place of what asks the Hub."""
    raise OSError("no network here")


def no_picture(matrix, names, title) -> np.ndarray:
    """In place of `confusion_image`, which takes a third of a second."""
    return np.zeros((8, 8, 3), np.uint8)


def nothing(*args) -> None:
    """In place of what is to be left out."""


# ---- what a process of its own does before its run


def keep_checkpoints() -> None:
    """Leave the last checkpoint of a run that finishes, to be compared."""
    replace_for_good("remove_checkpoints", nothing)


def signal_at(step: int, number: int) -> None:
    """Send this process signal `number` when the step is logged."""
    log_step = original("log_step")

    def log_and_signal(writer, at, *figures):
        log_step(writer, at, *figures)
        if at == step:
            os.kill(os.getpid(), number)

    replace_for_good("log_step", log_and_signal)


def fail_after_step(step: int, name: str) -> None:
    """A function raises, once, when it is called for the first time after the step was logged."""
    log_step, function = original("log_step"), original(name)

    def fail(*arguments, **named):
        replace_for_good(name, function)
        raise RuntimeError(f"{name} was made to fail")

    def log_and_break(writer, at, *metrics):
        log_step(writer, at, *metrics)
        if at == step:
            replace_for_good(name, fail)

    replace_for_good("log_step", log_and_break)


def die_in(name: str) -> None:
    """SIGKILL where a function is called for the next time."""
    replace_for_good(name, lambda *arguments: os.kill(os.getpid(), signal.SIGKILL))


def die_after(first: str, name: str) -> None:
    """As `die_in`, but not before `first` is called."""
    known = original(first)
    replace_for_good(first, lambda *arguments: (die_in(name), known(*arguments))[1])
