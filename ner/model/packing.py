"""Padded <-> packed: tensors of real tokens only, and the groups of rows in which attention runs.

Trade-off. Everything but attention is computed a token at a time, so it runs on the T real tokens of a batch of B x L
slots. Attention needs rows, so the packed tokens are laid out again as rows, but in a few groups of alike length: rows
come sorted by length from the collator, so each group is a contiguous slice and pads almost nothing. One row a group
would pad nothing at all and spends the time on calls instead; one group is the usual padding.
The two index functions are each other's gradient, which PyTorch's own (an addition into possibly doubled places) is not
told: a copy is several times faster on a CPU. Unpadding once before the first layer follows NVIDIA's MLPerf BERT and
ModernBERT (Warner et al. 2024, arXiv:2412.13663).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Group(NamedTuple):
    """Rows of alike length: `rows` x `width` slots that hold the packed tokens `start` to `stop`."""

    start: int
    stop: int
    rows: int
    width: int
    slots: Tensor | None  # (stop - start,) slot of each token in rows * width; None where no row is padded
    mask: Tensor | None  # (rows, 1, 1, width) bool, True where a token stands


class Scatter(torch.autograd.Function):
    """``out[index] = x`` into `size` rows of zeros; no index stands twice, so the gradient is ``grad[index]``."""

    @staticmethod
    def forward(ctx, x: Tensor, index: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(index)
        return x.new_zeros(size, *x.shape[1:]).index_copy_(0, index, x)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (index,) = ctx.saved_tensors
        return grad.index_select(0, index), None, None


class Gather(torch.autograd.Function):
    """``x[index]``; no index stands twice, so the gradient is copied into zeros instead of added."""

    @staticmethod
    def forward(ctx, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.size = x.shape[0]
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (index,) = ctx.saved_tensors
        return grad.new_zeros(ctx.size, *grad.shape[1:]).index_copy_(0, index, grad), None


def token_index(attention_mask: Tensor) -> Tensor:
    """(B, L) mask -> (T,) flat slot of each real token, in reading order: [[1, 1, 0], [1, 0, 0]] -> [0, 1, 3]."""
    return attention_mask.flatten().nonzero().flatten()


def positions(lengths: list[int], first: int) -> Tensor:
    """(T,) position of each packed token in its own row, counted from `first`: [2, 1], 2 -> [2, 3, 2]."""
    lengths = torch.tensor(lengths)
    starts = torch.cumsum(lengths, 0) - lengths
    return torch.arange(int(lengths.sum())) - torch.repeat_interleave(starts, lengths) + first


def boundaries(lengths: list[int], groups: int) -> list[int]:
    """Row numbers at which a new group begins (and the end), so that the groups hold about equally many tokens.

    [9, 5, 4, 2, 2], 2 -> [0, 2, 5]. Rows of one length stay together: a group of them needs neither mask nor copy.
    """
    cuts, seen, total = [0], 0, sum(lengths)
    for row, length in enumerate(lengths):
        if row and length != lengths[row - 1] and seen * groups >= total * len(cuts) and len(cuts) < groups:
            cuts.append(row)
        seen += length
    return cuts + [len(lengths)]


def attention_groups(lengths: list[int], groups: int, device: torch.device) -> list[Group]:
    """The layout of attention for rows of `lengths` tokens; built on the host, so that nothing waits for the device."""
    result, start = [], 0
    cuts = boundaries(lengths, groups)
    for first, last in zip(cuts, cuts[1:]):
        part = lengths[first:last]
        rows, width, stop = len(part), max(part), start + sum(part)
        slots = mask = None
        if min(part) != width:
            filled = torch.arange(width) < torch.tensor(part)[:, None]  # (rows, width)
            slots = token_index(filled).to(device, non_blocking=True)
            mask = filled[:, None, None, :].to(device, non_blocking=True)
        result.append(Group(start, stop, rows, width, slots, mask))
        start = stop
    return result
