"""Fine-tune an encoder of the RoBERTa family for named-entity recognition and
score it in every language.

Without arguments, it runs configs/quickstart.yaml (built-in encoder and corpus).
Values are written as in YAML. Lists can also be several words (--train_langs de
fr), and mappings can be name=value (--fractions de=0.629 fr=0.229).
"""

import os
import shlex
import signal
import sys
from pathlib import Path

from ner.experiment import study
from ner.experiment.cli import read_arguments
from ner.experiment.folder import new_folder
from ner.options import UserError, resolve
from ner.recipe import is_study
from ner.training.signals import Stopped

QUICKSTART = Path(__file__).parent / "configs" / "quickstart.yaml"


def train(argv: list[str]) -> None:
    """One run or a study."""
    leader = os.environ.get("RANK", "0") == "0"
    recipe, path = read_arguments(__doc__, argv or ["--config", str(QUICKSTART)])
    if recipe.get("resume") and recipe.get("output_dir") and not path:
        path = str(Path(str(recipe["output_dir"])) / "config.yaml")
        recipe, path = read_arguments(__doc__, ["--config", path, *argv])
    if is_study(recipe):
        study.run(recipe, path)
        return
    options = resolve(recipe, path)
    if options.resume and not options.output_dir:
        raise UserError("resume: set --output_dir to the run to continue")
    if argv and not path and options.dataset == "swiss" and options.data_dir is None and leader:
        print("without --config, all other options have the defaults of --help; to run the quickstart with yours: "
              f"python train.py --config configs/{QUICKSTART.name} {shlex.join(argv)}")
    from ner.experiment import experiment  # imports torch, so only after the options are checked

    folder = Path(options.output_dir) if options.output_dir else new_folder(Path(path).stem if path else "run")
    results = experiment.run(options, folder, folder.resolve().name)
    if not argv:
        from ner.experiment import first_look

        first_look.show(folder, results)


def main(argv: list[str]) -> int:
    """Exit status: 0; 2 for a user error; 128 + signal for a run that was stopped and can be continued."""
    status = 0
    try:
        train(argv)
    except (UserError, OSError) as error:  # perhaps in this process alone; then the launcher ends the others
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except Stopped as stop:  # all processes stop after the same step
        print(f"train.py: {stop}", file=sys.stderr)
        status = stop.status
    except KeyboardInterrupt:
        print("train.py: stopped immediately", file=sys.stderr)
        return 128 + signal.SIGINT
    from ner.training import machine  # imports torch, which the run has imported, too

    machine.leave()
    return status


if __name__ == "__main__":
    # so that a log file shows each epoch as it ends
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # typed as TextIO
    sys.exit(main(sys.argv[1:]))
