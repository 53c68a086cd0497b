"""Linear maps of packed tokens, in evaluation on a CPU by oneDNN.

Trade-off. PyTorch hands `torch.nn.functional.linear` in fp32 to its BLAS; oneDNN's kernels, a tenth faster on an AMD
EPYC (Zen 4), it uses for convolutions. A linear map of T tokens is a convolution of width one over a row of T pixels,
and the token-major layout is the one called channels last, so that nothing is copied: evaluation takes 7 (600
sentences) to 14 % (2,000) less time. oneDNN prepares a kernel for every T that it has not seen lately, some
milliseconds for all maps of a model; in training, where batches are small and every step has another T, that eats up
what the kernels gain. Tokens filled up to a multiple of 32, so that kernels are met again, do not change that: the BLAS
is as fast in a step (4.43 s of matrix products in six steps against 4.46).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST = 20_480  # elements; PyTorch gives convolutions up to this, or on one thread, to slower code than oneDNN's


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(T, I), (O, I), (O,) -> (T, O), as `torch.nn.functional.linear`."""
    if (torch.is_grad_enabled() or x.device.type != "cpu" or x.dtype != torch.float32 or x.numel() <= SMALLEST
            or torch.is_autocast_enabled("cpu") or torch.get_num_threads() == 1
            or not torch.backends.mkldnn.is_available()):
        return F.linear(x, weight, bias)
    pixels = x[None, None].permute(0, 3, 1, 2)  # (1, I, 1, T)
    return F.conv2d(pixels, weight[:, :, None, None], bias).permute(0, 2, 3, 1).view(len(x), -1)


class Linear(nn.Linear):
    """`nn.Linear` by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)
