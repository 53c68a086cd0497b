"""Batches as exact lists: padding on either side, order, slots."""

import numpy as np
import pytest
import torch
from transformers import DataCollatorForTokenClassification

from ner.data.alignment import Window
from ner.data.collate import Padding, collate, padding_of, to_device
from tests.helpers.clock import best
from tests.helpers.folders import tokenizer_of


def window(ids: list[int], labels: list[int]) -> Window:
    return Window(np.array(ids, np.int32), np.array(labels, np.int32), 0)


WINDOWS = [window([0, 7, 2], [-100, 4, -100]), window([0, 8, 9, 6, 2], [-100, 1, -100, 3, -100]),
           window([0, 5, 2], [-100, 2, -100])]
RIGHT = Padding(1, "right")


def as_lists(batch: dict) -> dict:
    return {key: value.tolist() if isinstance(value, torch.Tensor) else value for key, value in batch.items()}


def test_right_padding():
    assert as_lists(collate(WINDOWS, RIGHT)) == {
        "input_ids": [[0, 8, 9, 6, 2], [0, 7, 2, 1, 1], [0, 5, 2, 1, 1]],
        "labels": [[-100, 1, -100, 3, -100], [-100, 4, -100, -100, -100], [-100, 2, -100, -100, -100]],
        "attention_mask": [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]],
        "slots": [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12],
        "wanted": [1, 3, 6, 9],
        "lengths": [5, 3, 3],
        "words": [2, 1, 1],
        "order": [1, 0, 2],
    }


def test_left_padding():
    assert as_lists(collate(WINDOWS, Padding(9, "left"))) == {
        "input_ids": [[0, 8, 9, 6, 2], [9, 9, 0, 7, 2], [9, 9, 0, 5, 2]],
        "labels": [[-100, 1, -100, 3, -100], [-100, -100, -100, 4, -100], [-100, -100, -100, 2, -100]],
        "attention_mask": [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 1]],
        "slots": [0, 1, 2, 3, 4, 7, 8, 9, 12, 13, 14],
        "wanted": [1, 3, 6, 9],
        "lengths": [5, 3, 3],
        "words": [2, 1, 1],
        "order": [1, 0, 2],
    }


def test_one_window_needs_no_padding():
    batch = collate(WINDOWS[:1], RIGHT)
    assert batch["input_ids"].tolist() == [[0, 7, 2]]
    assert batch["order"] == [0] and batch["slots"].tolist() == [0, 1, 2]


def test_slots_read_the_tokens_and_order_leads_back():
    for side in ("right", "left"):
        batch = collate(WINDOWS, Padding(1, side))
        tokens = batch["input_ids"].flatten()[batch["slots"]]
        assert tokens.tolist() == [i for row in batch["order"] for i in WINDOWS[row].input_ids.tolist()]
        assert batch["labels"].flatten()[batch["slots"]][batch["wanted"]].tolist() == [1, 3, 4, 2]
        assert all(batch[key].dtype == torch.int64 for key in ("input_ids", "labels", "attention_mask", "slots"))


def test_to_device_moves_tensors_and_leaves_numbers_on_the_host():
    batch = collate(WINDOWS, RIGHT)
    moved = to_device(batch, torch.device("meta"))
    assert {value.device.type for value in moved.values() if isinstance(value, torch.Tensor)} == {"meta"}
    assert set(moved) == set(batch) - {"order"}  # what the model takes
    assert (moved["lengths"], moved["words"]) == ([5, 3, 3], [2, 1, 1])
    assert as_lists(to_device(batch, torch.device("cpu"))) | {"order": [1, 0, 2]} == as_lists(batch)


@pytest.mark.parametrize("side", ["right", "left"])
def test_equal_to_the_collator_of_transformers_in_a_fraction_of_its_time(side):
    """The host prepares every step while a GPU waits or is ahead of it."""
    tokenizer = tokenizer_of("xlm-roberta")
    tokenizer.padding_side = side
    generator = np.random.default_rng(0)
    windows = [Window(generator.integers(4, 40, n, np.int32), generator.integers(-1, 6, n, np.int32), 0)
               for n in generator.integers(3, 60, 64)]
    features = [{"input_ids": one.input_ids.tolist(), "labels": one.labels.tolist()}
                for one in sorted(windows, key=lambda one: -len(one.input_ids))]
    theirs = DataCollatorForTokenClassification(tokenizer)
    ours, expected = collate(windows, padding_of(tokenizer)), theirs(features)
    assert all(torch.equal(ours[name], expected[name]) for name in ("input_ids", "labels", "attention_mask"))
    assert best(lambda: collate(windows, padding_of(tokenizer)), 20) < best(lambda: theirs(features), 20) / 2
