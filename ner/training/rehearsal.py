"""The largest training step, forward and backward, without an update: before the first step of every start of a run."""

import numpy as np
import torch
from accelerate import Accelerator

from ner.data.collate import Padding
from ner.data.encoded import Encoded
from ner.options import Options, UserError
from ner.training import checkpoint, loop


def rehearse(model, optimizer, training: Encoded, padding: Padding, options: Options, accelerator: Accelerator) -> None:
    """Leaves weights, gradients and random states as they were; ``UserError`` if the device's memory is too small.

    It shows within seconds that a batch does not fit. And it makes a continued run the same bit for bit on more than
    two processes: after its first backward pass, DDP arranges the gradients in other buckets, and so adds them up in
    another order, whether that pass is in the first step of a run or of its continuation.
    """
    if accelerator.num_processes == 1 and accelerator.device.type == "cpu":
        return  # no buckets, and memory that does not end at a fixed size
    step = largest_step(training, options)
    batches, words = loop.step_batches(training, padding, step, options, accelerator.process_index,
                                       accelerator.num_processes)
    before = checkpoint.random_state(accelerator.device)
    model.train()
    try:
        loop.accumulate(model, batches, words, accelerator)
    except torch.OutOfMemoryError:
        largest = max(batches, key=lambda batch: sum(batch["lengths"]))["lengths"]
        raise UserError(f"micro_batch_size: a pass over {len(largest)} windows with {sum(largest):,} subwords needs "
                        f"more memory than {accelerator.device} has; expected fewer windows per pass, "
                        f"such as {max(len(largest) // 2, 1)} (same result)") from None
    optimizer.zero_grad(set_to_none=True)
    checkpoint.restore_random_state(before, accelerator.device)


def largest_step(training: Encoded, options: Options) -> int:
    """The step with the most subwords, of equals the first."""
    lengths = np.array([sum(len(window.input_ids) for window in sentence) for sentence in training.windows])
    return max(range(loop.total_steps(len(training.tokens), options)),
               key=lambda step: int(lengths[loop.sentences_of(training, options, step)].sum()))
