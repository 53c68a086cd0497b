"""Score, tag with, and look into trained models: evaluate.py COMMAND --help says more of each command."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from ner.options import Parser, UserError


def parser() -> Parser:
    result = Parser(prog="evaluate.py", description=__doc__, allow_abbrev=False)
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")
    score = commands.add_parser("score", allow_abbrev=False, help="score a model on a split of a data set, per language")
    add_model(score)
    add_data(score)
    score.add_argument("--output_dir", help="folder for results.json and predictions [runs/NAME-SPLIT, then -2, ...]")
    tag = commands.add_parser("tag", allow_abbrev=False, help="tag text")
    add_model(tag)
    tag.add_argument("text", nargs="+", help="texts, or - for lines on standard input")
    form = tag.add_mutually_exclusive_group()
    form.add_argument("--jsonl", action="store_true", help="a JSON line a text: entities with character offsets and scores")
    form.add_argument("--subwords", action="store_true", help="a table of subword, id, word number and tag")
    return result


def add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="RUN_OR_MODEL", help="folder of a run, model folder or Hub name")


def add_data(command: argparse.ArgumentParser) -> None:
    """What is not given comes from the run."""
    command.add_argument("--data_dir", help="folder with <lang>/{train,dev,test} files")
    command.add_argument("--dataset", help="swiss, panx, or a data set's Hub name or folder")
    command.add_argument("--langs", nargs="+", help="languages to score [those of the run]")
    command.add_argument("--split", default="test", choices=["train", "validation", "test"], help="[test]")


def with_data(trained, args):
    """The trained model with the data options of the command line in place of the run's."""
    options = trained.options
    if args.data_dir or args.dataset:
        options = replace(options, data_dir=args.data_dir, dataset=args.dataset or options.dataset)
    return trained._replace(options=options), args.langs or options.eval_langs


def run_score(args) -> None:
    from accelerate import Accelerator

    from ner import experiment, inference
    from ner.evaluation import evaluate

    accelerator = Accelerator()
    name = Path(args.model).name
    folder = Path(args.output_dir) if args.output_dir else experiment.new_folder(f"{name}-{args.split}")
    if (folder / "results.json").exists():
        raise UserError(f"{folder}: holds results already; name another output_dir")
    trained, langs = with_data(inference.load(args.model, accelerator), args)
    encoded, scored = inference.score(trained, langs, args.split, accelerator)
    if accelerator.is_main_process:
        print(f"{args.split}\n{evaluate.table(scored)}")
        evaluate.write_predictions(folder / "predictions", args.split, encoded, scored, trained.tags)
        results = {"name": name, "options": experiment.as_recipe(trained.options), "versions": experiment.versions(),
                   "eval": {args.split: experiment.figures(scored)}}
        experiment.write_whole(folder / "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
        print(f"\n{folder}: results.json, predictions/")
    accelerator.end_training()


def run_tag(args) -> None:
    from accelerate import Accelerator

    from ner import inference

    accelerator = Accelerator()
    trained = inference.load(args.model, accelerator)
    for number, part in enumerate(inference.batches(sys.stdin if args.text == ["-"] else args.text)):
        for place, tagged in enumerate(inference.tag(trained, part, accelerator)):
            if args.jsonl:
                shown = inference.as_json(tagged)
            else:
                shown = inference.as_subwords(tagged, trained) if args.subwords else inference.as_columns(tagged)
                shown = ("\n" if number or place else "") + shown
            sys.stdout.write(shown)
        sys.stdout.flush()


COMMANDS = {"score": run_score, "tag": run_tag}


def main(argv: list[str]) -> int:
    """Exit status: 0, or 2 for a mistake of the user's."""
    try:
        args = parser().parse_args(argv)
        COMMANDS[args.command](args)
    except UserError as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
