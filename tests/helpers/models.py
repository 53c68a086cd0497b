"""Small models and batches."""

import torch
from transformers import XLMRobertaConfig

from ner.model import packing


def small_config(**changes) -> XLMRobertaConfig:
    """An encoder of three narrow layers."""
    values = {"vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
              "intermediate_size": 40, "max_position_embeddings": 40, "type_vocab_size": 1,
              "num_labels": 5, "initializer_range": 0.2}
    return XLMRobertaConfig(**{**values, **changes})


def batch_of(lengths: list[int], vocabulary: int, side: str = "right", width: int | None = None) -> dict:
    """Random ids and labels in rows of `lengths`, padded with 1 (ids) and -100 (labels)."""
    generator = torch.Generator().manual_seed(3)
    width = width or max(lengths)
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    mask = (mask if side == "right" else mask.flip(1)).long()
    ids, labels = torch.ones_like(mask), torch.full_like(mask, -100)
    ids[mask.bool()] = torch.randint(4, vocabulary, (sum(lengths),), generator=generator)
    labels[mask.bool()] = torch.randint(0, 5, (sum(lengths),), generator=generator)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "lengths": lengths,
            "slots": packing.token_index(mask)}
