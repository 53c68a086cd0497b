"""Score trained models, tag text with them, and analyse them. See evaluate.py COMMAND --help for each command."""

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from ner.experiment.cli import HelpFormatter, Parser, command_line_values, read_arguments, refuse_control_characters
from ner.options import CHOICES, DESCRIPTIONS, FIELDS, KINDS, Options, UserError, as_recipe, resolve, with_role
from ner.recipe import is_study
from ner.training.signals import Stopped

HOW_TO_READ = ("languages", "split_seed", "token_column", "tag_column", "tag_scheme")  # options of the data


def parser() -> Parser:
    result = Parser(prog="evaluate.py", description=__doc__, allow_abbrev=False)
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, more: str = "") -> Parser:
        description = f"{text[0].upper()}{text[1:]}.{more}"
        return commands.add_parser(name, help=text, description=description, allow_abbrev=False,
                                   formatter_class=HelpFormatter)

    score = add("score", "score a model on one split of a data set, per language")
    add_model(score)
    add_data(score)
    score.add_argument("--map", metavar="TYPE=TYPE ...", nargs="+", default=[],
                       help="types of the data and the model's names for them, or O for no entity, as MISC=O "
                            "PERSON=PER [default: none]")
    score.add_argument("--decode", metavar="TEXT", choices=CHOICES["decode"],
                       help=f"{FIELDS['decode'].metadata['help']} [default: the run's]")
    score.add_argument("--output_dir", metavar="TEXT",
                       help="folder for results.json and predictions [default: runs/NAME-SPLIT, then -2, ...]")
    tag = add("tag", "tag text", "\nPrints a word and its tag per line; on a terminal, the text with its entities in "
              "colour unless NO_COLOR is set.")
    add_model(tag)
    texts = tag.add_argument("text", metavar="TEXT ...", nargs="+", default=[],
                             help="texts to tag, or - to read lines from standard input")
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
    pseudo = add("pseudo", "tag sentences for another model to train on", "\nTheir own tags are not used. "
                 "train.py does the same within a run: --teacher, --pseudo_langs.")
    add_model(pseudo)
    add_data(pseudo, "train", "tag")
    for name, default in (("confidence", 0.0), ("share", 1.0)):
        pseudo.add_argument(f"--{name}", type=float, metavar="X", default=default,
                            help=f"{FIELDS[f'pseudo_{name}'].metadata['help']} [default: {default}]")
    pseudo.add_argument("--output", metavar="TEXT", required=True,
                        help="new folder for <lang>/train.jsonl, which train.py --data_dir reads")
    errors = add("errors", "show where a model is wrong: tables, plots, an HTML page")
    add_model(errors)
    add_data(errors, split="validation")
    errors.add_argument("--contains", metavar="TEXT",
                        help="list only sentences that contain this text, for example '('")
    errors.add_argument("--sentences", type=int, metavar="N", default=100,
                        help="sentences to show on the page, per language [default: 100]")
    errors.add_argument("--output_dir", metavar="TEXT",
                        help="folder for the files [default: runs/NAME-errors, then -2, ...]")
    suspects = add("suspects", "find suspicious annotations in the training data",
                   "\nTwo runs, each trained on one half of the sentences, check the other half.\n"
                   "Also takes train.py's options for data, model and optimisation.")
    suspects.add_argument("--output", metavar="TEXT",
                          help="TSV file for train.py --exclude [default: runs/NAME-suspects/suspects.tsv]")
    suspects.add_argument("--share", type=float, metavar="X", default=0.02,
                          help="largest share of the training sentences to list [default: 0.02]")
    report = add("report", "write tables and plots for all runs in a folder")
    report.add_argument("folder", metavar="FOLDER",
                        help="a study, any folder of runs, or one run; REPORT.md is written there")
    compare = add("compare", "test whether two runs differ on the same sentences")
    for name in "ab":
        compare.add_argument(name, metavar=name.upper(), help="folder of a run that has predictions/")
    return result


def add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="RUN_OR_MODEL", help="folder of a run, model folder or Hub name")
    command.add_argument("--model_revision", metavar="TEXT",
                         help="commit, tag or branch of the model on the Hub [default: none]")
    command.add_argument("--device", metavar="TEXT", default="auto", choices=CHOICES["device"],
                         help=f"{FIELDS['device'].metadata['help']} [default: auto]")


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
                         help=f"languages to {what}" + (" [default: eval_langs]" if what == "score" else ""))
    command.add_argument("--split", metavar="TEXT", default=split, choices=["train", "validation", "test"],
                         help=f"train, validation or test [default: {split}]")


