"""The rows of the embedding table that a run can use, trained with the same result as the whole table.

XLM-R's table of 250,000 rows is 70 to 80 % of its parameters, and a corpus uses a tenth of it. Only rows of subwords in
the run's training, validation and test windows (and special tokens) are trained, in a compact table.

All other rows never get a gradient, so only decoupled weight decay changes them: after n steps, a row is its initial
value times the product of (1 - lr_t * weight_decay) (Loshchilov & Hutter 2019, arXiv:1711.05101). This factor
is applied when `model/` is written, with the full table. The result is the same up to rounding (docs/speed.md).
"""

import numpy as np
import torch
from torch import Tensor


def active_rows(texts: list[np.ndarray], special: list[int], pad_id: int) -> np.ndarray:
    """Sorted ids that occur in `texts` (arrays of ids) or are special. Ids up to the padding id are always included, so
    that the padding id, from which positions are counted, stays the same. [[7, 5], [7]], [2], 1 -> [0, 1, 2, 5, 7]."""
    found = np.concatenate([*texts, np.asarray(special, np.int64), np.arange(pad_id + 1)])
    return np.unique(found).astype(np.int64)


def compact_ids(ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Ids of the full table -> row numbers of the compact one; ValueError for an id that is not in `rows`."""
    found = np.searchsorted(rows, ids)
    strangers = ids[rows.take(found, mode="clip") != ids]
    if len(strangers):
        raise ValueError(f"the compact table has no row for the ids {np.unique(strangers)}; expected the run's ids")
    return found.astype(ids.dtype)


def decay_product(rates: np.ndarray, weight_decay: float) -> float:
    """The factor of n steps of decoupled weight decay on a weight without gradient; `rates`: their learning rates."""
    return float(np.prod(1.0 - np.asarray(rates, np.float64) * weight_decay))


def full_table(pretrained: Tensor, rows: np.ndarray, trained: Tensor, decay: float) -> Tensor:
    """The (V, H) table as full training would leave it, from the pretrained and the compact (len(rows), H) tables."""
    table = pretrained.to("cpu", torch.float32).mul(decay)
    table[torch.from_numpy(rows)] = trained.to("cpu", torch.float32)
    return table
