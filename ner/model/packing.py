"""Padded <-> packed: tensors of real tokens only, and the groups of rows in which attention runs.

Everything but attention works on single tokens, so it runs on the T real tokens of a batch of B x L slots. Attention
needs rows, so packed tokens are laid out as rows again, in a few groups of similar length. Rows come sorted by length
from the collator, so each group is a contiguous slice with almost no padding. Unpadding once before the first layer
follows NVIDIA's MLPerf BERT and ModernBERT (Warner et al. 2024, arXiv:2412.13663).

Scatter and gather are each other's gradient. PyTorch's own gradient would add, because it does not know that no index
occurs twice; a copy is several times faster on a CPU.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Group(NamedTuple):
    """Rows of similar length, padded to `width`."""

    rows: int
    width: int
    mask: Tensor | None  # (rows, 1, 1, width) bool, True for real tokens; None if no row is padded


class Layout(NamedTuple):
    """The padded rows of all groups, one group after another: `size` slots that hold the T packed tokens."""

    groups: list[Group]
    slots: Tensor | None  # (T,) slot of each token; None if no row is padded
    size: int


class Scatter(torch.autograd.Function):
    """``out[index] = x`` into `size` rows of zeros; no index occurs twice, so the gradient is ``grad[index]``."""

    @staticmethod
    def forward(ctx, x: Tensor, index: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(index)
        return x.new_zeros(size, *x.shape[1:]).index_copy_(0, index, x)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (index,) = ctx.saved_tensors
        return grad.index_select(0, index), None, None


class Gather(torch.autograd.Function):
    """``x[index]``; no index occurs twice, so the gradient is copied into zeros instead of added."""

    @staticmethod
    def forward(ctx, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.size = x.shape[0]
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (index,) = ctx.saved_tensors
        return grad.new_zeros(ctx.size, *grad.shape[1:]).index_copy_(0, index, grad), None


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on `device`, without waiting where that is a CUDA GPU. On a Mac's GPU, a copy that does not
    wait can read memory that is in use again (pytorch/pytorch#189690)."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def token_index(attention_mask: Tensor) -> Tensor:
    """(B, L) mask -> (T,) flat slot of each real token, in reading order: [[1, 1, 0], [1, 0, 0]] -> [0, 1, 3]."""
    return attention_mask.flatten().nonzero().flatten()


def positions(lengths: list[int], first: int) -> Tensor:
    """(T,) position of each packed token in its row, counted from `first`: [2, 1], 2 -> [2, 3, 2]."""
    starts = np.cumsum(lengths) - lengths
    return torch.from_numpy(np.arange(sum(lengths)) - np.repeat(starts, lengths) + first)


def boundaries(lengths: list[int], groups: int) -> list[int]:
    """Row numbers at which groups begin (and the end), so that all groups have about the same number of tokens.

    [9, 5, 4, 2, 2], 2 -> [0, 2, 5]. Rows of equal length stay together, because a group of them needs no mask.
    """
    cuts, seen, total = [0], 0, sum(lengths)
    for row, length in enumerate(lengths):
        if row and length != lengths[row - 1] and seen * groups >= total * len(cuts) and len(cuts) < groups:
            cuts.append(row)
        seen += length
    return cuts + [len(lengths)]


def attention_layout(lengths: list[int], groups: int, device: torch.device) -> Layout:
    """The attention layout for rows of `lengths` tokens; built on the host, so that nothing waits for the device."""
    found, filled = [], []
    cuts = boundaries(lengths, groups)
    for first, last in pairwise(cuts):
        part = lengths[first:last]
        width = max(part)
        tokens = np.arange(width) < np.array(part)[:, None]  # (rows, width)
        mask = None if min(part) == width else sent(torch.from_numpy(tokens[:, None, None, :]), device)
        found.append(Group(len(part), width, mask))
        filled.append(tokens.ravel())
    real = np.concatenate(filled)
    slots = None if real.all() else sent(torch.from_numpy(np.flatnonzero(real)), device)
    return Layout(found, slots, len(real))
