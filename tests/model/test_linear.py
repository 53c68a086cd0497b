import pytest
import torch
import torch.nn.functional as F

from ner.model.cpu import SMALLEST, Linear, linear

MANY = SMALLEST // 48 + 100  # tokens


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def operations(run) -> set[str]:
    with torch.profiler.profile() as profile:
        run()
    return {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("tokens", [0, 1, 7, MANY])
def test_equals_pytorchs_own(tokens, threads):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(tokens, 48), torch.randn(96, 48), torch.randn(96)
    exact = F.linear(x.double(), weight.double(), bias.double())
    with torch.inference_mode():
        found = linear(x, weight, bias)
    assert found.shape == (tokens, 96) and found.is_contiguous()
    assert torch.allclose(found.double(), exact, atol=1e-4, rtol=1e-6)


def test_onednn_is_what_runs_in_evaluation(threads):
    layer, many, few = Linear(48, 96), torch.randn(MANY, 48), torch.randn(30, 48)
    with torch.inference_mode():
        assert ("aten::mkldnn_convolution" in operations(lambda: layer(many))) == (threads > 1)
        assert "aten::convolution" not in operations(lambda: layer(few))
        with torch.autocast("cpu", torch.bfloat16):
            assert "aten::convolution" not in operations(lambda: layer(many))
        layer.double()
        assert "aten::convolution" not in operations(lambda: layer(many.double()))
    layer.float()
    assert "aten::convolution" not in operations(lambda: layer(many))


def test_one_token_does_not_change_the_others(threads):
    torch.manual_seed(0)
    layer, x = Linear(48, 96), torch.randn(MANY, 48)
    with torch.inference_mode():
        before = layer(x)
        x[7] = 1e3
        after = layer(x)
    assert before[:7].equal(after[:7]) and before[8:].equal(after[8:])
