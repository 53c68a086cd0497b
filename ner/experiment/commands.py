"""The command line of ``evaluate.py``, and the data that it names."""

from __future__ import annotations  # for types whose modules import torch

import argparse
import sys
from typing import TYPE_CHECKING

from ner.experiment.cli import HelpFormatter, Parser, command_line_values
from ner.options import CHOICES, DESCRIPTIONS, FIELDS, KINDS, Options, UserError, as_recipe, resolve, with_role

if TYPE_CHECKING:
    from ner.inference.trained import Trained

HOW_TO_READ = ("languages", "split_seed", "token_column", "tag_column", "tag_scheme", "fractions")  # data options


def parser(description: str) -> Parser:
    result = Parser(prog="evaluate.py", description=description, allow_abbrev=False)
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, more: str = "") -> Parser:
        return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.{more}",
                                   allow_abbrev=False, formatter_class=HelpFormatter)

    score = add("score", "score a model on one split of a data set, per language")
    add_model(score)
    add_data(score)
    add_map(score)
    score.add_argument("--decode", metavar="TEXT", choices=CHOICES["decode"],
                       help=f"{FIELDS['decode'].metadata['help']} [default: the run's]")
    score.add_argument("--output_dir", metavar="TEXT",
                       help="folder for results.json and predictions [default: runs/NAME-SPLIT, then -2, ...]")
    tag = add("tag", "tag text", "\nPrints a word and its tag per line; on a terminal, the text with its entities in "
              "colour unless NO_COLOR is set.")
    add_model(tag)
    texts = tag.add_argument("text", metavar="[TEXT ...]", nargs="+", default=[],
                             help="texts to tag, or - to read lines from standard input; none with --input")
    texts.required = False  # with --input there are none; * would end at the first option
    tag.add_argument("--input", metavar="GLOB ...", nargs="+",
                     help="files to tag: .txt (a line is a text), .jsonl, both also .gz and .zst, .parquet")
    tag.add_argument("--output", metavar="TEXT", help="folder for one file per shard; repeat the command to continue")
    tag.add_argument("--column", metavar="TEXT",
                     help="column of --input with texts or lists of words [default: text, tokens or words]")
    tag.add_argument("--format", metavar="TEXT", choices=["jsonl", "parquet"],
                     help="jsonl or parquet, for --output [default: parquet for .parquet, else jsonl]")
    tag.add_argument("--strict", action="store_true", help="stop at the first row of --input that cannot be tagged")
    tag.add_argument("--pretokenized", action="store_true",
                     help='keep the words of the text: separated by white space, or JSON like {"tokens": ["Anna"]}')
    tag.add_argument("--threshold", type=float, metavar="X", default=0,
                     help="leave out entities with a score below this, from 0 to 1 [default: 0]")
    form = tag.add_mutually_exclusive_group()
    form.add_argument("--jsonl", action="store_true",
                      help="one JSON line per text: entities with character offsets and scores")
    form.add_argument("--subwords", action="store_true", help="table of subwords with id, word number and tag")
    form.add_argument("--html", metavar="FILE",
                      help="write a page to read or to send: the texts with their entities, types and scores")
    pseudo = add("pseudo", "tag sentences for another model to train on", "\nTheir own tags are not used. "
                 "train.py does the same within a run: --teacher, --pseudo_langs.")
    add_model(pseudo)
    add_data(pseudo, "train", "tag")
    for name, default in (("confidence", 0.0), ("share", 1.0)):
        pseudo.add_argument(f"--{name}", type=float, metavar="X", default=default,
                            help=f"{FIELDS[f'pseudo_{name}'].metadata['help']} [default: {default}]")
    pseudo.add_argument("--output", metavar="TEXT", required=True,
                        help="new folder for <lang>/train.jsonl, which train.py --data_dir reads")
    export = add("export", "make a trained model small: keep only the subwords that your text can need")
    add_model(export, precision="no")
    add_data(export, "test", "keep the words of, and to score")
    export.add_argument("--text", metavar="GLOB ...", nargs="+",
                        help="files with text like what you will tag, as for tag --input [default: all sentences of "
                             "the run's data, or of --langs]")
    export.add_argument("--dtype", metavar="TEXT", choices=["float32", "float16"], default="float32",
                        help="float32 or float16, of the weights on disk [default: float32]")
    export.add_argument("--onnx", action="store_true", help="write model.onnx, too, for programs without PyTorch")
    export.add_argument("--int8", action="store_true",
                        help="write model.onnx and model.int8.onnx, with weights of 8 bits")
    export.add_argument("--output", metavar="TEXT", required=True, help="new folder for the model and export.json")
    average = add("average", "make one model of several: the mean of their weights", "\nFor runs that differ in their "
                  "seed; each is scored beside the mean.")
    add_model(average, several=True)
    add_data(average, "validation")
    average.add_argument("--output", metavar="TEXT", required=True, help="new folder for the model and export.json")
    errors = add("errors", "show where a model is wrong: tables, plots, an HTML page")
    add_model(errors)
    add_data(errors, split="validation")
    add_map(errors)
    errors.add_argument("--contains", metavar="TEXT",
                        help="list only sentences that contain this text, for example '('")
    errors.add_argument("--sentences", type=int, metavar="N", default=100,
                        help="sentences to show on the page, per language [default: 100]")
    errors.add_argument("--output_dir", metavar="TEXT",
                        help="folder for the files [default: runs/NAME-errors, then -2, ...]")
    suspects = add("suspects", "find suspicious annotations in the training data",
                   "\nTwo runs, each trained on one half of the sentences, check the other half.\n"
                   "Also takes --config and train.py's options for data, model and optimisation.")
    suspects.add_argument("--output", metavar="TEXT",
                          help="TSV file for train.py --exclude [default: runs/NAME-suspects/suspects.tsv]")
    suspects.add_argument("--share", type=float, metavar="X", default=0.02,
                          help="largest share of the training sentences to list [default: 0.02]")
    report = add("report", "write tables and plots for all runs in a folder")
    report.add_argument("folder", metavar="FOLDER",
                        help="a study, any folder of runs, or one run; REPORT.md is written there")
    compare = add("compare", "test whether two runs differ on the same sentences")
    for name in "ab":
        compare.add_argument(name, metavar=name.upper(), help="folder of a run, or of several seeds of one")
    return result


