"""The head of a fine-tuned model under a new tag set: rows of known tags are kept by name, the others drawn."""

import logging

import pytest
import torch

from ner.model import pretrained
from tests.helpers import doubles
from tests.helpers.crf import CrfHead
from tests.helpers.folders import TAGS, opened, tiny_folder

BARE = ("LABEL_0", "LABEL_1")


def head_for(folder, tags, seed=1):
    """The head that training would begin with, and the notices about it."""
    config = pretrained.load_config(folder)
    config.num_labels = len(tags)
    return pretrained.load_model(folder, config, "packed", new_head=torch.Generator().manual_seed(seed),
                                 tags=tags).classifier


def drawn(tags, seed=1):
    """As a new head was always drawn."""
    return torch.randn((len(tags), 16), generator=torch.Generator().manual_seed(seed)) * 0.3  # initializer_range


@pytest.fixture
def notices(caplog):
    """What was said, without what is said of every folder."""
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records if record.name.startswith("ner")]


def test_new_head_is_drawn_as_transformers_does_and_by_the_seed(tmp_path, notices):
    for tags in (BARE, ("B-X", "I-X")):  # nothing of them is known
        head = head_for(tiny_folder(tmp_path / tags[0], tags=tags), TAGS)
        assert head.weight.equal(drawn(TAGS)) and not head.bias.any()
    other = head_for(tmp_path / "B-X", TAGS, seed=2)
    assert not other.weight.equal(head.weight) and 0.2 < other.weight.std() < 0.4
    assert not notices()


def test_head_for_the_same_tags_is_kept_and_matched_by_name(tmp_path, notices):
    folder = tiny_folder(tmp_path / "model")
    theirs = opened(folder)[0].classifier
    for order in ([0, 1, 2, 3, 4, 5, 6], [6, 0, 3, 2, 1, 5, 4]):
        ours = head_for(folder, tuple(TAGS[i] for i in order))
        assert ours.weight.equal(theirs.weight[order]) and ours.bias.equal(theirs.bias[order])
    assert notices() == [f"{folder}: has a head for these tags, training goes on from it"] * 2


def test_rows_of_known_tags_are_kept_and_the_others_drawn(tmp_path, notices):
    folder = tiny_folder(tmp_path / "model")
    with torch.no_grad():
        theirs = opened(folder)[0].classifier
    tags = ("O", "B-LOC", "I-LOC", "B-TIME", "I-TIME", "B-PER", "I-PER")
    ours, known = head_for(folder, tags), [0, 1, 2, 5, 6]
    there = [TAGS.index(tags[i]) for i in known]
    assert ours.weight[known].equal(theirs.weight[there]) and ours.bias[known].equal(theirs.bias[there])
    assert ours.weight[3:5].equal(drawn(tags)[3:5]) and not ours.bias[3:5].any()
    assert notices() == [f"{folder}: has a head for other tags; it keeps its rows for O B-LOC I-LOC B-PER I-PER, and "
                         f"gets new ones for B-TIME I-TIME"]


def test_fewer_tags_keep_their_rows(tmp_path, notices):
    folder = tiny_folder(tmp_path / "model")
    theirs, ours = opened(folder)[0].classifier, head_for(folder, ("I-PER", "O", "B-PER"))
    assert ours.weight.equal(theirs.weight[[2, 0, 1]]) and ours.bias.equal(theirs.bias[[2, 0, 1]])
    assert notices()[0].endswith("it keeps its rows for I-PER O B-PER, and gets new ones for no tag")


def test_a_tag_of_iob1_finds_its_own_row_only(tmp_path):
    folder = tiny_folder(tmp_path / "model", tags=("I-PER", "O"))
    theirs, ours = opened(folder)[0].classifier, head_for(folder, ("O", "B-PER", "I-PER"))
    assert ours.weight[[0, 2]].equal(theirs.weight[[1, 0]])
    assert ours.weight[1].equal(drawn(TAGS[:3])[1])


def test_another_head_is_kept_whole_or_drawn_whole(tmp_path, monkeypatch, notices):
    """What a CRF holds by tag cannot be put in another order from outside."""
    doubles.replace(monkeypatch, "Head", CrfHead)
    folder = tiny_folder(tmp_path / "model")
    ours, config, tokenizer = opened(folder, new_head=torch.Generator().manual_seed(1), tags=TAGS)
    state = {name: torch.full_like(parameter, 0.5) if name.startswith("classifier.") else parameter.detach()
             for name, parameter in ours.named_parameters()}
    pretrained.save_model(tmp_path / "crf", state, config, tokenizer, TAGS, "card")
    same, less = head_for(tmp_path / "crf", TAGS), head_for(tmp_path / "crf", TAGS[:3])
    assert all((parameter == 0.5).all() for parameter in same.parameters())
    assert not any((parameter == 0.5).any() for parameter in less.parameters())
    assert notices() == [f"{tmp_path / 'crf'}: has a head for these tags, training goes on from it"]
