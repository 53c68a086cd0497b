"""Score, tag with, and look into trained models: evaluate.py COMMAND --help says more of each command."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from ner.options import (
    Options, Parser, UserError, as_recipe, read_arguments, refuse_control_characters, resolve)
from ner.training.signals import Stopped


def parser() -> Parser:
    result = Parser(prog="evaluate.py", description=__doc__, allow_abbrev=False)
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")
    score = commands.add_parser("score", allow_abbrev=False,
                                help="score a model on a split of a data set, per language")
    add_model(score)
    add_data(score)
    score.add_argument("--output_dir", help="folder for results.json and predictions [runs/NAME-SPLIT, then -2, ...]")
    tag = commands.add_parser("tag", allow_abbrev=False, help="tag text")
    add_model(tag)
    tag.add_argument("text", nargs="+", help="texts, or - for lines on standard input")
    form = tag.add_mutually_exclusive_group()
    form.add_argument("--jsonl", action="store_true",
                      help="a JSON line a text: entities with character offsets and scores")
    form.add_argument("--subwords", action="store_true", help="a table of subword, id, word number and tag")
    errors = commands.add_parser("errors", allow_abbrev=False,
                                 help="where a model is wrong: tables, pictures, an HTML page")
    add_model(errors)
    add_data(errors, split="validation")
    errors.add_argument("--contains", metavar="TEXT", help="list only sentences with this text, as '('")
    errors.add_argument("--sentences", type=int, default=100, help="on the page, a language [100]")
    errors.add_argument("--output_dir", help="folder for the files [runs/NAME-errors, then -2, ...]")
    suspects = commands.add_parser("suspects", allow_abbrev=False,
                                   help="find suspicious annotations in the training data",
                                   description="Two runs, each trained on one half of the training data, check the "
                                               "other's half.",
                                   epilog="Options of train.py on data, model and optimisation can be given, too.")
    suspects.add_argument("--output", metavar="FILE",
                          help="TSV, as train.py --exclude reads it [runs/NAME-suspects/suspects.tsv]")
    suspects.add_argument("--share", type=float, default=0.02, help="list so much of the training data at most [0.02]")
    report = commands.add_parser("report", allow_abbrev=False, help="tables and figures over all runs in a folder")
    report.add_argument("folder", metavar="FOLDER",
                        help="a study, any folder of runs, or one run; REPORT.md is written into it")
    compare = commands.add_parser("compare", allow_abbrev=False,
                                  help="test two runs on the same sentences for a difference")
    for name in "ab":
        compare.add_argument(name, metavar=name.upper(), help="folder of a run, with predictions/")
    return result


def add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="RUN_OR_MODEL", help="folder of a run, model folder or Hub name")
    command.add_argument("--model_revision", help="commit, tag or branch of a model on the Hub")


def add_data(command: argparse.ArgumentParser, split: str = "test") -> None:
    """What is not given comes from the run."""
    command.add_argument("--data_dir", help="folder with <lang>/{train,dev,test} files")
    command.add_argument("--dataset", help="swiss, panx, or a data set's Hub name or folder")
    command.add_argument("--revision", help="commit, tag or branch of the data set on the Hub")
    command.add_argument("--langs", nargs="+", help="languages to score [those of the run]")
    command.add_argument("--split", default=split, choices=["train", "validation", "test"], help=f"[{split}]")


def with_data(trained, args):
    """The trained model with the data options of the command line in place of the run's; the languages to score."""
    recipe = as_recipe(trained.options)
    if args.data_dir is not None or args.dataset is not None:
        recipe |= {"data_dir": args.data_dir, "revision": None}
    if args.dataset is not None:  # another corpus, of which the run's shares say nothing
        recipe |= {"dataset": args.dataset, "fractions": {}}
    if args.revision is not None:
        recipe["revision"] = args.revision
    options, langs = resolve(recipe), args.langs or trained.options.eval_langs
    if args.data_dir is not None:  # the same corpus elsewhere, or another one
        for lang in options.fractions.keys() & langs:
            print(f"{lang}: {options.fractions[lang]:g} of each split, as in the run", file=sys.stderr)
    return trained._replace(options=options), langs


def scored_split(args, suffix: str):
    """What score and errors begin with: a folder to write to (NAME-suffix unless given), the model's split scored."""
    from ner import files, inference
    from ner.training import machine

    accelerator = machine.accelerator(inference.options_of(args.model).mixed_precision)
    name = Path(args.model).name
    folder = Path(args.output_dir) if args.output_dir else files.new_folder(f"{name}-{suffix}")
    files.check_folder(folder, Options())
    trained, langs = with_data(inference.load(args.model, accelerator, args.model_revision), args)
    encoded, scored = inference.score(trained, langs, args.split, accelerator)
    return accelerator, name, folder, trained, encoded, scored


