"""What a researcher adds works: LoRA, a CRF, rates by group, another optimizer, frozen layers, other losses.

Each as a whole run (train.py) with the edit that CONTRIBUTING.md describes: that it has an effect, that it is continued
bit for bit, that two processes take the steps of one, that the model it leaves is the model that was scored.
"""

import signal
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification, AutoTokenizer

from ner.model.roberta import TokenClassifier
from ner.training import optim
from tests.helpers import doubles, runs, seams
from tests.helpers.crf import CrfHead
from tests.helpers.models import batch_of, small_config
from tests.helpers.processes import together

EMBEDDINGS = "roberta.embeddings.word_embeddings.weight"
STOP = 17  # step; the last checkpoint before it is that of step 16


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return runs.make_recipe(tmp_path_factory.mktemp("seams"))


def model_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def run(recipe: Path, folder: Path, *options: str, prepare=(), status: int = 0) -> str:
    ended, log = runs.run_forked(runs.arguments(recipe, folder, *options), folder.with_suffix(".log"), seams.all_of,
                                 doubles.keep_checkpoints, *prepare)
    assert ended == status, log
    return log


def stopped_and_continued(recipe: Path, folder: Path, *options: str, prepare=()) -> None:
    run(recipe, folder, *options, prepare=(*prepare, (doubles.signal_at, STOP, signal.SIGTERM)),
        status=128 + signal.SIGTERM)
    run(recipe, folder, *options, "--resume", prepare=prepare)


def encoder(recipe: Path) -> dict[str, torch.Tensor]:
    return load_file(recipe.parent / "encoder" / "model.safetensors")


# ---- LoRA


def test_adapters_of_peft_change_the_logits_and_train():
    config = small_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    torch.manual_seed(0)
    plain = TokenClassifier(config)
    batch = batch_of([9, 5, 2], config.vocab_size)
    before = plain(**{**batch, "labels": None})
    model = get_peft_model(plain, LoraConfig(init_lora_weights=False))  # False: adapters that do not begin with zero
    assert sorted(model.peft_config["default"].target_modules) == ["query", "value"]
    logits = model(**{**batch, "labels": None})
    assert (logits - before).abs().max() > 0.01
    model(**batch).backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == ("lora_" in name)
        assert (parameter.grad is not None and parameter.grad.norm() > 0) == ("lora_" in name), name
    merged = model.merge_and_unload()
    assert torch.allclose(merged(**{**batch, "labels": None}), logits, atol=1e-5)


@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_on_a_linear_map_of_attention_are_called(hook):
    model, called = TokenClassifier(small_config()), []
    getattr(model.roberta.encoder["layer"][0].attention["self"].key, hook)(lambda *given: called.append(1))
    model(**batch_of([4], 97))
    assert called


@pytest.mark.slow
def test_a_run_with_adapters(recipe, tmp_path):
    prepare, options = (seams.with_lora,), ("--decode", "argmax", "--average", "5")
    run(recipe, tmp_path / "whole", *options, prepare=prepare)
    stopped_and_continued(recipe, tmp_path / "stopped", *options, prepare=prepare)
    runs.assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    state, first = model_of(tmp_path / "whole"), encoder(recipe)
    for name, tensor in first.items():  # the base stays, but where adapters were merged: query and value
        changed = any(part in name for part in ("query.weight", "value.weight"))
        assert torch.equal(state[name], tensor) != changed, name
    theirs = AutoModelForTokenClassification.from_pretrained(tmp_path / "whole" / "model").eval()
    assert_tags_of_transformers(tmp_path / "whole", theirs)


