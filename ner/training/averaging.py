"""The running mean of a run's weights: one model that costs and transfers like one.

Its snapshots are taken after the first steps, because weights that are still far from trained would spoil it
(Schmidt, Vulić, Glavaš 2023, "Free Lunch", arXiv:2305.16834).
"""

import torch
from torch import Tensor, nn


def snapshot_steps(average: str, average_from: float, total: int, per_epoch: int) -> list[int]:
    """The optimizer steps after which a snapshot is added to the mean, increasing, none twice; the last is `total`.

    average: ``none``; ``epoch``, the end of every epoch; or a number, spread evenly. `average_from`: share of the
    `total` steps before the first.
    """
    first = average_from * total
    if average == "none":
        steps = []
    elif average == "epoch":
        steps = [*range(per_epoch, total, per_epoch), total]
    else:
        steps = [round(first + (total - first) * (i + 1) / int(average)) for i in range(int(average))]
    return sorted({step for step in steps if step > first})


@torch.no_grad()
def add_snapshot(mean: dict[str, Tensor], model: nn.Module, taken: int) -> None:
    """Add the trainable parameters of `model` as one more snapshot to the `mean` (fp32) of the `taken` before it."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and taken == 0:
            mean[name] = parameter.detach().float().clone()
        elif parameter.requires_grad:
            mean[name].lerp_(parameter.float(), 1 / (taken + 1))


@torch.no_grad()
def load(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy `weights` by name into the parameters of `model`, on their device; other parameters stay as they are."""
    parameters = dict(model.named_parameters())
    for name, weight in weights.items():
        parameters[name].copy_(weight)
