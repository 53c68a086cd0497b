"""What ``python train.py`` prints last: test sentences as the model tags them, and what to try next.

Only the run without arguments ends like this, on a terminal or not: whoever names a recipe or an option knows the
project, and the log of a job or a study is not the place for advice.
"""

import sys
from pathlib import Path

from accelerate import PartialState

from ner.evaluation.predictions import TaggedSentence, read_predictions
from ner.inference import tag, terminal

LONGEST = 110  # characters, so that a sentence is a line or little more

NEXT = """next:
  python evaluate.py tag {folder} "Anna Müller arbeitet bei Google in Bern."
  python evaluate.py errors {folder}
  tensorboard --logdir {runs}
with your own DIR/de/train.conll, dev.conll and test.conll:
  python train.py --data_dir DIR --train_langs de --eval_langs de --learning_rate 2e-4"""


def show(folder: Path, results: dict) -> None:
    """A sentence of each language without training data, and commands that go on from this run; printed once."""
    if not PartialState().is_main_process:
        return
    trained, scores = results["train"]["langs"], results["eval"]["test"]
    foreign = [lang for lang, score in scores.items() if isinstance(score, dict) and lang not in trained]
    print(f"\ntest sentences in languages without training data, tagged by the model ({', '.join(foreign)}):")
    for lang in foreign:
        sentence = telling(read_predictions(folder / "predictions" / f"test.{lang}.tsv"))
        print(f"  {in_marks(sentence, tuple(scores[lang]['by_type']), terminal.takes_colour(sys.stdout))}", end="")
    print(f"\n{NEXT.format(folder=folder, runs=folder.parent)}")


def telling(sentences: list[TaggedSentence]) -> TaggedSentence:
    """The first sentence of those up to `LONGEST` that has the most types of entities. Gold tags decide, so that the
    model's mistakes are as likely to be shown as anywhere."""
    short = [one for one in sentences if len(" ".join(one.words)) <= LONGEST] or sentences
    return max(short, key=lambda one: len({name[2:] for name in one.gold if name != "O"}))


def in_marks(sentence: TaggedSentence, types: tuple[str, ...], colour: bool) -> str:
    """The words of a sentence on a line, with its predicted entities in colour or in brackets."""
    text = tag.joined(sentence.words)
    tagged = tag.TaggedText(*text, sentence.predicted, [1.0] * len(sentence.words))
    return terminal.coloured(tagged, types) if colour else terminal.bracketed(tagged)
