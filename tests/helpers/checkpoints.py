"""Small checkpoints."""

from pathlib import Path

import torch
from accelerate import Accelerator

from ner.model.roberta import TokenClassifier
from ner.training import checkpoint, optim
from ner.training.loop import Progress
from tests.helpers.models import batch_of, small_config

IDENTITY = {"seed": 42, "batch_size": 64, "tag set": ("O", "B-PER")}
FILES = ["best.safetensors", "manifest.json", "moments.safetensors", "random.safetensors", "state.json",
         "weights.safetensors"]


def make(seed: int, updates: int = 2):
    """Accelerator, model and optimizer with something in all of them."""
    torch.manual_seed(seed)
    accelerator, model = Accelerator(), TokenClassifier(small_config())
    model, optimizer = accelerator.prepare(model, optim.adamw(model, 1e-2, 0.01))
    for _ in range(updates):
        batch = batch_of([9, 5], 97)
        model(batch["input_ids"], batch["attention_mask"]).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return accelerator, model, optimizer


def write(folder: Path, step: int, parts=None, best: float | None = None, quick: bool = False) -> None:
    """The checkpoint of a step, of what `make` made. best: what is in the best weights, if not the step."""
    accelerator, model, optimizer = parts or make(step)
    others = {"best": {"classifier.bias": torch.full((5,), float(step) if best is None else best)}, "mean": {}}
    checkpoint.write(folder, accelerator, model, optimizer,
                     Progress(step=step, updates=step, loss_sum=0.1, epochs=[{"f1": 1 / 3}]), IDENTITY, others, quick)