def add_model(command: argparse.ArgumentParser, several: bool = False, precision: str = "the run's") -> None:
    if several:
        command.add_argument("model", metavar="RUN_OR_MODEL ...", nargs="+",
                             help="folders of runs, model folders or Hub names")
    else:
        command.add_argument("model", metavar="RUN_OR_MODEL", help="folder of a run, model folder or Hub name")
    command.add_argument("--model_revision", metavar="TEXT",
                         help="commit, tag or branch of the model on the Hub [default: none]")
    command.add_argument("--device", metavar="TEXT", default="auto", choices=CHOICES["device"],
                         help=f"{FIELDS['device'].metadata['help']} [default: auto]")
    command.add_argument("--mixed_precision", metavar="TEXT", choices=CHOICES["mixed_precision"],
                         help=f"{FIELDS['mixed_precision'].metadata['help']} [default: {precision}]")


def add_data(command: argparse.ArgumentParser, split: str = "test", what: str = "score") -> None:
    """Options for the data; the defaults are those of the run."""
    command.add_argument("--data_dir", metavar="TEXT",
                         help="folder with <lang>/{train,dev,test} files [default: the run's]")
    command.add_argument("--dataset", metavar="TEXT",
                         help="swiss, panx, or a data set's Hub name or folder [default: the run's]")
    command.add_argument("--revision", metavar="TEXT",
                         help="commit, tag or branch of the data set on the Hub [default: the run's]")
    for name in HOW_TO_READ:
        text = FIELDS[name].metadata["help"].partition(" [default")[0]
        command.add_argument(f"--{name}", metavar=DESCRIPTIONS[KINDS[name]][1], nargs="+",
                             help=f"{text} [default: the run's]")
    command.add_argument("--langs", metavar="TEXT ...", nargs="+", required=what == "tag",
                         help=f"languages to {what}" + (" [default: eval_langs]" if what != "tag" else ""))
    command.add_argument("--split", metavar="TEXT", default=split, choices=["train", "validation", "test"],
                         help=f"train, validation or test [default: {split}]")


def add_map(command: argparse.ArgumentParser) -> None:
    command.add_argument("--map", metavar="TYPE=TYPE ...", nargs="+", default=[],
                         help="types of the data and the model's names for them, or O for no entity, for example "
                              "MISC=O PERSON=PER [default: none]")


def with_data(trained: Trained, args: argparse.Namespace) -> tuple[Trained, list[str]]:
    """The trained model with the command line's data options instead of the run's, and the languages to score."""
    recipe = as_recipe(trained.options)
    if args.data_dir is not None or args.dataset is not None:
        recipe |= {"data_dir": args.data_dir, "revision": None, "languages": {}, "split_seed": None}
    if args.dataset is not None:  # another corpus, so the run's fractions, columns and names do not apply
        recipe |= with_role(as_recipe(Options()), "of_data") | {"dataset": args.dataset, "data_dir": args.data_dir}
    if args.revision is not None:
        recipe["revision"] = args.revision
    recipe |= command_line_values({name: words for name in HOW_TO_READ if (words := getattr(args, name)) is not None})
    options, langs = resolve(recipe), args.langs or list(trained.options.eval_langs)
    if args.data_dir is not None and args.fractions is None:  # perhaps the same corpus, perhaps another
        for lang in options.fractions.keys() & langs:
            print(f"{lang}: {options.fractions[lang]:g} of each split, as in the run; --fractions {{}} takes all",
                  file=sys.stderr)
    return trained._replace(options=options), langs


def check_data(args: argparse.Namespace, *others: str) -> None:
    """``UserError`` where no sentences are known: a model that is not a run, and no option that names data. `others`:
    options that would do as well."""
    from ner.inference.trained import has_data, model_folder

    if not has_data(args.model, args.data_dir, args.dataset):
        if args.model.startswith((".", "/", "~")):
            model_folder(args.model)  # refuses what is no model at all
        expected = [*others, "--data_dir", "--dataset"]
        raise UserError(f"{args.model}: is not a run that knows its data; expected "
                        f"{', '.join(expected[:-1])} or {expected[-1]}")
