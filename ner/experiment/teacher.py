"""Self-training: the sentences of a run that another model, the teacher, has tagged.

The teacher tags once. What it said is kept in the run's folder, so that a continued run does not depend on whether
another machine would tag every word alike.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from datasets import Dataset

from ner.data import corpora, sampling
from ner.data.corpora import Corpus
from ner.experiment.folder import PSEUDO, is_finished
from ner.inference import pseudo, trained
from ner.model import pretrained
from ner.options import Options, UserError, as_recipe, with_role
from ner.tags import TagSet
from ner.training import machine


class Taught(NamedTuple):
    """Training sentences of each of `pseudo_langs` with the teacher's tags. `about`: what pseudo.json says of them."""

    languages: dict[str, Dataset]
    about: dict
    is_saved: bool


def check(options: Options, tags: TagSet) -> None:
    """``UserError`` unless the teacher is a finished run or another model, and has the tags of the run."""
    name = str(options.teacher)
    try:
        trained.options_of(name)
        if (Path(name) / "config.yaml").is_file() and not is_finished(Path(name)):
            raise UserError(f"{name}: this run has not finished; finish it first with --resume")
        folder = trained.model_folder(name)
        found = trained.tags_in(folder, pretrained.load_config(folder))
    except UserError as error:
        raise UserError(f"teacher: {error}") from None
    check_tags(name, found, tags)


def check_tags(name: str, theirs: TagSet, ours: TagSet) -> None:
    if set(theirs.names) != set(ours.names):
        raise UserError(f"teacher: {name} has the tags {' '.join(theirs.names)}; "
                        f"expected those of the run, {' '.join(ours.names)}")


def check_same(folder: Path, results: dict, options: Options) -> None:
    """``UserError`` if the finished run in `folder` had another teacher, whatever its name."""
    before = (results["train"].get("pseudo") or {}).get("teacher_weights")
    if options.teacher is not None and trained.weights_checksum(options.teacher) != before:
        raise UserError(f"{folder}: is finished, but its teacher had other weights than {options.teacher}; "
                        f"remove it or name another output_dir")


def taught(options: Options, tags: TagSet, folder: Path, accelerator: Accelerator) -> Taught | None:
    """What the teacher makes of the training sentences of `pseudo_langs`, or has made of them if the run is continued;
    None without a teacher."""
    if options.teacher is None:
        return None
    check(options, tags)
    weights = trained.weights_checksum(options.teacher)
    made_from = json.loads(json.dumps({**with_role(as_recipe(options), "changes_result"), "tags": tags.names,
                                       "teacher_weights": weights}))
    (continued,) = broadcast_object_list([options.resume and (folder / PSEUDO).is_dir()])
    if continued and (about := pseudo.read_about(folder / PSEUDO)).get("made_from") == made_from:
        return Taught({lang: pseudo.read_pseudo(folder / PSEUDO, lang, tags) for lang in about["languages"]}, about,
                      is_saved=True)
    with accelerator.main_process_first():
        pool = {lang: sampling.subset(rows, lang, options.num_train_sentences)
                for lang, rows in corpora.unlabelled(options, options.pseudo_langs or (), tags).items()}
    languages = pseudo.pseudo_labelled(trained.load(options.teacher, accelerator), pool, tags,
                                       options.pseudo_confidence, options.pseudo_share, accelerator)
    accelerator.free_memory()
    machine.forget_peak_memory()  # the run reports its own
    found = pseudo.amounts(pool, languages, tags)
    accelerator.print(f"\ntagged by {options.teacher}\n{pseudo.amount_table(found)}\n")
    about = {"teacher": options.teacher, "teacher_weights": weights, "languages": found, "made_from": made_from}
    return Taught(languages, about, is_saved=False)


def save(found: Taught, folder: Path, tags: TagSet) -> None:
    """Keep it in the run's folder."""
    if not found.is_saved:
        pseudo.write_pseudo(folder / PSEUDO, found.languages, tags, found.about)


def summary(found: Taught) -> dict:
    """`train.pseudo` of results.json: the teacher, and the amounts of each language."""
    return {name: found.about[name] for name in ("teacher", "teacher_weights", "languages")}


def as_trained(corpus: Corpus, training: Dataset, pseudo_langs: list[str] | None) -> Corpus:
    """For the table of counts: `train` and `pseudo` are the sentences to train on with gold tags and the teacher's."""
    langs = np.array(training["lang"])
    parts = {str(lang): training.select(np.flatnonzero(langs == lang)) for lang in dict.fromkeys(langs)}
    gold = {lang: rows for lang, rows in parts.items() if lang not in (pseudo_langs or ())}
    tagged = {lang: rows for lang, rows in parts.items() if lang not in gold}
    return {"train": gold, **({"pseudo": tagged} if tagged else {}),
            **{split: langs for split, langs in corpus.items() if split != "train"}}
