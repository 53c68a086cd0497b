"""What a model of the Hub or a folder can lack, and the way to it that the message names. No Hub is asked."""

import json
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer, XLMRobertaConfig

from ner.model import pretrained
from ner.options import UserError
from tests.helpers import doubles
from tests.helpers.folders import contents, opened, tiny_folder

NAME, TITLE = "someone/model", "Adding `safetensors` variant of this model"


def pull_request(num=38, title=TITLE, author="SFconvertbot", status="open", is_pull_request=True):
    return SimpleNamespace(num=num, title=title, author=author, status=status, is_pull_request=is_pull_request)


def hub_with(monkeypatch, folder, found):
    """The Hub has the files of `folder` under any name, and these discussions (or raises)."""
    asked = []

    class Api:
        def get_repo_discussions(self, repo_id, *, author=None, discussion_type=None, discussion_status=None):
            asked.append((repo_id, author, discussion_type, discussion_status))
            if isinstance(found, Exception):
                raise found
            yield from found

    doubles.replace(monkeypatch, "HfApi", Api)
    doubles.replace(monkeypatch, "snapshot_download", lambda name, revision, allow_patterns: str(folder))
    return asked


@pytest.fixture
def pickled(tmp_path):
    """As a repository with a pickle alone comes down: without weights."""
    folder = tiny_folder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    return folder


def test_the_conversion_of_a_pickle_is_named_by_its_number(pickled, monkeypatch):
    others = [pull_request(1, "Update README.md"), pull_request(2, author="someone"), pull_request(3, status="merged"),
              pull_request(4, is_pull_request=False)]
    asked, before = hub_with(monkeypatch, pickled, [*others, pull_request(38), pull_request(39)]), contents(pickled)
    with pytest.raises(UserError) as caught:
        pretrained.folder_of(NAME)
    assert str(caught.value) == (
        f"model {NAME}: holds no model.safetensors on this revision, and a pickle (pytorch_model.bin) is not read; use "
        f"--model_revision refs/pr/38, its open pull request {TITLE!r}")
    assert asked == [(NAME, "SFconvertbot", "pull_request", "open")] and contents(pickled) == before


@pytest.mark.parametrize("found", [OSError("no network"), [], [pull_request(2, author="someone")], AttributeError()])
def test_without_an_answer_the_message_says_where_to_look(pickled, monkeypatch, found):
    hub_with(monkeypatch, pickled, found)
    with pytest.raises(UserError, match=r"use --model_revision refs/pr/N, where N is the pull request 'Adding `saf.*' "
                                        r"in the model's Community tab$"):
        pretrained.folder_of(NAME)


def test_what_is_not_read_at_all_is_said_first(pickled, monkeypatch):
    """Nobody looks for the conversion of an encoder that does not load."""
    path = pickled / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "deberta-v2"}))
    asked = hub_with(monkeypatch, pickled, [pull_request()])
    with pytest.raises(UserError, match="model_type is 'deberta-v2'"):
        pretrained.folder_of(NAME)
    assert not asked


def test_a_whole_model_of_the_hub_asks_nothing_more(tmp_path, monkeypatch):
    folder = tiny_folder(tmp_path / "model")
    asked = hub_with(monkeypatch, folder, [pull_request()])
    assert pretrained.folder_of(NAME) == folder and not asked
    sharded = tiny_folder(tmp_path / "sharded", max_shard_size="4KB")
    hub_with(monkeypatch, sharded, OSError())
    assert pretrained.folder_of(NAME) == sharded


def test_a_local_folder_with_a_pickle_asks_nobody(pickled, monkeypatch):
    asked = hub_with(monkeypatch, pickled, [pull_request()])
    (pickled / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match=r"is not read: .* --model_revision refs/pr/N, where N is the pull request"):
        opened(pretrained.folder_of(str(pickled)))
    assert not asked


def test_a_model_of_the_hub_without_tokenizer_json(tmp_path, monkeypatch):
    folder = tiny_folder(tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    hub_with(monkeypatch, folder, [])
    with pytest.raises(UserError) as caught:
        pretrained.folder_of(NAME)
    assert str(caught.value) == (
        f"model {NAME}: holds no tokenizer.json; expected the files of a fast tokenizer, which transformers makes (pip "
        f"install sentencepiece): hf download {NAME} --local-dir FOLDER, then AutoTokenizer.from_pretrained("
        f'"{NAME}").save_pretrained("FOLDER"), and --model FOLDER')


def test_the_line_for_a_folder_without_tokenizer_json_makes_one(tmp_path):
    """The line of the message, run as it is: with sentencepiece's file if sentencepiece is there, else with BERT's."""
    folder = tiny_folder(tmp_path / "model", "bert")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"holds no tokenizer\.json or vocab\.txt; expected") as caught:
        opened(folder)
    line = str(caught.value).split("): ")[1]
    assert line == f'AutoTokenizer.from_pretrained("{folder}").save_pretrained("{folder}")'
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in sorted(vocabulary, key=vocabulary.get)))
    eval(line, {"AutoTokenizer": AutoTokenizer})
    assert (folder / "tokenizer.json").is_file() and opened(folder)


def test_sentencepiece_alone(tmp_path):
    """A real sentencepiece model, where its package is installed to make one."""
    sentencepiece = pytest.importorskip("sentencepiece")
    folder, text = tiny_folder(tmp_path / "model"), tmp_path / "text"
    text.write_text("Anna wohnt in Bern und arbeitet bei der Post\n" * 30)
    sentencepiece.SentencePieceTrainer.train(input=str(text), model_prefix=str(tmp_path / "m"), vocab_size=40,
                                             hard_vocab_limit=False, minloglevel=2)
    (tmp_path / "m.model").rename(folder / "sentencepiece.bpe.model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    XLMRobertaConfig.from_pretrained(folder).save_pretrained(folder)
    with pytest.raises(UserError, match=r"holds no tokenizer\.json; expected") as caught:
        opened(folder)
    eval(str(caught.value).split("): ")[1], {"AutoTokenizer": AutoTokenizer})
    tokenizer = opened(folder)[2]
    assert tokenizer(["Bern"], is_split_into_words=True).input_ids == tokenizer("Bern").input_ids
    assert tokenizer.unk_token_id not in tokenizer("Anna wohnt in Bern").input_ids
