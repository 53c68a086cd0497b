"""AdamW's parameter groups and the linear schedule, as functions of the step: nothing here has state to lose."""

import math

import torch
from torch import nn


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (0.9, 0.999, 1e-8), fused.

    Weight decay on everything but biases and LayerNorm, as in BERT and its successors.
    """
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        (plain if name.endswith(".bias") or "LayerNorm" in name else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True)


def learning_rate(update: int, total: int, peak: float, warmup_ratio: float) -> float:
    """The rate of optimizer update number `update` (from 0) of `total`.

    Up to `peak` in the warm-up, then linearly to 0.
    """
    warmup = math.ceil(total * warmup_ratio)
    if update < warmup:
        return peak * update / warmup
    return peak * max(0, total - update) / max(1, total - warmup)
