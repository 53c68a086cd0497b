"""The step: its loss and gradient whatever the split, what stops it, and when the schedule moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from ner.data.alignment import IGNORED, Window
from ner.data.collate import Padding
from ner.data.encoded import Encoded
from ner.model.roberta import TokenClassifier
from ner.options import Options, UserError
from ner.training import loop, optim
from ner.training.loop import Progress
from ner.training.selection import out_of_patience, selected
from tests.helpers.models import small_config

OPTIONS = Options(batch_size=64, learning_rate=1e-3, epochs=1)
PADDING = Padding(1, "right")


def window(generator: np.random.Generator) -> Window:
    length = int(generator.integers(3, 20))
    labels = generator.integers(0, 5, length)
    labels[generator.random(length) < 0.5] = IGNORED
    labels[[0, -1]] = IGNORED
    labels[1] = 2
    return Window(generator.integers(4, 97, length).astype(np.int32), labels.astype(np.int32), 0)


def make_data(count: int = 70) -> Encoded:
    generator = np.random.default_rng(1)
    return Encoded([["?"]] * count, np.zeros(count), [[window(generator)] for i in range(count)],
                   [("de", 100 + i) for i in range(count)])


def make_model(dropout: float = 0.0) -> TokenClassifier:
    torch.manual_seed(2)
    return TokenClassifier(small_config(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout))


def gradients(model) -> dict[str, torch.Tensor]:
    result = {name: p.grad.clone() for name, p in model.named_parameters()
              if not name.endswith("key.bias")}  # zero in theory
    model.zero_grad()
    return result


def assert_close(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert (gradient - theirs[name]).norm() <= 1e-5 * theirs[name].norm(), name


@pytest.mark.parametrize("size, step", [(16, 0), (1, 0), (7, 0), (5, 1)])
def test_micro_batches_take_the_same_step(size, step):
    model, data, accelerator = make_model(), make_data(), Accelerator()
    whole, words = loop.step_batches(data, PADDING, step, OPTIONS, 0, 1)
    parts, same_words = loop.step_batches(data, PADDING, step, replace(OPTIONS, micro_batch_size=size), 0, 1)
    assert len(whole) == 1 and len(parts) == -(-len(whole[0]["lengths"]) // size) and words == same_words
    loss = loop.accumulate(model, whole, words, accelerator)
    expected = gradients(model)
    assert float(loop.accumulate(model, parts, words, accelerator)) == pytest.approx(float(loss), rel=1e-5)
    assert_close(gradients(model), expected)


def test_the_loss_is_the_mean_over_the_labelled_words_of_the_step():
    model, data, accelerator = make_model(), make_data(5), Accelerator()
    batches, words = loop.step_batches(data, PADDING, 0, OPTIONS, 0, 1)
    singles = [torch.from_numpy(w.labels).long() for (w,) in data.windows]
    logits = [model(torch.from_numpy(w.input_ids).long()[None], torch.ones(1, len(w.labels)).long())
              for (w,) in data.windows]
    expected = F.cross_entropy(torch.cat(logits), torch.cat(singles), ignore_index=IGNORED)  # a mean
    assert words == sum(int((labels != IGNORED).sum()) for labels in singles)
    assert (float(loop.accumulate(model, batches, words, accelerator)) / words
            == pytest.approx(expected.item(), rel=1e-5))
    ours = gradients(model)
    expected.backward()
    assert_close(ours, gradients(model))


@pytest.mark.parametrize("processes", [2, 3, 7])
@pytest.mark.parametrize("step", [0, 1])  # 64 sentences, and the last 6: uneven shares, some of them empty
def test_shares_add_up_to_the_whole_step(processes, step):
    model, data, accelerator = make_model(), make_data(), Accelerator()
    whole, words = loop.step_batches(data, PADDING, step, OPTIONS, 0, 1)
    loss = float(loop.accumulate(model, whole, words, accelerator))
    expected, shares = gradients(model), []
    options = replace(OPTIONS, micro_batch_size=4)
    for rank in range(processes):
        batches, same_words = loop.step_batches(data, PADDING, step, options, rank, processes)
        assert same_words == words
        shares.append((len(batches), float(loop.accumulate(model, batches, words, accelerator))))
    assert_close(gradients(model), expected)
    assert sum(share for _, share in shares) == pytest.approx(loss, rel=1e-5)
    assert len({passes for passes, _ in shares}) == 1  # a process with fewer passes would leave the others waiting


def test_a_process_without_sentences_joins_with_zero_loss():
    model, data, accelerator = make_model(), make_data(2), Accelerator()
    batches, words = loop.step_batches(data, PADDING, 0, OPTIONS, 2, 3)
    assert len(batches) == 1 and int((batches[0]["labels"] != IGNORED).sum()) == 0 and words > 0
    assert float(loop.accumulate(model, batches, words, accelerator)) == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def run_steps(model, data, options, accelerator=None, progress=None, asked=lambda: False):
    accelerator = accelerator or Accelerator()
    model, optimizer = accelerator.prepare(model, optim.adamw(model, options.learning_rate, 0.01))
    return loop.steps(model, optimizer, data, PADDING, options, accelerator, progress or Progress(), asked), optimizer


def test_progress_counts_steps_words_and_loss():
    data, progress = make_data(), Progress()
    results = list(run_steps(make_model(), data, replace(OPTIONS, epochs=2), progress=progress)[0])
    words = [loop.step_batches(data, PADDING, step, OPTIONS, 0, 1)[1] for step in range(4)]
    assert (progress.step, progress.updates, progress.words) == (4, 4, sum(words))
    assert progress.loss_sum == pytest.approx(sum(w * result.loss for w, result in zip(words, results)))
    assert all(result.moved and not result.stop for result in results)
    assert results[-1].loss < results[0].loss


def test_training_continues_from_progress():
    data, options = make_data(), replace(OPTIONS, epochs=3, max_steps=5)
    progress = Progress(step=3, updates=3)
    steps, optimizer = run_steps(make_model(), data, options, progress=progress)
    rates = [optimizer.param_groups[0]["lr"] for _ in steps]
    assert rates == [optim.learning_rate(3, 5, 1e-3, 0), optim.learning_rate(4, 5, 1e-3, 0)]
    assert progress.step == 5


@pytest.mark.parametrize("place", ["classifier.bias", "roberta.embeddings.word_embeddings.weight"])
def test_a_loss_that_is_not_finite_stops_before_the_update(place):
    model = make_model()
    with torch.no_grad():
        model.get_parameter(place).fill_(float("nan"))
    data = make_data(6)._replace(source=[("de", 3), ("fr", 8), ("de", 17), ("de", 20), ("fr", 0), ("it", 5)])
    before = {name: p.clone() for name, p in model.named_parameters()}
    with pytest.raises(UserError, match=r"step 1: loss nan.*before the update.*: de 3, 17, 20; fr 0, 8; it 5\)"):
        list(run_steps(model, data, OPTIONS)[0])
    assert all(torch.equal(before[name], p) or name == place for name, p in model.named_parameters())


def test_a_gradient_that_is_not_finite_stops_before_the_update():
    model = make_model()
    model.classifier.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = {name: p.clone() for name, p in model.named_parameters()}
    with pytest.raises(UserError, match=r"gradient norm (nan|inf)"):
        list(run_steps(model, make_data(), OPTIONS)[0])
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())


def overflowing(scale: float) -> Accelerator:
    """An accelerator as with fp16, but on the CPU: gradients times `scale` go beyond fp32 instead of beyond fp16."""
    accelerator = Accelerator()
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
    return accelerator


def test_the_schedule_moves_only_when_the_optimizer_did():
    model, progress = make_model(), Progress()
    model.classifier.weight.register_hook(lambda gradient: gradient * 100)
    options = replace(OPTIONS, batch_size=7, warmup_ratio=0.5)  # 10 steps
    steps, optimizer = run_steps(model, make_data(), options, overflowing(2.0**127), progress)
    before, moved, rates = model.classifier.weight.detach().clone(), [], []
    for result in steps:
        moved.append(result.moved)
        rates.append(optimizer.param_groups[0]["lr"])
        assert torch.equal(model.classifier.weight, before) == (not result.moved or rates[-1] == 0)
        before = model.classifier.weight.detach().clone()
    skipped = moved.index(True)
    assert 0 < skipped < 9 and moved == [False] * skipped + [True] * (10 - skipped)
    updates = [0] * skipped + list(range(10 - skipped))
    assert rates == [optim.learning_rate(update, 10, 1e-3, 0.5) for update in updates]
    assert (progress.step, progress.updates) == (10, 10 - skipped)
    counts = {float(state["step"]) for state in optimizer.state.values()}
    assert counts == {10.0 - skipped}


def test_an_overflow_that_no_smaller_scale_can_fix_stops():
    model = make_model()
    model.classifier.weight.register_hook(lambda gradient: gradient * float("nan"))
    progress = Progress()
    with pytest.raises(UserError, match=r"step 4: .*gradient norm nan"):
        list(run_steps(model, make_data(), replace(OPTIONS, batch_size=7), overflowing(4.0), progress)[0])
    assert (progress.step, progress.updates) == (3, 0)


def test_a_process_asked_to_stop_reports_it_after_the_step():
    asked = iter([False, True, False])
    results = list(run_steps(make_model(), make_data(21), replace(OPTIONS, batch_size=7), asked=lambda: next(asked))[0])
    assert [result.stop for result in results] == [False, True, False]


def test_gradients_are_clipped_and_the_norm_is_the_one_before():
    model = make_model()
    model.classifier.weight.register_hook(lambda gradient: gradient * 1000)
    accelerator, data = Accelerator(), make_data()
    batches, words = loop.step_batches(data, PADDING, 0, OPTIONS, 0, 1)
    loop.accumulate(model, batches, words, accelerator)
    expected = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    model.zero_grad()
    result = loop.train_step(model, torch.optim.SGD(model.parameters(), 0.0), batches, words, 0.0, 0.5, accelerator)
    assert result.grad_norm == pytest.approx(float(expected), rel=1e-5) and result.grad_norm > 10


def test_selection():
    epochs = [{"epoch": i + 1, "mean_f1": mean, "validation": {"de": {"f1": de}}}
              for i, (mean, de) in enumerate([(0.5, 0.9), (0.7, 0.2), (0.7, 0.9), (0.6, 0.1)])]
    assert [selected(epochs, select)["epoch"] for select in ("last", "mean", "de")] == [4, 2, 1]
    assert [out_of_patience(epochs[:n], "mean", 2) for n in range(5)] == [False, False, False, False, True]
    assert not out_of_patience(epochs, "mean", None)
