"""Attention written out for training on a CPU, against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F

from ner.model import attention, packing
from tests.helpers import doubles

HEADS = 2
LENGTHS = [5, 4, 2]


def group_and_input(dtype=torch.float64, size=6, lengths=LENGTHS):
    (group,) = packing.attention_layout(lengths, 1, torch.device("cpu")).groups
    torch.manual_seed(0)
    return group, torch.randn(group.rows * group.width, 3 * size, dtype=dtype, requires_grad=True)


def split(qkv, group):
    return qkv.view(group.rows, group.width, 3, HEADS, -1)


def real_tokens(group):
    return torch.ones(group.rows * group.width, dtype=torch.bool) if group.mask is None else group.mask.flatten()


@pytest.fixture
def mask(monkeypatch):
    """Dropout with one mask, that both ways can be given."""
    fixed = {}

    def same(shape, p, dtype):
        generator = torch.Generator().manual_seed(1)
        fixed["mask"] = (torch.rand(shape, generator=generator, dtype=dtype) >= p) / (1 - p)
        return fixed["mask"]

    doubles.replace(monkeypatch, "scaled_mask", same)
    return fixed


def plain(qkv, group, mask):
    """The formula, as autograd differentiates it."""
    q, k, v = attention.by_head(split(qkv, group))
    scores = q @ k.mT / q.shape[-1] ** 0.5
    if group.mask is not None:
        scores = scores.masked_fill(~group.mask, -torch.inf)
    return ((scores.softmax(-1) * mask.view_as(scores)) @ v).transpose(1, 2).reshape(len(qkv), -1)


@pytest.mark.parametrize("lengths", [LENGTHS, [3, 3], [4], [1]])
def test_forward_and_gradient_equal_autograd(mask, lengths):
    group, qkv = group_and_input(lengths=lengths)
    before = qkv.detach().clone()
    mixed = attention.attend(qkv, group, HEADS, 0.3)
    expected = plain(qkv, group, mask["mask"])
    assert torch.allclose(mixed, expected, atol=1e-12, rtol=0)
    weight = torch.randn_like(mixed) * real_tokens(group)[:, None]
    (found,), (wanted,) = (torch.autograd.grad((x * weight).sum(), qkv) for x in (mixed, expected))
    assert torch.allclose(found, wanted, atol=1e-12, rtol=0)
    assert found[~real_tokens(group)].abs().sum() == 0
    assert qkv.equal(before)


def test_gradient_by_differences(mask):
    group, qkv = group_and_input(size=4)
    assert torch.autograd.gradcheck(lambda x: attention.attend(x, group, HEADS, 0.3), qkv)


def test_where_nothing_is_dropped_it_is_pytorchs_own():
    group, qkv = group_and_input(torch.float32)
    own = attention.attend(qkv, group, HEADS, 0.0)
    q, k, v = attention.by_head(split(qkv, group))
    sdpa = F.scaled_dot_product_attention(q, k, v, attn_mask=group.mask).transpose(1, 2).reshape(len(qkv), -1)
    assert own.equal(sdpa)
    written_out = attention.WithDropout.apply(split(qkv, group), group.mask, 0.0).reshape(len(qkv), -1)
    assert torch.allclose(written_out, sdpa, atol=1e-6, rtol=0)
    real = real_tokens(group)
    (found,), (wanted,) = (torch.autograd.grad(x[real].square().sum(), qkv) for x in (written_out, sdpa))
    assert torch.allclose(found, wanted, atol=1e-5, rtol=0)


def test_mean_over_draws_is_attention_without_dropout():
    group, qkv = group_and_input(torch.float32)
    torch.manual_seed(3)
    with torch.no_grad():
        draws = torch.stack([attention.attend(qkv, group, HEADS, 0.1) for _ in range(4000)])
        expected = attention.attend(qkv, group, HEADS, 0.0)
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - expected).abs() <= 5 * error)[real_tokens(group)].all()
    assert error[real_tokens(group)].min() > 0


def test_in_half_precision_it_is_computed_in_single(mask):
    """As autocast does with softmax; the gradient has the input's type again."""
    group, qkv = group_and_input(torch.float32)
    half = qkv.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attention.attend(half, group, HEADS, 0.1)
    single = half.detach().float().requires_grad_()
    expected = attention.attend(single, group, HEADS, 0.1)
    assert mixed.dtype == torch.float32 and mixed.equal(expected)
    for x in (mixed, expected):
        x[real_tokens(group)].square().sum().backward()
    assert half.grad.dtype == torch.bfloat16 and half.grad.equal(single.grad.bfloat16())
