"""RoBERTa's body with a head for token classification; parameter names as in transformers.

It works on packed tokens (`packing`): padding is never computed, and after the last attention only the subwords whose
logits are wanted (the first ones of words). ``attention="padded"`` computes everything from the same weights; tests
compare both with each other and with transformers.

Shapes: B sentences, L padded length, T packed tokens, H hidden, A heads, V vocabulary, K tags.
Architecture: Liu et al. 2019 (arXiv:1907.11692), Conneau et al. 2020 (arXiv:1911.02116).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ner.model import packing
from ner.model.cpu import Dropout, Linear, attend, linear
from ner.model.head import Head

ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu}
GROUPS = 4  # of rows in packed attention
ROWS = 8  # per group in evaluation: lengths there are so similar that most groups then need no mask
SCORES = 2**20  # of attention per head, B * L * L, that a GPU computes as one group
BACKEND = "inductor"  # of `compile_body`


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(
            config.max_position_embeddings, config.hidden_size, padding_idx=config.pad_token_id
        )
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        """(T,) ids and positions -> (T, H)."""
        x = self.word_embeddings(input_ids) + self.position_embeddings(position_ids)
        return self.dropout(self.LayerNorm(x + self.token_type_embeddings.weight[0]))


def is_plain(part: nn.Module) -> bool:
    """Whether a linear map is just weight and bias, so that these may be used without calling it."""
    return type(part) is Linear and not (part._forward_hooks or part._forward_pre_hooks)


class SelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.query = Linear(config.hidden_size, config.hidden_size)
        self.key = Linear(config.hidden_size, config.hidden_size)
        self.value = Linear(config.hidden_size, config.hidden_size)
        self.heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob

    def forward(self, x: Tensor, layout: packing.Layout) -> Tensor:
        """(T, H) -> (T, H), each token attending to the tokens of its own row."""
        parts = (self.query, self.key, self.value)
        if all(map(is_plain, parts)):
            # One product instead of three saves additions of gradients and lays out the rows only once.
            qkv = linear(x, torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]))
        else:  # adapters, parametrisations and hooks only work when the module is called
            qkv = torch.cat([part(x) for part in parts], -1)  # (T, 3 H)
        if layout.slots is not None:
            qkv = packing.Scatter.apply(qkv, layout.slots, layout.size)
        dropout = self.dropout if self.training else 0.0
        groups = qkv.split([group.rows * group.width for group in layout.groups])
        attended = [attend(rows, group, self.heads, dropout) for rows, group in zip(groups, layout.groups, strict=True)]
        mixed = attended[0] if len(attended) == 1 else torch.cat(attended)
        return mixed if layout.slots is None else packing.Gather.apply(mixed, layout.slots)


class AddAndNorm(nn.Module):
    """Dense, dropout, residual, LayerNorm: the end of both halves of a layer."""

    def __init__(self, inputs: int, config):
        super().__init__()
        self.dense = Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = nn.ModuleDict(
            {"self": SelfAttention(config), "output": AddAndNorm(config.hidden_size, config)}
        )
        self.intermediate = nn.ModuleDict({"dense": Linear(config.hidden_size, config.intermediate_size)})
        self.output = AddAndNorm(config.intermediate_size, config)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, x: Tensor, layout: packing.Layout, wanted: Tensor | None = None) -> Tensor:
        """(T, H) -> (T, H), or (W, H) of the W `wanted` tokens: after attention, tokens are independent."""
        mixed = self.attention["self"](x, layout)
        if wanted is not None:
            mixed, x = packing.Gather.apply(mixed, wanted), packing.Gather.apply(x, wanted)
        x = self.attention["output"](mixed, x)
        return self.output(self.activation(self.intermediate["dense"](x)), x)


class Roberta(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))})

    def forward(self, input_ids: Tensor, position_ids: Tensor, layout: packing.Layout,
                wanted: Tensor | None) -> Tensor:
        """(T,) ids and positions -> (T, H), or (W, H) of the `wanted` tokens."""
        x = self.embeddings(input_ids, position_ids)
        *layers, last = self.encoder["layer"]
        for layer in layers:
            x = layer(x, layout)
        return last(x, layout, wanted)


class TokenClassifier(nn.Module):
    """RoBERTa and a head: from a padded batch to one row of logits per real token, or to the loss."""

    def __init__(self, config, attention: str = "packed"):
        super().__init__()
        self.config = config
        self.attention = attention
        self.one_group = False
        self.roberta = Roberta(config)
        self.classifier = Head(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, lengths: list[int] | None = None,
                slots: Tensor | None = None, wanted: Tensor | None = None, labels: Tensor | None = None,
                words: list[int] | None = None) -> Tensor:
        """(B, L) ids and mask -> (T, K) logits of the real tokens, in reading order, or (W, K) of the `wanted` ones;
        with `labels` (B, L) the loss instead, summed over the words, which are the `wanted` tokens.

        The loss is computed here, because a wrapper for several processes sees only what happens in a forward pass.
        `lengths` (real tokens per row) and `slots` (`packing.token_index` of the mask) come with every batch from the
        collator; without them, they are read from the mask, which makes a GPU wait. `wanted`: indices into the T
        tokens. `words`: how many of them each row has.
        """
        if lengths is None or slots is None:
            lengths, slots = attention_mask.sum(1).tolist(), packing.token_index(attention_mask)
        device, first = input_ids.device, self.config.pad_token_id + 1
        if self.attention == "packed":
            groups = 1 if self.one_group else group_count(lengths, self.training, device)
            layout = packing.attention_layout(lengths, groups, device)
            position_ids = packing.sent(packing.positions(lengths, first), device)
            x = self.roberta(input_ids.flatten()[slots], position_ids, layout, wanted)
        else:
            rows, width = input_ids.shape
            group = packing.Group(rows, width, attention_mask[:, None, None, :].bool())
            position_ids = torch.cumsum(attention_mask, 1) * attention_mask + first - 1
            layout = packing.Layout([group], None, rows * width)
            x = self.roberta(input_ids.flatten(), position_ids.flatten(), layout, None)[slots]
            x = x if wanted is None else x[wanted]
        logits = self.classifier(x)
        if labels is None:
            return logits
        gold = labels.flatten()[slots]
        gold = gold if wanted is None else gold[wanted]
        if not len(gold):  # zero gradients for all parameters, because other processes wait for them
            return sum((0 * parameter.sum() for parameter in self.classifier.parameters()), 0 * logits.float().sum())
        return self.classifier.loss(logits.float(), gold, words)


def group_count(lengths: list[int], training: bool, device: torch.device) -> int:
    """The groups of rows in which attention runs. On a CPU, less padding is worth more calls. On a GPU, every group
    costs launches of kernels in every layer, more than padding unless rows are long (an estimate: docs/gpu.md)."""
    groups = GROUPS if training else max(GROUPS, len(lengths) // ROWS)
    return groups if device.type == "cpu" else min(groups, math.ceil(len(lengths) * max(lengths) ** 2 / SCORES))


def compile_body(model: TokenClassifier) -> None:
    """Compile all layers, for any number of tokens, when they are first called. Attention then has one group, so that
    no graph depends on the lengths."""
    model.one_group = True
    model.roberta.compile(dynamic=True, backend=BACKEND)


def freeze(model: TokenClassifier, layers: int) -> None:
    """Freeze the embeddings and the lowest `layers`: no gradients, no moments, no backward pass through them."""
    for part in (model.roberta.embeddings, *model.roberta.encoder["layer"][:layers]):
        part.requires_grad_(False)
