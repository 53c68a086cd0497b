"""Batches as exact lists: padding on either side, order, slots."""

import numpy as np
import torch

from ner.data.alignment import Window
from ner.data.collate import collate, to_device, word_logits


def window(ids: list[int], labels: list[int], sentence: int = 0) -> Window:
    return Window(np.array(ids, np.int32), np.array(labels, np.int32), sentence, 0)


WINDOWS = [window([0, 7, 2], [-100, 4, -100], 5), window([0, 8, 9, 6, 2], [-100, 1, -100, 3, -100], 3),
           window([0, 5, 2], [-100, 2, -100], 4)]


def as_lists(batch: dict) -> dict:
    return {key: value.tolist() if isinstance(value, torch.Tensor) else value for key, value in batch.items()}


def test_right_padding():
    assert as_lists(collate(WINDOWS, 1)) == {
        "input_ids": [[0, 8, 9, 6, 2], [0, 7, 2, 1, 1], [0, 5, 2, 1, 1]],
        "labels": [[-100, 1, -100, 3, -100], [-100, 4, -100, -100, -100], [-100, 2, -100, -100, -100]],
        "attention_mask": [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]],
        "slots": [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12],
        "wanted": [1, 3, 6, 9],
        "lengths": [5, 3, 3],
        "order": [1, 0, 2],
    }


def test_left_padding():
    assert as_lists(collate(WINDOWS, 9, "left")) == {
        "input_ids": [[0, 8, 9, 6, 2], [9, 9, 0, 7, 2], [9, 9, 0, 5, 2]],
        "labels": [[-100, 1, -100, 3, -100], [-100, -100, -100, 4, -100], [-100, -100, -100, 2, -100]],
        "attention_mask": [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 1]],
        "slots": [0, 1, 2, 3, 4, 7, 8, 9, 12, 13, 14],
        "wanted": [1, 3, 6, 9],
        "lengths": [5, 3, 3],
        "order": [1, 0, 2],
    }


def test_one_window_needs_no_padding():
    batch = collate(WINDOWS[:1], 1)
    assert batch["input_ids"].tolist() == [[0, 7, 2]]
    assert batch["order"] == [0] and batch["slots"].tolist() == [0, 1, 2]


def test_slots_read_the_tokens_and_order_leads_back():
    for side in ("right", "left"):
        batch = collate(WINDOWS, 1, side)
        tokens = batch["input_ids"].flatten()[batch["slots"]]
        assert tokens.tolist() == [i for row in batch["order"] for i in WINDOWS[row].input_ids.tolist()]
        assert batch["labels"].flatten()[batch["slots"]][batch["wanted"]].tolist() == [1, 3, 4, 2]
        assert all(batch[key].dtype == torch.int64 for key in ("input_ids", "labels", "attention_mask", "slots"))


def test_word_logits_are_those_of_the_labelled_tokens():
    def model(input_ids, attention_mask, lengths, slots, wanted):
        return torch.nn.functional.one_hot(input_ids.flatten()[slots][wanted], 10).half()

    for side in ("right", "left"):
        logits, labels = word_logits(model, collate(WINDOWS, 1, side))
        assert logits.dtype == torch.float32 and logits.argmax(-1).tolist() == [8, 6, 7, 5]
        assert labels.tolist() == [1, 3, 4, 2]


def test_to_device_moves_tensors_and_leaves_numbers_on_the_host():
    batch = collate(WINDOWS, 1)
    moved = to_device(batch, torch.device("meta"))
    assert {value.device.type for value in moved.values() if isinstance(value, torch.Tensor)} == {"meta"}
    assert set(moved) == set(batch)
    assert (moved["lengths"], moved["order"]) == ([5, 3, 3], [1, 0, 2])
    assert as_lists(to_device(batch, torch.device("cpu"))) == as_lists(batch)
