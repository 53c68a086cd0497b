import torch

from ner.model import packing


def test_token_index():
    assert packing.token_index(torch.tensor([[1, 1, 0], [1, 0, 0]])).tolist() == [0, 1, 3]
    assert packing.token_index(torch.tensor([[0, 1, 1], [0, 0, 1]])).tolist() == [1, 2, 5]


def test_positions():
    assert packing.positions([3, 1, 2], 2).tolist() == [2, 3, 4, 2, 2, 3]


def test_boundaries():
    assert packing.boundaries([9, 5, 4, 2, 2], 2) == [0, 2, 5]
    assert packing.boundaries([4, 4, 4, 4], 3) == [0, 4]  # rows of one length stay together
    assert packing.boundaries([7], 4) == [0, 1]
    for lengths in ([8, 7, 6, 5, 4, 3, 2, 1], [5, 5, 3, 3, 3, 1], list(range(40, 0, -1))):
        cuts = packing.boundaries(lengths, 4)
        assert len(cuts) <= 5 and cuts[0] == 0 and cuts[-1] == len(lengths) and cuts == sorted(set(cuts))


def test_attention_layout_has_a_slot_for_every_token():
    layout = packing.attention_layout([9, 5, 4, 2, 2], 2, torch.device("cpu"))
    first, second = layout.groups
    assert (first.rows, first.width, second.rows, second.width, layout.size) == (2, 9, 3, 4, 2 * 9 + 3 * 4)
    assert layout.slots.tolist() == [*range(9), *range(9, 14), *range(18, 22), 22, 23, 26, 27]
    assert first.mask[:, 0, 0].sum(1).tolist() == [9, 5] and second.mask[:, 0, 0].sum(1).tolist() == [4, 2, 2]
    first, second = packing.attention_layout([3, 3, 2, 1], 2, torch.device("cpu")).groups
    assert first.mask is None and second.mask[:, 0, 0].tolist() == [[True, True], [True, False]]


def test_rows_of_one_length_need_no_slots():
    layout = packing.attention_layout([3, 3], 4, torch.device("cpu"))
    assert layout == ([(2, 3, None)], None, 6)


def test_scatter_and_gather_are_each_others_gradient():
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([4, 0, 2])
    padded = packing.Scatter.apply(x, index, 6)
    assert padded[index].equal(x) and padded[[1, 3, 5]].abs().sum() == 0
    assert packing.Gather.apply(padded, index).equal(x)
    assert torch.autograd.gradcheck(lambda t: packing.Scatter.apply(t, index, 6), x)
    wide = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: packing.Gather.apply(t, index), wide)