def with_data(trained, args):
    """The trained model with the command line's data options instead of the run's, and the languages to score."""
    recipe = as_recipe(trained.options)
    if args.data_dir is not None or args.dataset is not None:
        recipe |= {"data_dir": args.data_dir, "revision": None, "languages": {}, "split_seed": None}
    if args.dataset is not None:  # another corpus, so the run's fractions, columns and names do not apply
        recipe |= with_role(as_recipe(Options()), "of_data") | {"dataset": args.dataset, "data_dir": args.data_dir}
    if args.revision is not None:
        recipe["revision"] = args.revision
    recipe |= command_line_values({name: words for name in HOW_TO_READ if (words := getattr(args, name)) is not None})
    options, langs = resolve(recipe), args.langs or trained.options.eval_langs
    if args.data_dir is not None:  # perhaps the same corpus, perhaps another
        for lang in options.fractions.keys() & langs:
            print(f"{lang}: {options.fractions[lang]:g} of each split, as in the run", file=sys.stderr)
    return trained._replace(options=options), langs


def scored_split(args, suffix: str, types: dict[str, str] | None = None, decode: str | None = None):
    """What score and errors have in common: choose a folder (default: NAME-suffix), load the model, score the split."""
    from ner.experiment.folder import check_folder, new_folder
    from ner.inference.trained import load, options_of, score
    from ner.training import machine

    accelerator = machine.accelerator(replace(options_of(args.model), device=args.device))
    name = Path(args.model).name
    folder = Path(args.output_dir) if args.output_dir else new_folder(f"{name}-{suffix}")
    check_folder(folder, Options())
    trained, langs = with_data(load(args.model, accelerator, args.model_revision), args)
    trained = trained._replace(options=replace(trained.options, decode=decode or trained.options.decode))
    languages, scored = score(trained, langs, args.split, accelerator, types)
    return accelerator, name, folder, trained, languages, scored


def run_score(args) -> None:
    from ner.evaluation import predictions
    from ner.evaluation.per_language import f1_table, mean_f1, metrics_of
    from ner.experiment.folder import write_results
    from ner.inference.trained import type_map
    from ner.training import machine

    types = type_map(args.map)
    accelerator, name, folder, trained, languages, scored = scored_split(args, args.split, types, args.decode)
    if accelerator.is_main_process:
        head = f"{args.split}, mapped: {' '.join(args.map)}" if types else args.split
        print(f"{head}\n{f1_table(scored)}")
        for lang, item in scored.items():
            tagged = predictions.sentences(languages[lang], item.predictions, trained.tags)
            predictions.write_predictions(folder / "predictions" / f"{args.split}.{lang}.tsv", tagged)
        write_results(folder, {"name": name, "options": as_recipe(trained.options), "versions": machine.versions(),
                               "machine": machine.setting(accelerator), **({"mapped": types} if types else {}),
                               "eval": {args.split: {**metrics_of(scored), "mean_f1": mean_f1(scored)}}})
        print(f"\n{folder}: results.json, predictions/")
    accelerator.end_training()


def run_tag(args) -> None:
    if not 0 <= args.threshold <= 1:
        raise UserError(f"--threshold: expected a number from 0 to 1, found {args.threshold:g}")
    corpus_only = {"--output": args.output, "--column": args.column, "--format": args.format, "--strict": args.strict}
    if args.input is not None:
        return tag_files(args)
    if given := [name for name, value in corpus_only.items() if value]:
        raise UserError(f"{given[0]}: expected --input with it")
    if not args.text:
        raise UserError("the following arguments are required: TEXT ... or --input; see --help")
    from ner.inference import tag, terminal
    from ner.inference.trained import load, options_of
    from ner.training import machine

    accelerator = machine.accelerator(replace(options_of(args.model), device=args.device))
    trained = load(args.model, accelerator, args.model_revision)
    lines, source = (tag.lines(sys.stdin), "standard input:") if args.text == ["-"] else (args.text, "text ")
    texts = tag.read_texts(lines, source, args.pretokenized)
    colour = terminal.takes_colour(sys.stdout) and not args.subwords
    for number, part in enumerate(tag.batches(texts)):
        for place, tagged in enumerate(tag.tag(trained, part, accelerator)):
            tagged = tag.without_doubtful(tagged, args.threshold)
            if args.jsonl:
                shown = tag.as_json(tagged)
            elif colour:
                shown = terminal.coloured(tagged, trained.tags.types)
            else:
                shown = tag.as_subwords(tagged, trained) if args.subwords else tag.as_columns(tagged)
                shown = ("\n" if number or place else "") + shown
            if accelerator.is_main_process:
                sys.stdout.write(shown)
        sys.stdout.flush()
    accelerator.end_training()


def tag_files(args) -> None:
    """From files to files, in this process's share of the shards."""
    if args.text or args.jsonl or args.subwords:
        raise UserError("--input: expected neither TEXT nor --jsonl nor --subwords with it")
    if args.output is None:
        raise UserError("--input: expected --output, a folder, with it")
    from ner.data.shards import find_shards
    from ner.inference import corpus
    from ner.inference.tagger import Tagger
    from ner.training import machine

    shards = find_shards(args.input)
    rank, processes = machine.apart()
    tagger = Tagger(args.model, pretokenized=args.pretokenized, threshold=args.threshold, device=args.device,
                    model_revision=args.model_revision)
    folder = Path(args.output)
    if corpus.tag_corpus(tagger, shards, folder, args.column, args.format, args.strict, rank, processes):
        print(f"{folder}: {len(shards)} shards, {corpus.SUMMARY}")
    else:
        print(f"{folder}: the shards of process {rank} of {processes} are finished; the others are not")


