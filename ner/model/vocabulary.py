"""The rows of the embedding table that a run can touch, trained as if the whole table were.

XLM-R's table of 250,000 rows is 70 to 80 % of its parameters, and a corpus touches a tenth of it; gradient, clipping,
AdamW's moments and the exchange between processes would pay for all of it. Only the rows of subwords that occur in the
run's training, validation and test windows (and the special ones) are trained, in a compact table.

Trade-off. No other row ever gets a gradient, so its AdamW moments stay zero and only the decoupled weight decay moves
it: after n steps it is its first value times the product of (1 - lr_t * weight_decay), which is applied when the full
table is written (Loshchilov & Hutter 2019, arXiv:1711.05101). Equal but for the rounding of n small fp32 steps, which
the product does not have: measured, a relative 2e-6 a weight after 400 steps at 1e-2 and decay 0.1, 2e-5 after 590
steps at 5e-5 and 0.01, 1e-4 after 5,000 of those. A new text needs the full table again: `model/` always holds it.
"""

import numpy as np
import torch
from torch import Tensor


def active_rows(texts: list[np.ndarray], special: list[int], pad_id: int) -> np.ndarray:
    """Sorted ids that occur in `texts` (arrays of ids) or are special. Ids up to the padding id are always in, so that
    padding keeps its number, from which positions are counted. [[7, 5], [7]], [2], 1 -> [0, 1, 2, 5, 7]."""
    found = np.concatenate([*texts, np.asarray(special, np.int64), np.arange(pad_id + 1)])
    return np.unique(found).astype(np.int64)


def compact_ids(ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Ids of the full table -> row numbers of the compact one; ValueError for an id that is not among `rows`."""
    found = np.searchsorted(rows, ids)
    strangers = ids[rows.take(found, mode="clip") != ids]
    if len(strangers):
        raise ValueError(f"the compact table has no row for the ids {np.unique(strangers)}; expected the run's ids")
    return found.astype(ids.dtype)


def decay_product(rates: np.ndarray, weight_decay: float) -> float:
    """What n steps of decoupled weight decay multiply an untouched weight with; `rates`: learning rate of each."""
    return float(np.prod(1.0 - np.asarray(rates, np.float64) * weight_decay))


def full_table(pretrained: Tensor, rows: np.ndarray, trained: Tensor, decay: float) -> Tensor:
    """(V, H) table as full training would have left it, from the pretrained one and the compact (len(rows), H) one."""
    table = pretrained.to("cpu", torch.float32).mul(decay)
    table[torch.from_numpy(rows)] = trained.to("cpu", torch.float32)
    return table
