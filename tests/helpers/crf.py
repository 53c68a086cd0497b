"""A linear-chain conditional random field as the head: an example of another head (CONTRIBUTING.md)."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ner.model.head import Head


class CrfHead(Head):
    """Lafferty et al. 2001: the words of each of B windows are a sequence of up to L tags."""

    def __init__(self, config):
        super().__init__(config)
        self.start = nn.Parameter(torch.zeros(config.num_labels))
        self.step = nn.Parameter(torch.zeros(config.num_labels, config.num_labels))  # from, to

    def initialise(self, std: float, generator: torch.Generator) -> None:
        super().initialise(std, generator)
        nn.init.zeros_(self.start)
        nn.init.zeros_(self.step)

    def losses(self, logits: Tensor, labels: Tensor, words: list[int]) -> Tensor:
        """(B,) -log p(the labels of a window), in nats."""
        emissions, gold = (pad_sequence(list(x.split(words)), batch_first=True) for x in (logits, labels))
        lengths = torch.tensor(words, device=logits.device)
        reached, score = emissions.new_zeros(len(words), emissions.shape[2]), emissions.new_zeros(len(words))
        for t in range(emissions.shape[1]):
            into = self.start.expand_as(reached) if t == 0 else (reached[:, :, None] + self.step).logsumexp(1)
            chosen = self.start[gold[:, 0]] if t == 0 else self.step[gold[:, t - 1], gold[:, t]]
            there = t < lengths
            reached = torch.where(there[:, None], into + emissions[:, t], reached)
            score = score + torch.where(there, chosen + emissions[:, t].gather(1, gold[:, t : t + 1])[:, 0], 0.0)
        return torch.where(lengths > 0, reached.logsumexp(-1) - score, score)

    def loss(self, logits: Tensor, labels: Tensor, words: list[int]) -> Tensor:
        return self.losses(logits, labels, words).sum()

    def log_probabilities(self, logits: Tensor, words: list[int]) -> Tensor:
        """Log marginals: of all paths through a tag, before it, at it and after it."""
        def reached(emissions: Tensor, start: Tensor, step: Tensor) -> Tensor:
            """(L, K) log-sums over the paths up to and including each word."""
            sums = [start + emissions[0]]
            for emission in emissions[1:]:
                sums.append((sums[-1][:, None] + step).logsumexp(0) + emission)
            return torch.stack(sums)

        found = [logits.new_zeros(0, logits.shape[1])]
        for emissions in (part for part in logits.split(words) if len(part)):
            before = reached(emissions, self.start, self.step)
            after = reached(emissions.flip(0), torch.zeros_like(self.start), self.step.T).flip(0)
            found.append((before + after - emissions).log_softmax(-1))
        return torch.cat(found)