def run_pseudo(args) -> None:
    if not 0 <= args.confidence < 1:
        raise UserError(f"--confidence: expected at least 0 and below 1, found {args.confidence:g}")
    if not 0 < args.share <= 1:
        raise UserError(f"--share: expected a number above 0 and up to 1, found {args.share:g}")
    from ner.data import corpora
    from ner.experiment.folder import check_output
    from ner.inference import pseudo
    from ner.inference.trained import load, options_of
    from ner.training import machine

    check_output(folder := Path(args.output))
    accelerator = machine.accelerator(replace(options_of(args.model), device=args.device))
    teacher, langs = with_data(load(args.model, accelerator, args.model_revision), args)
    with accelerator.main_process_first():
        pool = corpora.unlabelled(teacher.options, langs, teacher.tags, args.split, alone=len(langs) == 1)
    languages = pseudo.pseudo_labelled(teacher, pool, teacher.tags, args.confidence, args.share, accelerator)
    if accelerator.is_main_process:
        found = pseudo.amounts(pool, languages, teacher.tags)
        pseudo.write_pseudo(folder, languages, teacher.tags, {"teacher": args.model, "languages": found})
        print(f"\n{pseudo.amount_table(found)}\n\n{folder}: {', '.join(f'{lang}/train.jsonl' for lang in found)}")
    accelerator.end_training()


def run_errors(args) -> None:
    from ner.analysis import errors

    if args.sentences < 0:
        raise UserError(f"--sentences: expected at least 0, found {args.sentences}")
    accelerator, name, folder, trained, languages, scored = scored_split(args, "errors")
    if accelerator.is_main_process:
        analyses = {lang: errors.analyse(languages[lang], scored[lang].predictions, trained.tags, trained.tokenizer)
                    for lang in languages}
        errors.write_errors(folder, f"Errors of {name}, {args.split}", args.split, analyses, trained.tags,
                            args.contains, args.sentences)
        for lang, one in analyses.items():
            print(f"{lang}\n{errors.columns(errors.KINDS_HEADER, one.kinds)}\n")
        print(f"{folder}: errors.html, tables (.tsv), confusion matrices (.png), TensorBoard events")
    accelerator.end_training()


def run_suspects(args) -> None:
    from ner.experiment.folder import check_output, new_folder

    recipe, config = read_arguments("", args.rest)
    if is_study(recipe):
        raise UserError(f"{config or 'seeds'}: found several runs; expected the options of one")
    from ner.analysis import suspects

    suspects.check_arguments(args.rest)
    options = resolve(recipe, config)
    if not 0 < args.share <= 1:
        raise UserError(f"--share: expected a number above 0 and up to 1, found {args.share}")
    name = Path(config).stem if config else "run"
    path = Path(args.output) if args.output else new_folder(f"{name}-suspects") / "suspects.tsv"
    check_output(path)
    from ner.training import machine

    accelerator = machine.accelerator(options)
    found, sentences = suspects.find(options, accelerator)
    if accelerator.is_main_process:
        worst = found[: int(args.share * sentences)]
        suspects.write_suspects(path, worst)
        print(f"{path}: the {len(worst)} most doubtful of {sentences} training sentences ({len(found)} are tagged "
              f"differently); check them, then train with --exclude {path}")
    accelerator.end_training()


def run_report(args) -> None:
    from ner.analysis import report
    from ner.experiment.plan import planned_in

    folder = Path(args.folder)
    for path in report.write_report(folder, planned_in(folder)):
        print(path)


def run_compare(args) -> None:
    from ner.analysis import compare

    print(f"A: {args.a}\nB: {args.b}\nF1 and differences in points\n")
    print(compare.comparison_table(compare.compare(Path(args.a), Path(args.b))))


COMMANDS = {"score": run_score, "tag": run_tag, "pseudo": run_pseudo, "errors": run_errors, "suspects": run_suspects,
            "report": run_report, "compare": run_compare}


def main(argv: list[str]) -> int:
    """Exit status: 0; 2 for a user error; 130 for Ctrl-C."""
    try:
        args, rest = parser().parse_known_args(argv)
        args.rest = rest
        refuse_control_characters([word for word in argv if word not in getattr(args, "text", [])])
        if args.rest and args.command != "suspects":  # suspects passes them on to the parser of train.py
            parser().error(f"unrecognized arguments: {' '.join(args.rest)}")
        COMMANDS[args.command](args)
    except BrokenPipeError:  # the reader has closed the pipe, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, OSError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    except Stopped as stop:
        print(f"evaluate.py: {stop}", file=sys.stderr)
        return stop.status
    except KeyboardInterrupt:
        print("evaluate.py: stopped immediately", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    # so that a log file shows each part as it is done
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # typed as TextIO
    sys.exit(main(sys.argv[1:]))
