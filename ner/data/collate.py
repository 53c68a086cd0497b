"""The padding collator: windows -> one batch, a dict of tensors (and numbers of the host).

Rows come out sorted by length, longest first: packed attention runs on groups of neighbouring rows, and a caller that
needs the order of its windows finds it in `order`. Lengths stay plain numbers, because a model that had to read them
from a device would make the host wait for it. `slots` are the real tokens among the B * L slots, in reading order.
"""

from typing import NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence

from ner.data.alignment import IGNORED, Window

TENSORS = ("input_ids", "attention_mask", "labels", "slots", "wanted")
NUMBERS = ("lengths", "words")


class Padding(NamedTuple):
    """How a tokenizer pads."""

    id: int
    side: str  # right or left


def padding_of(tokenizer) -> Padding:
    return Padding(tokenizer.pad_token_id, tokenizer.padding_side)


def collate(windows: list[Window], padding: Padding) -> dict:
    """Batch of B windows, padded to its longest, L.

    input_ids, attention_mask, labels: (B, L) int64, labels -100 on padding; slots: (T,) flat slot of every real token;
    wanted: (W,) place among those T of every token with a label; lengths and words: lists of B numbers, tokens and
    labels of each row; order: list of B, the place in `windows` that each row has.
    """
    order = sorted(range(len(windows)), key=lambda i: (-len(windows[i].input_ids), i))
    lengths = [len(windows[i].input_ids) for i in order]
    input_ids, labels, attention_mask = (
        pad_sequence(rows, batch_first=True, padding_value=value, padding_side=padding.side).long()
        for rows, value in (([torch.from_numpy(windows[i].input_ids) for i in order], padding.id),
                            ([torch.from_numpy(windows[i].labels) for i in order], IGNORED),
                            ([torch.ones(length, dtype=torch.int64) for length in lengths], 0)))
    slots = attention_mask.flatten().nonzero().flatten()
    wanted = (labels.flatten()[slots] != IGNORED).nonzero().flatten()
    words = (labels != IGNORED).sum(1).tolist()
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels, "slots": slots,
            "wanted": wanted, "lengths": lengths, "words": words, "order": order}


def to_device(batch: dict, device: torch.device) -> dict:
    """What the model takes of a batch, its tensors on `device`; from pinned memory and without waiting where that is a
    CUDA GPU."""
    move = {key: batch[key] for key in TENSORS}
    if device.type == "cuda":
        move = {key: tensor.pin_memory() for key, tensor in move.items()}
    # On a Mac's GPU a copy that does not wait can read memory that is in use again (pytorch/pytorch#189690).
    return {**{key: tensor.to(device, non_blocking=device.type == "cuda") for key, tensor in move.items()},
            **{key: batch[key] for key in NUMBERS}}
