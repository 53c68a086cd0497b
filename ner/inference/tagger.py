"""A batch of columns in, the same columns with entities out: for the engines that share rows among processes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from accelerate import Accelerator
from datasets import Features

from ner.data.blocks import ADDED, ADDED_TYPES
from ner.data.encoded import Encoded
from ner.evaluation.predict import Predictions
from ner.inference import tag
from ner.inference.tag import Text
from ner.inference.trained import Trained, accelerator_for, legal, load, predicted, weights_checksum
from ner.options import UserError, shown

IMPORTED_BY = os.getpid()


class Prepared(NamedTuple):
    """R rows, ready for the model."""

    texts: list[Text]  # without words where there is an error
    errors: list[str | None]
    sentences: Encoded


@dataclass
class Tagger:
    """Picklable, as it does not take its model along: each process loads it with the first batch.

    ``dataset.map(Tagger("runs/panx-de"), batched=True, batch_size=4096, num_proc=2)``
    """

    model: str
    column: str = "text"  # of texts, or of lists of words
    pretokenized: bool = False
    threshold: float = 0.0
    device: str = "auto"
    model_revision: str | None = None
    mixed_precision: str | None = None  # None: the run's

    def __getstate__(self) -> dict:
        """The fields, and which weights they meant: datasets takes a result from its cache if the state is the same."""
        return {**{field.name: getattr(self, field.name) for field in fields(self)}, "weights": self.weights}

    @cached_property
    def weights(self) -> str:
        return weights_checksum(self.model, self.model_revision)

    @cached_property
    def accelerator(self) -> Accelerator:
        return self.loaded()[0]

    @cached_property
    def trained(self) -> Trained:
        return self.loaded()[1]

    def loaded(self) -> tuple[Accelerator, Trained]:
        if os.getpid() != IMPORTED_BY:  # forked: without its parent's threads, for which OpenMP would wait forever
            torch.set_num_threads(1)
        return loaded(self.model, self.model_revision, self.weights, self.device, self.mixed_precision)

    def __call__(self, columns: Mapping[str, Sequence]) -> dict[str, Any]:
        """The columns and two more: `entities`, for each row a list of start, end, type, text and score (offsets in
        characters; of words, in their text joined by spaces), and `error`, why a row has none, or None."""
        if self.column not in columns:
            raise UserError(f"no column {shown(self.column)}; there are {', '.join(map(repr, columns))[:200]}")
        prepared = self.prepare(columns[self.column])
        return {**columns, "entities": self.entities(prepared, self.predict(prepared)), "error": prepared.errors}

    def prepare(self, values: Sequence, problems: Mapping[int, str] | None = None) -> Prepared:
        """Words and subwords of each row; `problems` of rows that are known to have none."""
        texts: list[Text] = []
        errors: list[str | None] = []
        for place, value in enumerate(values):
            try:
                if problems and place in problems:
                    raise ValueError(problems[place])
                texts.append(text_of(value, self.pretokenized))
                errors.append(None)
            except ValueError as error:
                texts.append(Text("", []))
                errors.append(str(error))
        return Prepared(texts, errors, tag.sentences(self.trained, texts))

    def predict(self, prepared: Prepared) -> Predictions:
        return predicted(self.trained, prepared.sentences, self.accelerator)

    def entities(self, prepared: Prepared, found: Predictions) -> list[list[dict] | None]:
        """The entities of each row; None for a row with an error."""
        tagged = tag.tagged(self.trained, prepared.texts, found)
        kept = [[entity for entity in tag.entities_of(one) if entity["score"] >= self.threshold] for one in tagged]
        return [own if error is None else None
                for own, error in zip(map(rounded, kept), prepared.errors, strict=True)]


@lru_cache(maxsize=1)  # engines may send a worker another copy of the `Tagger` with each task
def loaded(model: str, revision: str | None, weights: str, device: str,
           mixed_precision: str | None) -> tuple[Accelerator, Trained]:
    """The process's last model. weights: their checksum, so that a model which was trained again is loaded again."""
    accelerator = accelerator_for(model, device, mixed_precision)
    return accelerator, legal(load(model, accelerator, revision))


def with_entities(features: Features) -> Features:
    """The same columns with those that a `Tagger` adds, for ``map(features=...)``: datasets takes types from its first
    batch, where perhaps no row has an entity or an error."""
    return Features({**features, **Features.from_arrow_schema(pa.schema(list(zip(ADDED, ADDED_TYPES, strict=True))))})


def rounded(entities: list[dict]) -> list[dict]:
    """Scores of four digits: beyond, they depend on the rows that were computed together."""
    return [{key: entity[key] for key in ("start", "end", "type", "text")} | {"score": round(entity["score"], 4)}
            for entity in entities]


def text_of(value: Any, pretokenized: bool) -> Text:
    """The text of a row, a string or its words; ValueError says why there is none."""
    if isinstance(value, str):
        return tag.read_text(str(value), pretokenized)
    words = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"no text: found {shown(value)}; expected a string or a list of strings")
    tag.check_words(list(words))
    if sum(map(len, words)) > tag.MAX_CHARACTERS:
        raise ValueError(f"the words are longer than {tag.MAX_CHARACTERS:,} characters; expected a page")
    return tag.joined(list(words))
