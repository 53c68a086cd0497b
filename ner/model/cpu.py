"""Attention, dropout and linear maps that are faster on a CPU; on other devices each is PyTorch's own.

Replacing them with `nn.Dropout`, `nn.Linear` and `scaled_dot_product_attention` changes nothing but the speed
(measurements: docs/speed.md).

Shapes: R rows, N their width, A heads, D = H / A, T packed tokens. Attention: Vaswani et al. 2017 (arXiv:1706.03762);
dropout: Srivastava et al. 2014 (JMLR 15).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ner.model.packing import Group

STEPS = 2**16  # resolution of dropout probabilities
SMALLEST = 20_480  # elements; up to this, or on one thread, PyTorch runs convolutions by slower code than oneDNN's


def attend(qkv: Tensor, group: Group, heads: int, dropout: float) -> Tensor:
    """(R * N, 3 H) queries, keys and values of a group -> (R * N, H); each token attends to the tokens of its row."""
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
    """Attention with dropout on its probabilities: P = softmax(Q K' / sqrt(D)), out = (P * mask) V.

    Forward and backward are written out, because `scaled_dot_product_attention` has no CPU kernel with dropout and its
    fallback copies queries, keys, values and every gradient several times. In fp32, also under autocast.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, qkv: Tensor, real: Tensor | None, dropout: float) -> Tensor:
        """(R, N, 3, A, D) and (R, 1, 1, N) bool, True for real tokens -> (R, N, A, D)."""
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
        # softmax: dS = P * (dP - sum(P * dP)); masked keys have P = 0, so no gradient flows through them
        of_scores.sub_((of_scores * probabilities).sum(-1, keepdim=True)).mul_(probabilities).mul_(q.shape[-1] ** -0.5)
        torch.bmm(of_scores, k, out=result[0])
        torch.bmm(of_scores.mT, q, out=result[1])
        return by_token(result.view(3, rows, heads, width, -1)), None, None


def scaled_mask(shape: torch.Size, p: float, dtype: torch.dtype) -> Tensor:
    """The factors of dropout, on the CPU: 0 with probability `p`, else the number that keeps the mean at 1.

    PyTorch draws one Bernoulli number per element, on one thread. Here, one 64-bit draw from its generator serves four
    elements, so probabilities are multiples of 1/65536: 0.1 becomes 0.100006, and the scale is adjusted to it.
    """
    count, dropped = shape.numel(), round(p * STEPS)
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    keep = (bits >= dropped - STEPS // 2) if dropped < STEPS else torch.zeros(count, dtype=torch.bool)
    # Viewed as bytes, because they convert to floats six times faster than bools.
    return keep.view(torch.uint8).view(shape).to(dtype).mul_(STEPS / max(STEPS - dropped, 1))


class Dropout(nn.Dropout):
    """`nn.Dropout`, using `scaled_mask` on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        return F.dropout(x, self.p) if x.device.type != "cpu" else x * scaled_mask(x.shape, self.p, x.dtype)


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(T, I), (O, I), (O,) -> (T, O), as `torch.nn.functional.linear`; in evaluation by oneDNN.

    PyTorch uses its BLAS for fp32 products and oneDNN's faster kernels only for convolutions. A linear map of T tokens
    is a convolution of width one over T pixels, and its token-major layout is "channels last", so nothing is copied.
    Not in training: T differs at every step, and oneDNN prepares a kernel for every new T, which costs what it gains.
    """
    if (torch.is_grad_enabled() or x.device.type != "cpu" or x.dtype != torch.float32 or x.numel() <= SMALLEST
            or torch.is_autocast_enabled("cpu") or torch.get_num_threads() == 1
            or not torch.backends.mkldnn.is_available()):
        return F.linear(x, weight, bias)
    pixels = x[None, None].permute(0, 3, 1, 2)  # (1, I, 1, T)
    return F.conv2d(pixels, weight[:, :, None, None], bias).permute(0, 2, 3, 1).view(len(x), -1)


class Linear(nn.Linear):
    """`nn.Linear`, using `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)
