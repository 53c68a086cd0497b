"""Documents cut into windows against one window, with a model that sees a limited number of subwords.

What it says of a word is a checksum of the subwords around it, so a word answered in another one's place, or by a
window that does not show its surroundings, gets another tag. A trained model looks everywhere a little: for that one,
``python -m tests.proofs.windows RUN --data_dir DIR``.
"""

import itertools

import numpy as np
import pytest
import torch

from ner.data import readers
from ner.data.alignment import IGNORED, encode
from ner.data.swiss import generate
from ner.model import builtin, pretrained
from ner.model.head import Head
from ner.tags import PANX_TYPES, tag_set
from tests.helpers.models import small_config
from tests.proofs.windows import LONGEST, SHORTEST, WHOLE, WINDOW, Document, compare, documents, tag

TAGS = tag_set(PANX_TYPES)

pytestmark = pytest.mark.slow


class Neighbours(torch.nn.Module):
    """The tag of a subword is a checksum of itself and of `reach` subwords to its left and right."""

    def __init__(self, reach: int):
        super().__init__()
        self.reach = reach
        generator = torch.Generator().manual_seed(0)
        self.factors = torch.randint(1, 1 << 30, (2 * reach + 1,), generator=generator)
        self.config = small_config(num_labels=len(TAGS.names))
        self.classifier = Head(self.config)  # for what it makes of logits

    def forward(self, input_ids, attention_mask, lengths, slots, wanted, labels, words):
        padded = torch.nn.functional.pad(input_ids * attention_mask, (self.reach, self.reach))
        around = padded.unfold(1, len(self.factors), 1)  # (B, L, 2 * reach + 1)
        checksum = (around * self.factors).sum(-1) // 64 % len(TAGS.names)
        return torch.nn.functional.one_hot(checksum.flatten()[slots][wanted], len(TAGS.names)).float()


@pytest.fixture(scope="module")
def tokenizer():
    folder = builtin.encoder_folder()
    return pretrained.load_tokenizer(folder, pretrained.load_config(folder))


@pytest.fixture(scope="module")
def glued(tokenizer) -> list[Document]:
    sentences = [Document(words, TAGS.labels(tags)) for lang in generate.LANGS
                 for split in ("validation", "test") for words, tags in generate.sentences(lang, split)]
    return documents(sentences, tokenizer, 100)


def agreement(glued: list[Document], tokenizer, reach: int, stride: int | None = None) -> float:
    model = Neighbours(reach)
    whole = tag(model, tokenizer, TAGS, glued, WHOLE, 0)
    assert len(whole) == sum(len(one.words) for one in glued) and np.bincount(whole, minlength=7).min() > 0
    return compare(glued, TAGS.names, whole, tag(model, tokenizer, TAGS, glued, WINDOW, stride)).agreement


def test_documents_are_whole_sentences_of_400_to_500_subwords(tokenizer, glued):
    assert len(glued) > 10
    windows = encode([one.words for one in glued], [one.gold for one in glued], tokenizer, WHOLE, 0)
    sizes = [len(window.input_ids) - 2 for (window,) in windows]
    assert len(sizes) == len(glued) and all(SHORTEST <= size <= LONGEST for size in sizes)
    assert all(len(one.words) == len(one.gold) for one in glued)
    short = [Document(["Bern"] * 60, [5] * 60)] * 9
    assert documents([*short, Document(["in"] * 600, [0] * 600)], tokenizer, 1)[0].words.count("in") == 0


def test_every_word_is_seen_with_its_surroundings(tokenizer, glued):
    """Neighbouring windows share 64 subwords, so a word's window shows about 32 to either side, or the text's end."""
    assert agreement(glued, tokenizer, 0, 0) == 1.0
    assert agreement(glued, tokenizer, 24) == 1.0
    assert agreement(glued, tokenizer, 40) < 0.97, "the windows end somewhere"
    assert agreement(glued, tokenizer, 24, 0) < 0.97, "without an overlap, what is near a window's end is guessed"


def test_the_window_with_more_context_wins(tokenizer, glued):
    """If the first window that shows a word answered for it, or the last, a quarter of the words would differ."""
    windows = encode([one.words for one in glued], [one.gold for one in glued], tokenizer, WINDOW)
    for of_document in windows:
        for before, after in itertools.pairwise(of_document):
            unowned = [len(before.labels) - 1 - np.flatnonzero(before.labels != IGNORED)[-1],
                       np.flatnonzero(after.labels != IGNORED)[0]]
            assert min(unowned) >= 24, "both leave to the other what they show without context"


@pytest.mark.parametrize("lang", ["de", "fr", "it", "en"])
def test_documents_glued_from_panx(shared, tokenizer, lang):
    read = readers.read_file(shared / "panx" / lang / "test", lang)[:2000]
    glued = documents([Document(one.tokens, TAGS.labels(one.tags)) for one in read], tokenizer, 30)
    assert len(glued) == 30 and agreement(glued, tokenizer, 24) > 0.999
