import math

import pytest
import torch

from ner.model.cpu import STEPS, Dropout, scaled_mask


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_and_mean(p):
    torch.manual_seed(0)
    count = 1_000_003  # no multiple of four: the last draw serves fewer elements
    x = scaled_mask(torch.Size([count]), p, torch.float32)
    share = (x == 0).double().mean().item()
    assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / count) + 1 / STEPS
    assert abs(x.double().mean().item() - 1) < 0.01
    assert x.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1 / STEPS / (1 - p))


def test_every_one_of_the_four_parts_of_a_draw_is_as_random():
    torch.manual_seed(1)
    mask = scaled_mask(torch.Size([400_000]), 0.5, torch.float64).view(-1, 4) / 2
    assert (mask.mean(0) - 0.5).abs().max() < 0.01
    assert (torch.corrcoef(mask.T) - torch.eye(4)).abs().max() < 0.02


def test_off_in_evaluation_and_without_probability():
    x = torch.randn(5, 7)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x).equal(x)
    assert Dropout(1.0)(x).equal(torch.zeros(5, 7))
    assert scaled_mask(x.shape, 0.0, torch.float64).equal(torch.ones(5, 7, dtype=torch.float64))


def test_the_seed_decides_and_the_gradient_is_the_mask():
    x = torch.randn(50, 3, requires_grad=True)
    torch.manual_seed(2)
    first = Dropout(0.3)(x)
    first.sum().backward()
    assert torch.allclose(x.grad * x, first)
    torch.manual_seed(2)
    assert Dropout(0.3)(x).equal(first)
    assert not Dropout(0.3)(x).equal(first)
