"""The mean of the weights of several models, such as the seeds of a run: one model that costs and is used like one.

It is a good model only if the weights lie in one valley of the loss: fine-tuned from one encoder, best with one head to
begin with (Wortsman et al. 2022, arXiv:2203.05482; Schmidt, Vulić, Glavaš 2023, arXiv:2305.16834). So the mean is
scored beside its members.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from accelerate import Accelerator
from datasets import Dataset
from huggingface_hub import ModelCardData
from tabulate import tabulate
from torch import Tensor

from ner.evaluation.per_language import mean_f1
from ner.files import whole_folder
from ner.inference.trained import EXPORTED, Trained, kept_options, scored_rows
from ner.model import pretrained
from ner.options import UserError
from ner.training import averaging

MEAN = "mean of the weights"
Scores = list[dict[str, float]]  # F1 by language and as `mean`: of each member, then of their mean


def average(first: Trained, others: Iterable[Trained], rows: Mapping[str, Dataset],
            accelerator: Accelerator) -> tuple[Trained, Scores]:
    """The first model, its weights replaced by the mean of its own and the others', and the F1 of all members and of
    the mean on `rows`. others: one at a time is needed, so they can be loaded as they come.

    ``UserError`` for a member with other tags, another architecture or another vocabulary.
    """
    def scores(trained: Trained) -> dict[str, float]:
        _, scored = scored_rows(trained, rows, accelerator)
        found = {lang: one.metrics["f1"] for lang, one in scored.items()}
        return found | ({"mean": mean_f1(scored)} if scored else {})

    mean: dict[str, Tensor] = {}
    averaging.add_snapshot(mean, first.model, 0)
    found = [scores(first)]
    for taken, member in enumerate(others, 1):
        check_alike(first, member)
        averaging.add_snapshot(mean, member.model, taken)
        found.append(scores(member._replace(options=first.options)))
        del member  # before the next one is loaded
        accelerator.free_memory()  # which would keep it
    averaging.load(first.model, mean)
    return first, [*found, scores(first)]


def check_alike(first: Trained, other: Trained) -> None:
    """``UserError`` unless each number of one model means the same in the other."""
    def facts(trained: Trained) -> dict:
        model, tokenizer = trained.model, json.loads(trained.tokenizer.backend_tokenizer.to_str())
        shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        return {"tags": pretrained.tags_of(model.config), "layers": shapes, "subwords": tokenizer["model"]}

    theirs = facts(other)
    for what in (what for what, own in facts(first).items() if own != theirs[what]):
        raise UserError(f"{other.folder}: has other {what} than {first.folder}; expected models that were trained from "
                        "one encoder for the same tags")


def write(trained: Trained, names: Sequence[str], scores: Scores, split: str, folder: Path) -> None:
    """The mean as a new model folder, whole or not at all. names: of the members; of a path, the last part is kept.
    scores: what `average` found on the split."""
    state = {name: parameter.detach().cpu() for name, parameter in trained.model.named_parameters()}
    tags = pretrained.tags_of(trained.model.config)
    assert tags is not None, "checked by `load`"
    names = [Path(name).name for name in names]
    with whole_folder(folder) as new:
        pretrained.save_model(new, state, trained.model.config, trained.tokenizer, tags, card(names, scores, split))
        about = {"mean_of": names, "split": split, "f1": scores, "options": kept_options(trained)}
        (new / EXPORTED).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def card(names: Sequence[str], scores: Scores, split: str) -> str:
    """A model card: what the weights are, and the scores of the members beside their own."""
    about = ModelCardData(library_name="transformers", pipeline_tag="token-classification",
                          tags=["named-entity-recognition", "ner"]).to_yaml()
    found = f"\n\nF1 on the {split} sentences:\n\n{score_table(names, scores, 'pipe')}" if scores[0] else ""
    return (f"---\n{about}\n---\n\nThe mean of the weights of {len(names)} models for named-entity recognition that "
            f"were fine-tuned from one encoder.{found}\n")


def score_table(names: Sequence[str], scores: Scores, style: str = "plain") -> str:
    """F1 in points, one line per model and one column per language."""
    rows = [[name, *(f"{100 * f1:.2f}" for f1 in own.values())]
            for name, own in zip([*names, MEAN], scores, strict=True)]
    return tabulate(rows, ["model", *scores[0]], style, disable_numparse=True,
                    colalign=["left", *["right"] * len(scores[0])])
