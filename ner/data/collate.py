"""The padding collator: windows -> one batch, a dict of tensors (and the lengths, as numbers of the host).

Rows come out sorted by length, longest first: packed attention runs on groups of neighbouring rows, and a caller that
needs the order of its windows finds it in `order`. Lengths stay plain numbers, because a model that had to read them
from a device would make the host wait for it. `slots` are the real tokens among the B * L slots, in reading order.
"""

import torch

from ner.data.alignment import IGNORED, Window

DEVICE_KEYS = ("input_ids", "attention_mask", "labels", "slots", "wanted")


def collate(windows: list[Window], pad_id: int, padding_side: str = "right") -> dict:
    """Batch of B windows, padded to its longest, L.

    input_ids, attention_mask, labels: (B, L) int64, labels -100 on padding; slots: (T,) flat slot of every real token;
    wanted: (W,) place among those T of every token with a label; lengths: list of B numbers; order: list of B, the
    place in `windows` that each row has.
    """
    order = sorted(range(len(windows)), key=lambda i: (-len(windows[i].input_ids), i))
    lengths = [len(windows[i].input_ids) for i in order]
    shape = (len(windows), lengths[0])
    input_ids = torch.full(shape, pad_id, dtype=torch.int64)
    labels = torch.full(shape, IGNORED, dtype=torch.int64)
    attention_mask = torch.zeros(shape, dtype=torch.int64)
    for row, (i, length) in enumerate(zip(order, lengths)):
        place = slice(0, length) if padding_side == "right" else slice(shape[1] - length, None)
        input_ids[row, place] = torch.from_numpy(windows[i].input_ids)
        labels[row, place] = torch.from_numpy(windows[i].labels)
        attention_mask[row, place] = 1
    slots = attention_mask.flatten().nonzero().flatten()
    wanted = (labels.flatten()[slots] != IGNORED).nonzero().flatten()
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels, "slots": slots,
            "wanted": wanted, "lengths": lengths, "order": order}


def word_logits(model, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """(W, K) fp32 logits and (W,) gold labels of the words that the batch's windows own, in reading order."""
    logits = model(batch["input_ids"], batch["attention_mask"], batch["lengths"], batch["slots"], batch["wanted"])
    return logits.float(), batch["labels"].flatten()[batch["slots"]][batch["wanted"]]


def to_device(batch: dict, device: torch.device) -> dict:
    """The batch with its tensors on `device`; from pinned memory and without waiting where that is a GPU."""
    move = {key: batch[key] for key in DEVICE_KEYS}
    if device.type == "cuda":
        move = {key: tensor.pin_memory() for key, tensor in move.items()}
    return {**batch, **{key: tensor.to(device, non_blocking=True) for key, tensor in move.items()}}
