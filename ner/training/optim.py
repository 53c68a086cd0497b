"""AdamW's parameter groups and the linear schedule, which is a pure function of the step.

A parameter group may have an ``lr_factor``, which multiplies the schedule's rate.
"""

import math

import numpy as np
import torch
from torch import nn

from ner.model import vocabulary
from ner.options import UserError


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Fused AdamW (0.9, 0.999, 1e-8) over the trainable parameters.

    Weight decay applies to everything but biases and LayerNorm, as in BERT and its successors.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (plain if name.endswith(".bias") or "LayerNorm" in name else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True)


def learning_rate(update: int, total: int, peak: float, warmup_ratio: float) -> float:
    """The rate of optimizer update number `update` (from 0) of `total`: a linear warm-up to `peak`, then linearly to 0.
    """
    warmup = math.ceil(total * warmup_ratio)
    if update < warmup:
        return peak * update / warmup
    return peak * max(0, total - update) / max(1, total - warmup)


def untouched_decay(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, rates: list[float]) -> float:
    """The factor by which weight decay has scaled a weight of `parameter` that never got a gradient; 1 if it is frozen.

    rates: the schedule's learning rate at each update. ``UserError`` for an optimizer whose weight decay is not
    decoupled from the gradient's moments: for it there is no such factor.
    """
    group = next((group for group in optimizer.param_groups if any(one is parameter for one in group["params"])), None)
    if group is None:
        return 1.0
    if not group.get("decoupled_weight_decay"):
        raise UserError("active_vocabulary: this optimizer's weight decay is not decoupled (as AdamW's is), so "
                        "embedding rows outside the data cannot be computed; expected active_vocabulary: false")
    return vocabulary.decay_product(np.array(rates) * group.get("lr_factor", 1.0), group["weight_decay"])
