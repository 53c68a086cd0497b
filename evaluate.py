"""Score trained models, tag text with them, and analyse them. See evaluate.py COMMAND --help for each command."""

import os
import signal
import sys
from collections import deque
from dataclasses import replace
from itertools import chain
from pathlib import Path

from ner.experiment.cli import read_arguments, refuse_control_characters
from ner.experiment.commands import check_data, parser, with_data
from ner.options import Options, UserError, as_recipe, resolve
from ner.recipe import is_study
from ner.training.signals import Stopped


def scored_split(args, suffix: str, decode: str | None = None):
    """What score and errors have in common: choose a folder (default: NAME-suffix), load the model, score the split."""
    from ner.experiment.folder import check_folder, check_output, new_folder
    from ner.inference.trained import accelerator_for, load, score, type_map

    types = type_map(args.map)
    check_data(args)
    accelerator = accelerator_for(args.model, args.device, args.mixed_precision)
    name = Path(args.model).name
    folder = Path(args.output_dir) if args.output_dir else new_folder(f"{name}-{suffix}")
    check_folder(folder, Options())
    if suffix == "errors":
        check_output(folder / "errors.html", "--output_dir")
    trained, langs = with_data(load(args.model, accelerator, args.model_revision), args)
    trained = trained._replace(options=replace(trained.options, decode=decode or trained.options.decode))
    languages, scored = score(trained, langs, args.split, accelerator, types)
    head = f"{args.split}, mapped: {' '.join(args.map)}" if types else args.split
    return accelerator, name, folder, trained, languages, scored, types, head


def run_score(args) -> None:
    from ner.evaluation import predictions
    from ner.evaluation.per_language import f1_table, results_of
    from ner.experiment.folder import write_results
    from ner.training import machine

    accelerator, name, folder, trained, languages, scored, types, head = scored_split(args, args.split, args.decode)
    if accelerator.is_main_process:
        print(f"{head}\n{f1_table(scored)}")
        for lang, item in scored.items():
            tagged = predictions.sentences(languages[lang], item.predictions, trained.tags)
            predictions.write_predictions(folder / "predictions" / f"{args.split}.{lang}.tsv", tagged)
        write_results(folder, {"name": name, "options": as_recipe(trained.options), "versions": machine.versions(),
                               "machine": machine.setting(accelerator), "eval": {args.split: results_of(scored)},
                               **({"mapped": types} if types else {})})
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
    from ner.experiment.folder import check_output
    from ner.inference import page, tag, terminal
    from ner.inference.trained import accelerator_for, legal, load

    if args.html is not None:
        check_output(Path(args.html), "--html")
    accelerator = accelerator_for(args.model, args.device, args.mixed_precision)
    if args.text == ["-"] and accelerator.num_processes > 1:
        raise UserError(f"tag -: {accelerator.num_processes} processes cannot share standard input; start one, or use "
                        "--input")
    trained = legal(load(args.model, accelerator, args.model_revision))
    lines, source = (tag.lines(sys.stdin), "standard input:") if args.text == ["-"] else (args.text, "text ")
    texts = tag.read_texts(lines, source, args.pretokenized)
    parts = ([tag.without_doubtful(one, args.threshold) for one in tag.tag(trained, part, accelerator)]
             for part in tag.batches(texts))
    if args.html is not None:
        found = chain.from_iterable(parts)
        if accelerator.is_main_process:
            page.write_tagged(Path(args.html), f"Entities found by {Path(args.model).name}", found, trained.tags.types)
            print(f"{args.html}: the texts with their entities")
        deque(found, maxlen=0)  # all processes take part in tagging
        return accelerator.end_training()
    colour = terminal.takes_colour(sys.stdout) and not args.subwords
    for number, part in enumerate(parts):
        for place, tagged in enumerate(part):
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
    if args.text or args.jsonl or args.subwords or args.html:
        raise UserError("--input: expected neither TEXT nor --jsonl, --subwords or --html with it")
    if args.output is None:
        raise UserError("--input: expected --output, a folder, with it")
    from ner.data.shards import find_shards
    from ner.inference import corpus
    from ner.inference.tagger import Tagger
    from ner.training import machine

    folder = Path(args.output)
    shards = find_shards(args.input, folder if corpus.is_begun(folder) else None)
    rank, processes = machine.apart()
    tagger = Tagger(args.model, pretokenized=args.pretokenized, threshold=args.threshold, device=args.device,
                    mixed_precision=args.mixed_precision, model_revision=args.model_revision)
    if corpus.tag_corpus(tagger, shards, folder, args.column, args.format, args.strict, rank, processes):
        print(f"{folder}: {len(shards)} {'shard' if len(shards) == 1 else 'shards'}, {corpus.SUMMARY}")
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
    from ner.inference.trained import accelerator_for, load

    check_output(folder := Path(args.output))
    check_data(args)
    accelerator = accelerator_for(args.model, args.device, args.mixed_precision)
    teacher, langs = with_data(load(args.model, accelerator, args.model_revision), args)
    with accelerator.main_process_first():
        pool = corpora.unlabelled(teacher.options, langs, teacher.tags, args.split, alone=len(langs) == 1)
    languages = pseudo.pseudo_labelled(teacher, pool, teacher.tags, args.confidence, args.share, accelerator)
    if accelerator.is_main_process:
        found = pseudo.amounts(pool, languages, teacher.tags)
        pseudo.write_pseudo(folder, languages, teacher.tags, {"teacher": args.model, "languages": found})
        print(f"\n{pseudo.amount_table(found)}\n\n{folder}: {', '.join(f'{lang}/train.jsonl' for lang in found)}")
    accelerator.end_training()


