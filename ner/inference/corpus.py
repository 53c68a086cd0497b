"""Tag a corpus from files to files: every shard whole or not at all, skipped by a later start once it is finished.

While the model computes one block of rows, one thread reads and tokenises the next ones and another writes the last.
Processes share the shards by their number and do not talk to each other: one that dies costs only its own.
"""

import json
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from ner.data.blocks import Block, blocks, writer
from ner.data.shards import Shard
from ner.files import checksum_of_ends, whole_file, write_whole
from ner.inference.tagger import Prepared, Tagger
from ner.options import UserError

T = TypeVar("T")
JOB, FINISHED, SUMMARY = "tagging.json", ".finished", "summary.json"
AHEAD = 2  # blocks that wait for the model, and to be written


def tag_corpus(tagger: Tagger, shards: list[Shard], folder: Path, column: str | None = None, form: str | None = None,
               strict: bool = False, rank: int = 0, processes: int = 1) -> bool:
    """Tag the shards number `rank`, `rank + processes`, ... into `folder`; whether all are finished then, and
    summary.json is written. `form` is jsonl or parquet, by default that of the input. ``UserError`` for an input that
    cannot be read, a folder of another job and, if `strict`, the first row that cannot be tagged."""
    claim(folder, job_of(tagger, column, form), shards, rank)
    mine = [shard for shard in shards[rank::processes] if not finished(folder, shard, form)]
    shares = shares_of(mine, shards)
    with tqdm(unit=" rows", mininterval=1, file=sys.stderr) as bar:
        stream = ahead(prepared(tagger, mine, column))
        for shard, before, share in zip(mine, accumulate(shares, initial=0.0), shares, strict=False):
            start = time.monotonic()
            record = tag_shard(tagger, shard, iter(partial(next, stream), None), output(folder, shard, form), strict,
                               partial(show, bar, before, share))
            record["seconds"] = round(time.monotonic() - start, 3)
            write_whole(record_path(folder, shard), json.dumps(record) + "\n")
    if not all(finished(folder, shard, form) for shard in shards):
        return False
    write_whole(folder / SUMMARY, json.dumps(summary(folder, shards), indent=1, ensure_ascii=False) + "\n", rank)
    return True


def tag_shard(tagger: Tagger, shard: Shard, parts: Iterator[tuple[Block, Prepared]], path: Path, strict: bool,
              show: Callable[[int, int, float], None]) -> dict:
    """Write one shard; what is in it."""
    rows = words = wrong = 0
    types: Counter[str] = Counter()
    ends = checksum_of_ends(shard.path)
    with written(path) as temporary, writer(temporary, path.suffix[1:]) as write, in_order() as submit:
        for block, ready in parts:
            bad = [place for place, error in enumerate(ready.errors) if error]
            if bad and strict:
                number = shard.first_row + rows + bad[0] + 1
                raise UserError(f"{shard.path}: row {number}: {ready.errors[bad[0]]}")
            found = tagger.predict(ready)

            def finish(block=block, ready=ready, found=found) -> None:
                entities = tagger.entities(ready, found)
                types.update(entity["type"] for own in entities for entity in own or ())
                write(block, entities, ready.errors)

            submit(finish)
            rows, words, wrong = rows + len(ready.texts), words + len(found.labels), wrong + len(bad)
            show(len(ready.texts), len(found.labels), block.read)
    return {"input": str(shard.path), "bytes": shard.size, "ends": ends, "rows": rows, "words": words,
            "entities": dict(sorted(types.items())), "errors": wrong}


def shares_of(mine: list[Shard], shards: list[Shard]) -> list[float]:
    """The share of each in the bytes of all that are `mine`. A file that is divided into several `shards` counts as
    divided equally."""
    parts = Counter(shard.path for shard in shards)
    sizes = [(shard.size or 1) / parts[shard.path] for shard in mine]
    total = sum(sizes)
    return [size / total for size in sizes]


def show(bar: tqdm, before: float, share: float, rows: int, words: int, read: float) -> None:
    """Words per second and the time left on the bar, from the share of all bytes that is read: that of the shards
    before, and so much of this one's."""
    bar.words = getattr(bar, "words", 0) + words
    seconds, done = bar.format_dict["elapsed"], before + share * read
    left = tqdm.format_interval(seconds * (1 / done - 1)) if 0 < done < 1 else "00:00"
    bar.set_postfix_str(f"{bar.words / max(seconds, 1e-9):,.0f} words/s, {left} left", refresh=False)
    bar.update(rows)


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """As `whole_file`, but a disk that is full is a ``UserError``."""
    try:
        with whole_file(path) as temporary:
            yield temporary
    except OSError as error:
        raise UserError(f"{path}: could not be written ({error}); what is finished stays, repeat the command") from None


