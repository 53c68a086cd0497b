"""The training loop: one optimizer step fits on one screen.

The loss of a step is the sum over its labelled words divided by their number in the *whole* step, over all
micro-batches and processes. So one batch of 64, four micro-batches of 16 and two processes with 32 each take the same
step. The usual mean of means does not, because sentences differ in length.

The host waits for the device once per step, after everything but the update is queued, so that it can stop *before* an
update with a non-finite loss or gradient. Accelerate handles device, autocast, wrapping, backward and clipping. Data
order and schedule are our own: its loaders cannot be resumed exactly, and its schedulers count steps per process.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from ner.data import sampling
from ner.data.alignment import IGNORED, Window
from ner.data.collate import Padding, collate, to_device
from ner.data.encoded import Encoded
from ner.options import Options, UserError
from ner.training import optim


class StepResult(NamedTuple):
    loss: float  # mean over the step's labelled words, in nats
    grad_norm: float  # before clipping
    moved: bool  # False if fp16 overflowed and the update was skipped
    stop: bool  # a process received a stop signal
    rate: float  # of the schedule, before a group's lr_factor


@dataclass
class Progress:
    """How far a run has got: with weights and random state, everything that a checkpoint must restore."""

    step: int = 0  # batches consumed
    updates: int = 0  # optimizer updates done: fewer than steps if fp16 overflowed
    loss_sum: float = 0.0  # of the current epoch, over words
    words: int = 0  # labelled, of the current epoch
    seconds: float = 0.0  # spent in training steps
    snapshots: list[int] = field(default_factory=list)  # updates done before each snapshot of the mean weights
    epochs: list[dict] = field(default_factory=list)  # the entry of each epoch in results.json


def total_steps(sentences: int, options: Options) -> int:
    steps = options.epochs * sampling.steps_per_epoch(sentences, options.batch_size)
    return min(steps, options.max_steps or steps)


def word_count(windows: list[Window]) -> int:
    """The labelled words of all of them."""
    return int(np.count_nonzero(np.concatenate([window.labels for window in windows]) != IGNORED))


def sentences_of(training: Encoded, options: Options, step: int) -> np.ndarray:
    """The indices of the sentences of a step."""
    return sampling.step_sentences(len(training.tokens), options.batch_size, options.seed, step)


def step_batches(training: Encoded, padding: Padding, step: int, options: Options, rank: int,
                 processes: int) -> tuple[list[dict], int]:
    """This process's micro-batches of a step, and the number of labelled words in the step over all processes."""
    windows = [window for sentence in sentences_of(training, options, step) for window in training.windows[sentence]]
    lengths = [len(window.input_ids) for window in windows]
    # A pass without windows gets two special tokens and no label: zero loss, zero gradient.
    nothing = Window(windows[0].input_ids[[0, -1]], np.full(2, IGNORED, np.int32), 0)
    parts = sampling.micro_batches(lengths, rank, processes, options.micro_batch_size)
    batches = [collate([windows[i] for i in part] or [nothing], padding) for part in parts]
    return batches, word_count(windows)


def accumulate(model: nn.Module, batches: list[dict], words: int, accelerator: Accelerator) -> torch.Tensor:
    """Add up the gradients of the mean loss over `words` (of the whole step); returns this process's summed loss."""
    total = torch.zeros((), device=accelerator.device)
    for i, batch in enumerate(batches):
        last = i + 1 == len(batches)
        with contextlib.nullcontext() if last else accelerator.no_sync(model):
            loss = model(**to_device(batch, accelerator.device))
            # The wrapper averages gradients over processes; a sum over words needs them added up.
            accelerator.backward(loss * (accelerator.num_processes / max(words, 1)))
        total += loss.detach()
    return total


def train_step(model, optimizer, batches: list[dict], words: int, rate: float, max_grad_norm: float,
               accelerator: Accelerator, asked_to_stop: bool = False) -> StepResult:
    """One optimizer step. Raises ``FloatingPointError`` before the update if loss or gradient is not finite."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_factor", 1.0)
    own_loss = accumulate(model, batches, words, accelerator)
    norm = accelerator.clip_grad_norm_(model.parameters(), max_grad_norm)
    own_stop = torch.tensor(float(asked_to_stop), device=own_loss.device)
    sums = accelerator.reduce(torch.stack([own_loss, own_stop]), "sum")
    loss, stop, norm = torch.cat([sums, norm.reshape(1)]).tolist()  # here the host waits; the norm is that of all
    # With fp16 the scaler skips an update that overflowed and halves its scale; below 1 that no longer helps.
    scale = accelerator.scaler.get_scale() if accelerator.scaler is not None else 0.0
    if not np.isfinite(loss) or not (np.isfinite(norm) or scale >= 1):
        raise FloatingPointError(f"loss {loss}, gradient norm {norm}")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    # Accelerate's `optimizer_step_was_skipped` does not notice when a fused AdamW skips an update.
    moved = accelerator.scaler is None or accelerator.scaler.get_scale() >= scale
    return StepResult(loss / max(words, 1), norm, moved, stop > 0, rate)


def steps(model, optimizer, training: Encoded, padding: Padding, options: Options, accelerator: Accelerator,
          progress: Progress, asked_to_stop) -> Iterator[StepResult]:
    """Train from `progress` on, with one yield per optimizer step; `progress` is up to date at every yield.

    asked_to_stop: a function that says whether this process received a stop signal; the processes agree on it within
    the step.
    """
    total = total_steps(len(training.tokens), options)
    while progress.step < total:
        batches, words = step_batches(training, padding, progress.step, options, accelerator.process_index,
                                      accelerator.num_processes)
        rate = optim.learning_rate(progress.updates, total, options.learning_rate, options.warmup_ratio)
        model.train()  # whatever was evaluated; a wrapper does not know if its module was
        try:
            result = train_step(model, optimizer, batches, words, rate, options.max_grad_norm, accelerator,
                                asked_to_stop())
        except FloatingPointError as error:
            raise UserError(f"step {progress.step + 1}: {error}; stopped before the update (training sentences by "
                            f"row in their source: {names_of(training, options, progress.step)}); "
                            f"use a lower learning_rate or other data") from None
        progress.step += 1
        progress.updates += result.moved
        progress.loss_sum += result.loss * words
        progress.words += words
        yield result


def names_of(training: Encoded, options: Options, step: int) -> str:
    """The sentences of a step, by language and row in their source: ``de 3, 17, 20; fr 4``."""
    rows: dict[str, list[str]] = {}
    for lang, row in sorted(training.source[i] for i in sentences_of(training, options, step)):
        rows.setdefault(lang, []).append(str(row))
    return "; ".join(f"{lang} {', '.join(of_lang)}" for lang, of_lang in rows.items())
