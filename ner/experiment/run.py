"""The state of one run, and what is derived from it: weights to save, metrics to report."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.tensorboard import SummaryWriter
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from ner.data import sampling
from ner.data.collate import Padding, padding_of
from ner.data.encoded import Encoded
from ner.experiment import teacher
from ner.experiment.teacher import Taught
from ner.model import pretrained, vocabulary
from ner.options import Options
from ner.tags import TagSet
from ner.training import averaging, loop, machine, optim, selection
from ner.training.loop import Progress


@dataclass
class Run:
    """Everything that one run works with."""

    options: Options
    folder: Path
    accelerator: Accelerator
    source: Path  # the encoder's folder
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase
    tags: TagSet
    training: Encoded
    validation: dict[str, Encoded]
    test: dict[str, Encoded]
    vocabulary_rows: Any  # rows of the embedding table in use; None: all
    bare: torch.nn.Module  # the unwrapped model
    model: torch.nn.Module  # wrapped by Accelerate
    optimizer: torch.optim.Optimizer
    taught: Taught | None = None  # what a teacher tagged of `training`
    progress: Progress = field(default_factory=Progress)
    best: dict[str, torch.Tensor] = field(default_factory=dict)  # weights of the selected epoch; empty: the last
    mean: dict[str, torch.Tensor] = field(default_factory=dict)  # of the snapshots so far: the trainable weights, fp32
    identity: dict = field(default_factory=dict)  # what must match to continue the run
    writer: SummaryWriter | None = None  # TensorBoard, on the main process

    @property
    def padding(self) -> Padding:
        return padding_of(self.tokenizer)

    @property
    def total(self) -> int:
        return loop.total_steps(len(self.training.tokens), self.options)

    @property
    def per_epoch(self) -> int:
        return sampling.steps_per_epoch(len(self.training.tokens), self.options.batch_size)

    @property
    def snapshot_steps(self) -> list[int]:
        """The steps after which a snapshot is added to the mean weights."""
        return averaging.snapshot_steps(self.options.average, self.options.average_from, self.total, self.per_epoch)

    @property
    def epochs_ended(self) -> int:
        """Epochs completed by the steps so far; the last may be cut short by max_steps, or not be evaluated yet."""
        step = self.progress.step
        return math.ceil(step / self.per_epoch) if step == self.total else step // self.per_epoch


def selected_epoch(state: Run) -> dict:
    return selection.selected(state.progress.epochs, state.options.select)


def out_of_patience(state: Run) -> bool:
    return selection.out_of_patience(state.progress.epochs, state.options.select, state.options.patience)


def full_state(state: Run, updates: Sequence[int]) -> dict[str, torch.Tensor]:
    """The weights of the whole model on the CPU, with adapters merged and all rows of the embedding table.

    updates: how many the weights in the model had seen; of a mean, each of its snapshots.
    """
    bare: Any = state.bare
    if hasattr(bare, "merge_and_unload"):  # a peft model; merged in a copy, because `bare` is scored later
        bare = copy.deepcopy(bare).merge_and_unload()
    weights = {name: p.detach().cpu() for name, p in bare.named_parameters()}
    if state.vocabulary_rows is not None:
        weights[pretrained.WORD_EMBEDDINGS] = vocabulary.full_table(
            pretrained.read_tensor(state.source, pretrained.WORD_EMBEDDINGS), state.vocabulary_rows,
            weights[pretrained.WORD_EMBEDDINGS], float(np.mean([untouched_decay(state, count) for count in updates])))
    return weights


def untouched_decay(state: Run, updates: int) -> float:
    """The factor by which training scales the embedding rows that the data do not use (`optim.untouched_decay`)."""
    options = state.options
    rates = [optim.learning_rate(update, state.total, options.learning_rate, options.warmup_ratio)
             for update in range(updates)]
    return optim.untouched_decay(state.optimizer, pretrained.word_embeddings(state.bare), rates)


def training_metrics(state: Run) -> dict:
    """The `train` part of results.json."""
    progress, encoded = state.progress, state.training
    per_epoch = sum(len(window.input_ids) for sentence in encoded.windows for window in sentence)
    seen = progress.step / state.per_epoch  # passes over the data
    return {"langs": list(state.options.train_langs), "sentences": len(encoded.tokens), "tokens_per_epoch": per_epoch,
            "steps": progress.step, "processes": state.accelerator.num_processes, "seconds": progress.seconds,
            "sentences_per_second": seen * len(encoded.tokens) / progress.seconds,
            "tokens_per_second": seen * per_epoch / progress.seconds,
            "peak_memory_mib": machine.peak_memory_mib(state.accelerator.device),
            **({"pseudo": teacher.summary(state.taught)} if state.taught else {}),
            "selected_epoch": selected_epoch(state)["epoch"], "epochs": progress.epochs}
