"""Gradients of two steps, then losses and predictions, of as many processes as it is started with.

Run by tests/test_processes.py as ``steps.py RECIPE OUT``; OUT, a new folder, gets what the main process found.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors.torch import save_file

from ner.evaluation import per_language
from ner.experiment import experiment
from ner.options import Options, resolve
from ner.recipe import read_recipe
from ner.training import loop, machine

STEPS = 20


def main(recipe: str, output: str, micro_batch_size: int | None = None) -> None:
    """One of the processes."""
    accelerator = machine.accelerator(Options(mixed_precision="no"))
    measure(recipe, output, micro_batch_size, accelerator)
    machine.leave()


def measure(recipe: str, output: str, micro_batch_size: int | None, accelerator: Accelerator) -> None:
    """What `main` does but for its beginning and end."""
    torch.set_num_threads(1)
    options = replace(resolve(read_recipe(recipe)), max_steps=STEPS, micro_batch_size=micro_batch_size, dropout=0.0)
    state = experiment.build(options, Path(output), accelerator)
    data = state.training, state.padding
    gradients, shares = {}, []
    for step in (0, 1):
        batches, words = loop.step_batches(*data, step, options, accelerator.process_index, accelerator.num_processes)
        state.model.train()
        loop.accumulate(state.model, batches, words, accelerator)
        gradients |= {f"{step}/{name}": p.grad.clone() for name, p in state.bare.named_parameters()}
        state.model.zero_grad()
        shares.append(sum(int((batch["labels"] >= 0).any(1).sum()) for batch in batches))
    losses = [result.loss for result in loop.steps(state.model, state.optimizer, *data, options, accelerator,
                                                   state.progress, lambda: False)]
    scored = per_language.evaluate(state.bare, state.test, state.tags, state.padding, accelerator,
                                   decode=options.decode)
    found = {"losses": losses, "labels": {lang: item.predictions.labels.tolist() for lang, item in scored.items()}}
    everyone = gather_object([(shares, found)]) if accelerator.num_processes > 1 else [(shares, found)]
    assert all(part[1] == found for part in everyone), "processes disagree"
    if accelerator.is_main_process:
        Path(output).mkdir()
        save_file(gradients, Path(output) / "gradients.safetensors")
        (Path(output) / "found.json").write_text(json.dumps(
            {**found, "shares": np.array([p[0] for p in everyone]).T.tolist()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
