import pytest
import torch
import torch.nn.functional as F

from ner.model.linear import Linear, linear


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("tokens", [0, 1, 7, 300])
def test_equals_pytorchs_own(tokens, threads):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(tokens, 48), torch.randn(96, 48), torch.randn(96)
    exact = F.linear(x.double(), weight.double(), bias.double())
    with torch.inference_mode():
        found = linear(x, weight, bias)
    assert found.shape == (tokens, 96) and found.is_contiguous()
    assert torch.allclose(found.double(), exact, atol=1e-4, rtol=1e-6)


def test_one_token_does_not_change_the_others(threads):
    torch.manual_seed(0)
    layer, x = Linear(48, 96), torch.randn(200, 48)
    with torch.inference_mode():
        before = layer(x)
        x[7] = 1e3
        after = layer(x)
    assert before[:7].equal(after[:7]) and before[8:].equal(after[8:])


def test_in_training_and_in_other_precisions_it_is_pytorchs_own():
    torch.manual_seed(0)
    layer, x = Linear(48, 96), torch.randn(30, 48)
    assert layer(x).equal(F.linear(x, layer.weight, layer.bias))
    with torch.inference_mode():
        assert layer.double()(x.double()).equal(F.linear(x.double(), layer.weight, layer.bias))
