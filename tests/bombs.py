"""What the tests of bombs need: such files, and a script called in a process whose memory is measured."""

import importlib
import json
import os
import time
from pathlib import Path

from tests.training import tools

HUGE = 100_000_000  # bytes
SECONDS, MEMORY = 20, 300  # MiB more than before
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(  # 9 ** 9 of them
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))


def status_field(name: str) -> int:
    """MiB of memory as /proc says."""
    line = next(line for line in Path("/proc/self/status").read_text().split("\n") if line.startswith(name))
    return int(line.split()[1]) // 1024


def called(script: str, argv: list[str], log: str, report: str) -> None:
    """A script's `main` in this process; its exit status, seconds, and MiB of memory beyond those before it."""
    main = importlib.import_module(script).main
    import ner.evaluation.report  # noqa: F401  what the scripts import late is no part of what is measured
    import ner.inference  # noqa: F401
    import ner.suspects  # noqa: F401

    tools.to_file(log)
    Path("/proc/self/clear_refs").write_text("5")
    before, started = status_field("VmRSS"), time.monotonic()
    found = main(argv)
    Path(report).write_text(json.dumps([found, time.monotonic() - started, status_field("VmHWM") - before]))


def refused(folder: Path, script: str, *argv, memory: int = MEMORY) -> str:
    """The one sentence."""
    (folder / "log").unlink(missing_ok=True)
    process = tools.forked(called, script, [str(word) for word in argv], str(folder / "log"), str(folder / "report"))
    process.join(120)
    log = (folder / "log").read_text()
    assert process.exitcode == 0, log
    status, seconds, grown = json.loads((folder / "report").read_text())
    sentence = log.splitlines()[-1]
    assert status == 2 and "Traceback" not in log, log
    assert sentence.startswith(f"{script}.py: ") and len(sentence) < 1000, log
    assert seconds < SECONDS and grown < memory, f"{seconds:.1f} s, {grown} MiB: {sentence}"
    return sentence


def sparse(path: Path, start: bytes, size: int) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(start)
    os.truncate(path, size)


def nested(path: Path) -> None:
    path.write_text("[" * 100_000)


def many_lists(path: Path) -> None:
    path.write_bytes(b"[" + b"[]," * (HUGE // 3) + b"[]]")
