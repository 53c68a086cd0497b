"""All that one run works with, and what is read off it: weights to save, figures to report, what makes it itself."""

import hashlib
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from ner.data import sampling
from ner.evaluation import evaluate
from ner.evaluation.evaluate import Encoded, Scored
from ner.model import pretrained, vocabulary
from ner.options import Options, as_recipe
from ner.results import EPOCH, check, number, share
from ner.tags import TagSet
from ner.training import checkpoint, loop, machine, optim, selection
from ner.training.loop import Progress


@dataclass
class Run:
    """All that one run works with."""

    options: Options
    folder: Path
    accelerator: Accelerator
    tokenizer: object
    tags: TagSet
    training: Encoded
    validation: dict[str, Encoded]
    test: dict[str, Encoded]
    rows: np.ndarray | None  # of the embedding table that the sentences touch; None: the full table is trained
    bare: torch.nn.Module  # the model itself
    model: torch.nn.Module  # as Accelerate wraps it
    optimizer: torch.optim.Optimizer
    progress: Progress = field(default_factory=Progress)
    best: dict[str, torch.Tensor] = field(default_factory=dict)  # weights of the selected epoch; empty: the last counts
    writer: object = None  # TensorBoard, on the main process

    @property
    def total(self) -> int:
        return loop.total_steps(len(self.training.lengths), self.options)

    @property
    def per_epoch(self) -> int:
        return sampling.steps_per_epoch(len(self.training.lengths), self.options.batch_size)


def identity_of(state: Run, source: Path) -> dict:
    """What must be the same for a run to be continued: all that its result depends on.

    Of the encoder in the folder `source`, the embedding table: a checkpoint holds but the rows that are trained.
    """
    table = pretrained.read_tensor(source, pretrained.WORD_EMBEDDINGS)
    content = hashlib.sha256()
    for encoded in [state.training, *state.validation.values(), *state.test.values()]:
        for window in encoded.windows:
            content.update(window.input_ids.tobytes() + window.labels.tobytes())
    return {**checkpoint.identity_options(as_recipe(state.options)), "tag set": state.tags.names,
            "training sentences": len(state.training.lengths), "checksum of the encoded data": content.hexdigest(),
            "checksum of the encoder's embeddings": hashlib.sha256(table.numpy()).hexdigest(),
            "precision": state.accelerator.mixed_precision,
            **{key: version for key, version in machine.versions().items() if key != "git"}}


def check_progress(state: Run) -> None:
    """ValueError where progress and best weights, as a checkpoint has them, are none that this run can have."""
    def step(value) -> bool:
        return type(value) is int and 0 <= value <= state.total

    progress = state.progress
    check(asdict(progress), {
        "step": step, "updates": step, "loss_sum": number, "words": number,
        "seconds": lambda value: number(value) and value > 0,
        "epochs": [EPOCH | {"epoch": step, "updates": step, "mean_f1": share}]})
    last = progress.step == state.total  # ends an epoch, too
    ended = math.ceil(progress.step / state.per_epoch) if last else progress.step // state.per_epoch
    if [epoch["validation"].keys() for epoch in progress.epochs] != [state.validation.keys()] * ended:
        raise ValueError(f"{len(progress.epochs)} epochs after step {progress.step}, or other languages in them")
    shapes = {name: parameter.shape for name, parameter in state.bare.named_parameters()}
    if state.best and {name: tensor.shape for name, tensor in state.best.items()} != shapes:
        raise ValueError("the best weights are those of another model")


def selected_epoch(state: Run) -> dict:
    return selection.selected(state.progress.epochs, state.options.select)


def out_of_patience(state: Run) -> bool:
    return selection.out_of_patience(state.progress.epochs, state.options.select, state.options.patience)


def full_state(state: Run, source: Path) -> dict[str, torch.Tensor]:
    """The weights with the full embedding table, on the CPU."""
    weights = {name: p.detach().cpu() for name, p in state.bare.named_parameters()}
    if state.rows is not None:
        options = state.options
        rates = [optim.learning_rate(update, state.total, options.learning_rate, options.warmup_ratio)
                 for update in range(selected_epoch(state)["updates"])]
        weights[pretrained.WORD_EMBEDDINGS] = vocabulary.full_table(
            pretrained.read_tensor(source, pretrained.WORD_EMBEDDINGS), state.rows, weights[pretrained.WORD_EMBEDDINGS],
            vocabulary.decay_product(np.array(rates), options.weight_decay))
    return weights


def training_figures(state: Run) -> dict:
    """The `train` part of results.json."""
    progress, encoded = state.progress, state.training
    per_epoch = sum(len(window.input_ids) for window in encoded.windows)
    seen = progress.step / state.per_epoch  # passes over the data
    return {"langs": list(state.options.train_langs), "sentences": len(encoded.lengths), "tokens_per_epoch": per_epoch,
            "steps": progress.step, "processes": state.accelerator.num_processes, "seconds": progress.seconds,
            "sentences_per_second": seen * len(encoded.lengths) / progress.seconds,
            "tokens_per_second": seen * per_epoch / progress.seconds,
            "peak_memory_mib": machine.peak_memory_mib(state.accelerator.device),
            "selected_epoch": selected_epoch(state)["epoch"], "epochs": progress.epochs}


def figures(scored: dict[str, Scored], mean: bool = True) -> dict:
    """The figures of each language, and their mean F1."""
    result = {lang: item.figures for lang, item in scored.items()}
    return {**result, "mean_f1": evaluate.mean_f1(scored)} if mean else result
