"""The head: dropout, a linear map, and the meaning of its logits.

Only this file gives logits a meaning: training minimises `loss`, evaluation uses `log_probabilities`.
Another head is a class with the same methods; `roberta` imports the one to use.

Shapes: W words, H hidden, K tags.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ner.model.cpu import Dropout, Linear
from ner.options import Options, UserError, shown
from ner.tags import TagSet


class Head(Linear):
    """Dropout and a linear map; the loss is the cross-entropy of each word's tag.

    label_smoothing: probability spread over all tags (Szegedy et al. 2016, arXiv:1512.00567).
    class_weights: K factors for the losses of words with that gold tag. Both apply to training only; evaluation reports
    the plain cross-entropy.
    """

    def __init__(self, config) -> None:
        super().__init__(config.hidden_size, config.num_labels)
        dropout = config.classifier_dropout
        self.dropout = Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.label_smoothing = 0.0
        self.class_weights: list[float] | None = None

    def configure(self, options: Options, tags: TagSet) -> None:
        """Set the options of the loss. ``UserError`` for a type outside the tag set, or if the head has a loss that
        ignores them."""
        if (options.label_smoothing or options.class_weights) and type(self).loss is not Head.loss:
            raise UserError("label_smoothing, class_weights: the head's own loss ignores them; remove them")
        check_class_weights(options, tags)
        self.label_smoothing = options.label_smoothing
        if options.class_weights:
            self.class_weights = [options.class_weights.get(name.split("-", 1)[-1], 1.0) for name in tags.names]

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """New weights, drawn as in transformers: normal, with zero bias."""
        with torch.no_grad():
            self.weight.copy_(torch.randn(self.weight.shape, generator=generator) * std)
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(W, H) -> (W, K) logits."""
        return super().forward(self.dropout(x))

    def loss(self, logits: Tensor, labels: Tensor, words: list[int] | None) -> Tensor:
        """What training minimises, in nats: a sum over the words, so that micro-batches and processes add up.

        logits: (W, K) fp32, labels: (W,), words: how many of the W each window owns, for heads that work on sequences
        (None if the caller of the model does not pass it).
        """
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        return F.cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=self.label_smoothing)

    def log_probabilities(self, logits: Tensor, words: list[int]) -> Tensor:
        """(W, K) log p(tag of the word), in nats; arguments as in `loss`."""
        return logits.log_softmax(-1)


def check_class_weights(options: Options, tags: TagSet) -> None:
    """``UserError`` for a type outside the tag set."""
    if unknown := options.class_weights.keys() - {"O", *tags.types}:
        raise UserError(f"class_weights: {shown(min(unknown))} is not a type of the tag set; "
                        f"expected O, {', '.join(tags.types)}")