def assert_tags_of_transformers(folder: Path, theirs) -> None:
    """The model that was left tags as the one that was scored: predictions/test.de.tsv, by transformers."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    blocks = (folder / "predictions" / "test.de.tsv").read_text(encoding="utf-8").strip("\n").split("\n\n")
    for block in blocks:
        words, _, predicted = zip(*(line.split("\t") for line in block.split("\n")), strict=True)
        encoded = tokenizer(list(words), is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            labels = theirs(encoded["input_ids"], attention_mask=encoded["attention_mask"]).logits[0].argmax(-1)
        owners = encoded.word_ids(0)
        found = [theirs.config.id2label[int(labels[owners.index(i)])] for i in range(len(words))]
        assert found == list(predicted)


# ---- learning rates by group, frozen parts


@pytest.mark.slow
def test_groups_have_rates_of_their_own(recipe, tmp_path):
    """A tenth for the body: what no sentence touches decays a tenth, exactly as when the whole table is trained."""
    prepare = (seams.with_factors,)
    for name, options in (("compact", ()), ("whole", ("--active_vocabulary", "false"))):
        run(recipe, tmp_path / name, *options, "--weight_decay", "0.5", "--dropout", "0", prepare=prepare)
    run(recipe, tmp_path / "plain", "--weight_decay", "0.5", "--dropout", "0")
    compact, whole, plain = (model_of(tmp_path / name) for name in ("compact", "whole", "plain"))
    for name, tensor in whole.items():
        assert (compact[name] - tensor).norm() <= 1e-4 * tensor.norm(), name
    first = encoder(recipe)[EMBEDDINGS]
    untouched = (first != 0).any(1) & ((whole[EMBEDDINGS] / first).std(1) < 1e-4)
    assert untouched.sum() > 1000
    shares = [(state[EMBEDDINGS][untouched] / first[untouched]).mean().item() for state in (compact, plain)]
    assert 1 - shares[0] == pytest.approx((1 - shares[1]) / 10, rel=0.1) and shares[1] < 0.9


def test_a_group_without_a_factor_takes_the_rate_of_the_schedule():
    from accelerate import Accelerator

    from ner.training import loop

    model = TokenClassifier(small_config())
    optimizer = optim.adamw(model, 1.0, 0.0)
    optimizer.param_groups[1]["lr_factor"] = 0.25
    batch = batch_of([4, 3], 97)
    loop.train_step(model, optimizer, [{**batch, "wanted": torch.arange(7), "words": [4, 3]}], 7, 0.02, 1.0,
                    Accelerator())
    assert [group["lr"] for group in optimizer.param_groups] == [0.02, 0.005]


@pytest.mark.slow
@pytest.mark.parametrize("layers", [0, 1])
def test_frozen_parts_stay_and_a_run_is_continued(recipe, tmp_path, layers):
    options = ("--freeze", str(layers), "--weight_decay", "0.5", "--average", "epoch")
    run(recipe, tmp_path / "whole", *options)
    stopped_and_continued(recipe, tmp_path / "stopped", *options)
    runs.assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    run(recipe, tmp_path / "full", *options, "--active_vocabulary", "false")
    (checkpoint,) = (tmp_path / "whole" / "checkpoints").glob("step-30")
    moments = load_file(checkpoint / "moments.safetensors")
    for folder in ("whole", "full"):  # untouched rows of the table decay no more than frozen ones
        state = model_of(tmp_path / folder)
        for name, tensor in encoder(recipe).items():
            frozen = "embeddings" in name or any(f"layer.{i}." in name for i in range(layers))
            assert torch.equal(state[name], tensor) == frozen, (folder, name)
            assert frozen != any(key.endswith(f"/{name}") for key in moments)


def test_below_frozen_layers_nothing_is_computed_backward():
    from ner.model import roberta

    model = TokenClassifier(small_config())
    roberta.freeze(model, 2)
    model(**batch_of([9, 5], 97)).backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained and all(name.startswith(("roberta.encoder.layer.2.", "classifier.")) for name in trained)


# ---- a head of one's own


@pytest.mark.slow
def test_a_run_with_a_crf(recipe, tmp_path):
    prepare = (seams.with_crf,)
    run(recipe, tmp_path / "whole", prepare=prepare)
    stopped_and_continued(recipe, tmp_path / "stopped", prepare=prepare)
    runs.assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    state = model_of(tmp_path / "whole")
    assert state["classifier.step"].norm() > 0 and state["classifier.start"].norm() > 0


@pytest.mark.slow
@pytest.mark.parametrize("prepare, options", [
    ((seams.with_crf,), ()), ((seams.with_lora,), ()), ((), ("--freeze", "1", "--average", "3")),
    ((), ("--label_smoothing", "0.1", "--class_weights", "LOC=3", "O=0.5")), ((seams.with_factors,), ())])
def test_two_processes_take_the_steps_of_one(recipe, tmp_path, prepare, options):
    """66 sentences in batches of 64: in the second step of an epoch a third process would have none."""
    more = ("--dropout", "0", "--epochs", "2", "--batch_size", "12", "--learning_rate", "1e-3", *options)
    for processes in (1, 3):
        folder = tmp_path / str(processes)
        statuses, log = together(processes, folder.with_suffix(".log"), seams.train_prepared,
                                 runs.arguments(recipe, folder, *more), prepare)
        assert statuses == [0] * processes, log
    one, three = (runs.curves(tmp_path / name) for name in ("1", "3"))
    assert [step for step, _ in one["train/loss"]] == [1, 2, 3, 4, 5, 6, 7, 8]  # the fourth has one sentence
    for tag in ("train/loss", "train/grad_norm"):
        assert [value for _, value in three[tag]] == pytest.approx([value for _, value in one[tag]], rel=2e-4)
    ours, theirs = model_of(tmp_path / "1"), model_of(tmp_path / "3")
    for name, tensor in ours.items():
        if not name.endswith("key.bias"):  # zero in theory: what is there is rounding
            assert (theirs[name] - tensor).norm() <= 1e-3 * tensor.norm() + 1e-6, name


# ---- other losses, another optimizer


@pytest.mark.slow
def test_smoothing_and_weights_change_the_training_loss_and_are_continued(recipe, tmp_path):
    options = ("--label_smoothing", "0.2", "--class_weights", "{PER: 4, O: 0.5}")
    run(recipe, tmp_path / "whole", *options)
    stopped_and_continued(recipe, tmp_path / "stopped", *options)
    runs.assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    run(recipe, tmp_path / "plain", "--max_steps", "1")
    first, plain = (runs.curves(tmp_path / name)["train/loss"][0][1] for name in ("whole", "plain"))
    assert abs(first - plain) > 0.05


@pytest.mark.parametrize("options, message", [
    (("--class_weights", "PRE=2"), "class_weights: 'PRE' is not a type of the tag set; expected O, PER, ORG, LOC"),
    (("--class_weights", "PER=0"), "class_weights: expected factors above 0"),
    (("--label_smoothing", "1"), "label_smoothing: expected at least 0 and below 1"),
    (("--freeze", "3"), "freeze: expected at most 2, the layers of"),
    (("--freeze", "-1"), "freeze: expected at least 0")])
def test_wrong_values_are_reported(recipe, tmp_path, capsys, options, message):
    import train

    assert train.main(runs.arguments(recipe, tmp_path / "run", *options)) == 2
    error = capsys.readouterr().err
    assert message in error and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_optimizer_without_decoupled_decay(recipe, tmp_path):
    """Refused before the first step together with active_vocabulary; else it trains, and is continued."""
    prepare = (seams.with_sgd,)
    log = run(recipe, tmp_path / "refused", prepare=prepare, status=2)
    assert "expected active_vocabulary: false" in log and not (tmp_path / "refused").exists()
    options = ("--active_vocabulary", "false")
    run(recipe, tmp_path / "whole", *options, prepare=prepare)
    stopped_and_continued(recipe, tmp_path / "stopped", *options, prepare=prepare)
    runs.assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_head_with_a_loss_of_its_own_refuses_options_that_it_would_ignore(recipe, tmp_path, monkeypatch, capsys):
    import train

    doubles.replace(monkeypatch, "Head", CrfHead)
    assert train.main(runs.arguments(recipe, tmp_path / "run", "--label_smoothing", "0.1")) == 2
    assert "the head's own loss ignores them" in capsys.readouterr().err