def run_score(args) -> None:
    from ner import files
    from ner.evaluation import evaluate
    from ner.run import figures
    from ner.training import machine

    accelerator, name, folder, trained, encoded, scored = scored_split(args, args.split)
    if accelerator.is_main_process:
        print(f"{args.split}\n{evaluate.table(scored)}")
        evaluate.write_predictions(folder / "predictions", args.split, encoded, scored, trained.tags)
        results = {"name": name, "options": as_recipe(trained.options), "versions": machine.versions(),
                   "eval": {args.split: figures(scored)}}
        files.write_whole(folder / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
        print(f"\n{folder}: results.json, predictions/")
    accelerator.end_training()


def run_tag(args) -> None:
    from ner import inference
    from ner.training import machine

    accelerator = machine.accelerator(inference.options_of(args.model).mixed_precision)
    trained = inference.load(args.model, accelerator, args.model_revision)
    texts = inference.lines(sys.stdin) if args.text == ["-"] else args.text
    for number, part in enumerate(inference.batches(texts)):
        for place, tagged in enumerate(inference.tag(trained, part, accelerator)):
            if args.jsonl:
                shown = inference.as_json(tagged)
            else:
                shown = inference.as_subwords(tagged, trained) if args.subwords else inference.as_columns(tagged)
                shown = ("\n" if number or place else "") + shown
            if accelerator.is_main_process:
                sys.stdout.write(shown)
        sys.stdout.flush()


def run_errors(args) -> None:
    from ner.evaluation import errors

    if args.sentences < 0:
        raise UserError(f"--sentences: expected at least 0, found {args.sentences}")
    accelerator, name, folder, trained, encoded, scored = scored_split(args, "errors")
    if accelerator.is_main_process:
        analyses = {lang: errors.analyse(encoded[lang], scored[lang].predictions, trained.tags, trained.tokenizer)
                    for lang in encoded}
        errors.write(folder, f"Errors of {name}, {args.split}", args.split, analyses, trained.tags, args.contains,
                     args.sentences)
        for lang, one in analyses.items():
            print(f"{lang}\n{errors.columns(errors.KINDS_HEADER, one.kinds)}\n")
        print(f"{folder}: errors.html, tables (.tsv), confusion matrices (.png), TensorBoard events")
    accelerator.end_training()


def run_suspects(args) -> None:
    from ner import files

    recipe, config = read_arguments("", args.rest)
    if files.is_study(recipe):
        raise UserError(f"{config or 'seeds'}: several runs; expected the options of one")
    without_effect = {"output_dir", "resume", "eval_langs", "validation_langs", "select", "patience",
                      "checkpoint_every", "push_to_hub", "public"}
    if given := without_effect & {word[2:].split("=")[0] for word in args.rest if word.startswith("--")}:
        raise UserError(f"--{min(given)}: means nothing to suspects, which keeps nothing but its --output")
    options = resolve(recipe, config)
    if not 0 < args.share <= 1:
        raise UserError(f"--share: expected a number above 0 and up to 1, found {args.share}")
    from ner import suspects
    from ner.training import machine

    name = Path(config).stem if config else "run"
    path = Path(args.output) if args.output else files.new_folder(f"{name}-suspects") / "suspects.tsv"
    if path.is_file() or path.is_dir():
        raise UserError(f"{path}: is there already, perhaps with marks of yours; name another --output")
    above = next(folder for folder in path.absolute().parents if folder.exists())  # better now than after two trainings
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise UserError(f"{path}: {above} is no folder that can be written to; name another --output")
    accelerator = machine.accelerator(options.mixed_precision)
    found, sentences = suspects.find(options, accelerator)
    if accelerator.is_main_process:
        worst = found[: int(args.share * sentences)]
        suspects.write(path, worst)
        print(f"{path}: the {len(worst)} most doubtful of {sentences} training sentences ({len(found)} are tagged "
              f"otherwise); look through them, then train with --exclude {path}")
    accelerator.end_training()


def run_report(args) -> None:
    from ner import study
    from ner.evaluation import report

    folder = Path(args.folder)
    for path in report.write(folder, study.planned_in(folder)):
        print(path)


def run_compare(args) -> None:
    from ner.evaluation import compare

    print(f"A: {args.a}\nB: {args.b}\nF1 and differences in points\n")
    print(compare.table(compare.compare(Path(args.a), Path(args.b))))


COMMANDS = {"score": run_score, "tag": run_tag, "errors": run_errors, "suspects": run_suspects, "report": run_report,
            "compare": run_compare}


def main(argv: list[str]) -> int:
    """Exit status: 0, 2 for a mistake of the user's, 130 for Ctrl-C."""
    try:
        args, args.rest = parser().parse_known_args(argv)
        refuse_control_characters([word for word in argv if word not in getattr(args, "text", [])])
        if args.rest and args.command != "suspects":  # which hands them to the parser of train.py
            parser().error(f"unrecognized arguments: {' '.join(args.rest)}")
        COMMANDS[args.command](args)
    except BrokenPipeError:  # whoever reads the output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, OSError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    except Stopped as stop:
        print(f"evaluate.py: {stop}", file=sys.stderr)
        return stop.status
    except KeyboardInterrupt:
        print("evaluate.py: stopped at once", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # a log file shows an epoch when it ends, not when the run does
    sys.exit(main(sys.argv[1:]))