def run_export(args) -> None:
    from ner.experiment.folder import check_output
    from ner.inference import export
    from ner.inference.trained import accelerator_for, has_data, labelled_rows, load

    check_output(folder := Path(args.output))
    if args.text is None:
        check_data(args, "--text")
    # in fp32, so that the files differ in nothing but themselves
    accelerator = accelerator_for(args.model, args.device, args.mixed_precision or "no")
    if accelerator.num_processes > 1:
        raise UserError(f"export: was started as {accelerator.num_processes} processes; expected one")
    trained, langs = with_data(load(args.model, accelerator, args.model_revision), args)
    knows_data = has_data(args.model, args.data_dir, args.dataset)
    test = labelled_rows(trained, langs, args.split) if knows_data else {}
    words = export.words_of_files(args.text) if args.text else export.words_of_data(trained, args.langs)
    report = export.export(trained, folder, words, test, args.dtype, accelerator, args.onnx, args.int8)
    print(f"{export.report_table(report)}\n\n{report['words']:,} words; {export.estimate(report['split_otherwise'])}\n"
          f"{folder}: {', '.join(sorted(os.listdir(folder)))}")


def run_average(args) -> None:
    from ner.experiment.folder import check_output
    from ner.inference import average
    from ner.inference.trained import accelerator_for, has_data, labelled_rows, load

    check_output(folder := Path(args.output))
    first, *others = args.model
    if not others:
        raise UserError(f"average: expected two models or more, found only {first}")
    accelerator = accelerator_for(first, args.device, args.mixed_precision)
    trained, langs = with_data(load(first, accelerator, args.model_revision), args)
    rows = labelled_rows(trained, langs, args.split) if has_data(first, args.data_dir, args.dataset) else {}
    members = (load(name, accelerator, args.model_revision) for name in others)
    mean, scores = average.average(trained, members, rows, accelerator)
    if accelerator.is_main_process:
        average.write(mean, args.model, scores, args.split, folder)
        if rows:
            print(f"F1 on the {args.split} sentences\n{average.score_table(args.model, scores)}\n")
        print(f"{folder}: {', '.join(sorted(os.listdir(folder)))}")
    accelerator.end_training()


def run_errors(args) -> None:
    from ner.analysis import errors, kinds

    if args.sentences < 0:
        raise UserError(f"--sentences: expected at least 0, found {args.sentences}")
    accelerator, name, folder, trained, languages, scored, _, head = scored_split(args, "errors")
    if accelerator.is_main_process:
        analyses = {lang: errors.analyse(languages[lang], scored[lang].predictions, trained.tags, trained.tokenizer)
                    for lang in languages}
        errors.write_errors(folder, f"Errors of {name}, {head}", args.split, analyses, trained.tags,
                            args.contains, args.sentences)
        print(head)
        for lang, one in analyses.items():
            print(f"{lang}\n{errors.columns(kinds.KINDS_HEADER, one.kinds)}\n")
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


COMMANDS = {"score": run_score, "tag": run_tag, "pseudo": run_pseudo, "export": run_export, "average": run_average,
            "errors": run_errors, "suspects": run_suspects, "report": run_report, "compare": run_compare}


def main(argv: list[str]) -> int:
    """Exit status: 0; 2 for a user error; 130 for Ctrl-C."""
    try:
        args, rest = parser(str(__doc__)).parse_known_args(argv)
        args.rest = rest
        texts = args.text if args.command == "tag" else []
        refuse_control_characters([word for word in argv if word not in texts])
        if args.rest and args.command != "suspects":  # suspects passes them on to the parser of train.py
            parser(str(__doc__)).error(f"unrecognized arguments: {' '.join(args.rest)}")
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
