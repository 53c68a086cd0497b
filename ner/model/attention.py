"""Attention of padded rows, for one group of `packing.Layout`.

Trade-off. `scaled_dot_product_attention` has no CPU kernel with dropout, and its fallback, like autograd on the single
operations, copies queries, keys, values and every gradient several times. Training on a CPU therefore takes forward and
backward written out here, a step 3 % faster than with the same formula left to autograd, in fp32 also where autocast
would have the rest in bf16; everything else takes PyTorch's own. Both are held to each other by tests. What is left of
attention, a tenth of a step at 18 tokens a sentence, are products of 18 x 18 x 32, their softmax and its dropout.

Shapes: R rows, N their width, A heads, D = H / A. Vaswani et al. 2017 (arXiv:1706.03762).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ner.model.dropout import scaled_mask
from ner.model.packing import Group


def attend(qkv: Tensor, group: Group, heads: int, dropout: float) -> Tensor:
    """(R * N, 3 H) queries, keys and values of a group -> (R * N, H), each token attending to the tokens of its row."""
    qkv = qkv.view(group.rows, group.width, 3, heads, -1)
    if dropout and qkv.device.type == "cpu":
        mixed = WithDropout.apply(qkv, group.mask, dropout)
    else:
        q, k, v = by_head(qkv)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=group.mask, dropout_p=dropout).transpose(1, 2)
    return mixed.reshape(group.rows * group.width, -1)


def by_head(x: Tensor) -> Tensor:
    """(R, N, 3, A, D) -> (3, R, A, N, D), a view."""
    return x.permute(2, 0, 3, 1, 4)


def by_token(x: Tensor) -> Tensor:
    """(3, R, A, N, D) -> (R, N, 3, A, D), a view."""
    return x.permute(1, 3, 0, 2, 4)


class WithDropout(torch.autograd.Function):
    """Attention with dropout of its probabilities: P = softmax(Q K' / sqrt(D)), out = (P * mask) V."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, qkv: Tensor, real: Tensor | None, dropout: float) -> Tensor:
        """(R, N, 3, A, D) and (R, 1, 1, N) bool, True where a token stands -> (R, N, A, D)."""
        rows, width, _, heads, _ = ctx.shape = qkv.shape
        q, k, v = qkv = by_head(qkv).flatten(1, 2)  # (3, R * A, N, D)
        scores = torch.bmm(q, k.mT).mul_(q.shape[-1] ** -0.5)
        if real is not None:
            scores.view(rows, heads, width, width).masked_fill_(~real, -torch.inf)
        probabilities = scores.softmax(-1)
        mask = scaled_mask(scores.shape, dropout, scores.dtype)
        ctx.save_for_backward(qkv, probabilities, mask)
        mixed = torch.bmm(torch.mul(probabilities, mask, out=scores), v)
        return mixed.view(rows, heads, width, -1).transpose(1, 2)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, grad: Tensor):
        (q, k, v), probabilities, mask = ctx.saved_tensors
        rows, width, _, heads, _ = ctx.shape
        grad = grad.transpose(1, 2).reshape(v.shape)
        result = grad.new_empty(3, *v.shape)
        torch.bmm((probabilities * mask).mT, grad, out=result[2])
        of_scores = torch.bmm(grad, v.mT).mul_(mask)
        # softmax: dS = P * (dP - sum(P * dP)); a masked key has P = 0 and so neither gives nor gets any
        of_scores.sub_((of_scores * probabilities).sum(-1, keepdim=True)).mul_(probabilities).mul_(q.shape[-1] ** -0.5)
        torch.bmm(of_scores, k, out=result[0])
        torch.bmm(of_scores.mT, q, out=result[1])
        return by_token(result.view(3, rows, heads, width, -1)), None, None
