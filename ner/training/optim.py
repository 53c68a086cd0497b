"""AdamW's parameter groups and the linear schedule, as functions of the step: nothing here has state to lose.

A parameter group may have an ``lr_factor``, by which the schedule's rate is multiplied.
"""

import math

import numpy as np
import torch
from torch import nn

from ner.model import vocabulary
from ner.options import UserError


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (0.9, 0.999, 1e-8), fused, of the parameters that train.

    Weight decay on everything but biases and LayerNorm, as in BERT and its successors.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
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


def untouched_decay(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, rates: list[float]) -> float:
    """What weight decay, and so training, multiplies a weight of `parameter` with that never gets a gradient.

    rates: the schedule's learning rate of each update. 1 where the parameter is frozen. ``UserError`` for an optimizer
    whose weight decay is not decoupled from the gradient's moments: there is no such number.
    """
    group = next((group for group in optimizer.param_groups if any(one is parameter for one in group["params"])), None)
    if group is None:
        return 1.0
    if not group.get("decoupled_weight_decay"):
        raise UserError("active_vocabulary: this optimizer's weight decay is not decoupled (as AdamW's is), so that "
                        "the rows outside of the data cannot be told; expected active_vocabulary: false")
    return vocabulary.decay_product(np.array(rates) * group.get("lr_factor", 1.0), group["weight_decay"])