# ---- threads


def prepared(tagger: Tagger, shards: list[Shard], column: str | None) -> Iterator[tuple[Block, Prepared] | None]:
    """The blocks of each shard, ready for the model, and None at its end."""
    for shard in shards:
        for block in blocks(shard, column):
            yield block, tagger.prepare(block.values, block.problems)
        yield None


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, made in a thread that is `AHEAD` items ahead."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        made: deque[Future] = deque(pool.submit(next, items, end) for _ in range(AHEAD))
        while (item := made.popleft().result()) is not end:
            made.append(pool.submit(next, items, end))
            yield item


@contextmanager
def in_order() -> Iterator[Callable[[Callable[[], None]], None]]:
    """A function that calls functions in another thread, one after another, and waits while `AHEAD` are not done."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future] = deque()

        def submit(call: Callable[[], None]) -> None:
            while len(waiting) >= AHEAD:
                waiting.popleft().result()
            waiting.append(pool.submit(call))

        yield submit
        for future in waiting:
            future.result()


# ---- the folder


def job_of(tagger: Tagger, column: str | None, form: str | None) -> dict:
    """What the output depends on besides its input."""
    trained = tagger.trained
    return {"weights": tagger.weights, "tags": list(trained.tags.names),
            "max_length": trained.options.max_length, "stride": trained.options.stride,
            "decode": trained.options.decode, "mixed_precision": tagger.accelerator.mixed_precision, "column": column,
            "pretokenized": tagger.pretokenized, "threshold": tagger.threshold, "format": form}


def is_begun(folder: Path) -> bool:
    """Whether an earlier start has filled it."""
    return (folder / JOB).is_file()


def claim(folder: Path, job: dict, shards: list[Shard], rank: int) -> None:
    """``UserError`` unless the folder is new, or has been filled by this very job from these very files."""
    path = folder / JOB
    if any(shard.path.resolve().parent == folder.resolve() for shard in shards):
        raise UserError(f"{folder}: holds the input; name another --output")
    # Names with a dot are what another process, now or before it was killed, writes before the job is known.
    strange = folder.is_dir() and any(not one.name.startswith(".") for one in folder.iterdir()) and not path.exists()
    if strange or folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: holds something else; name a new folder for --output")
    (folder / FINISHED).mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_whole(path, json.dumps(job, indent=1, ensure_ascii=False) + "\n", rank)
    known = json.loads(path.read_text(encoding="utf-8"))
    for name, value in job.items():
        if known.get(name) != value:
            raise UserError(f"{folder}: was tagged with {name} {known.get(name)}, not {value}; repeat that command or "
                            f"name another --output")
    by_output, by_file = {shard.name: shard for shard in shards}, {shard.path.name: shard for shard in shards}
    for one in (folder / FINISHED).glob("*.json"):  # parts, too, that a file is no longer divided into
        record = json.loads(one.read_text(encoding="utf-8"))
        shard = by_output.get(one.stem) or by_file.get(Path(record["input"]).name)
        if shard is not None and is_changed(shard, record):
            raise UserError(f"{shard.path}: has changed since it was tagged; name another --output")


def is_changed(shard: Shard, record: dict) -> bool:
    """Whether the file differs in its size, or in its first or last bytes, from what was tagged. Its time says nothing:
    a copy has another one."""
    return record["bytes"] != shard.size or record.get("ends") != checksum_of_ends(shard.path)


def output(folder: Path, shard: Shard, form: str | None) -> Path:
    return folder / f"{shard.name}.{form or ('parquet' if shard.format == 'parquet' else 'jsonl')}"


def record_path(folder: Path, shard: Shard) -> Path:
    return folder / FINISHED / f"{shard.name}.json"


def record_of(folder: Path, shard: Shard) -> dict:
    return json.loads(record_path(folder, shard).read_text(encoding="utf-8"))


def finished(folder: Path, shard: Shard, form: str | None) -> bool:
    """The record is written after the output."""
    return record_path(folder, shard).exists() and output(folder, shard, form).exists()


def summary(folder: Path, shards: list[Shard]) -> dict:
    """Sums over all shards; `seconds` of all processes together."""
    records = [record_of(folder, shard) for shard in shards]
    types: Counter[str] = Counter()
    for record in records:
        types.update(record["entities"])
    total = {name: sum(record[name] for record in records) for name in ("rows", "words", "errors")}
    return {"shards": len(shards), **total, "entities": dict(sorted(types.items())),
            "seconds": round(sum(record["seconds"] for record in records), 3)}
