"""The padding collator: windows -> one batch, a dict of tensors (and numbers of the host).

Rows come out sorted by length, longest first: packed attention runs on groups of neighbouring rows, and a caller that
needs the order of its windows finds it in `order`. Lengths stay plain numbers, because a model that had to read them
from a device would make the host wait for it. `slots` are the real tokens among the B * L slots, in reading order.
"""

from typing import NamedTuple

import numpy as np
import torch

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
    sizes = np.array([len(window.input_ids) for window in windows])
    order = np.argsort(-sizes, kind="stable")
    lengths, rows, width = sizes[order], [windows[i] for i in order], sizes.max()
    real = np.arange(width) < lengths[:, None] if padding.side == "right" else (
        np.arange(width) >= width - lengths[:, None])  # (B, L), True for real tokens
    flat = np.concatenate([row.labels for row in rows])
    input_ids, labels = np.full(real.shape, padding.id), np.full(real.shape, IGNORED)
    input_ids[real], labels[real] = np.concatenate([row.input_ids for row in rows]), flat
    tensors = {"input_ids": input_ids, "attention_mask": real.astype(np.int64), "labels": labels,
               "slots": np.flatnonzero(real), "wanted": np.flatnonzero(flat != IGNORED)}
    return {**{name: torch.from_numpy(array) for name, array in tensors.items()},
            "lengths": lengths.tolist(), "words": (labels != IGNORED).sum(1).tolist(), "order": order.tolist()}


def to_device(batch: dict, device: torch.device) -> dict:
    """What the model takes of a batch, its tensors on `device`. To a CUDA GPU they go as one copy from pinned memory,
    for which the host does not wait."""
    tensors = {key: batch[key] for key in TENSORS}
    if device.type == "cuda":
        flat = torch.cat([tensor.flatten() for tensor in tensors.values()]).pin_memory()
        parts = flat.to(device, non_blocking=True).split([tensor.numel() for tensor in tensors.values()])
        tensors = {key: part.view(tensor.shape) for (key, tensor), part in zip(tensors.items(), parts, strict=True)}
    else:  # on a Mac's GPU, a copy that does not wait can read memory that is in use again (pytorch/pytorch#189690)
        tensors = {key: tensor.to(device) for key, tensor in tensors.items()}
    return {**tensors, **{key: batch[key] for key in NUMBERS}}
