"""Files that do harm: some fill the memory, and a script is called on them while its memory is measured; a pickle."""

import importlib
import json
import os
from pathlib import Path

from tests.helpers import runs

HUGE = 100_000_000  # bytes
MEMORY = 300  # MiB more than before
HANGS_AFTER = 120  # seconds
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(  # 9 ** 9 of them
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))


def status_field(name: str) -> int:
    """MiB of memory as /proc says."""
    line = next(line for line in Path("/proc/self/status").read_text().split("\n") if line.startswith(name))
    return int(line.split()[1]) // 1024


def called(script: str, argv: list[str], log: str, report: str) -> None:
    """A script's `main` in this process; its exit status, and MiB of memory beyond those before it."""
    main = importlib.import_module(script).main
    for late in ("ner.analysis.report", "ner.analysis.suspects", "ner.inference.tag"):
        importlib.import_module(late)  # what the scripts import late is no part of what is measured
    runs.to_file(log)
    Path("/proc/self/clear_refs").write_text("5")
    before = status_field("VmRSS")
    found = main(argv)
    Path(report).write_text(json.dumps([found, status_field("VmHWM") - before]))


def measured(folder: Path, script: str, *argv) -> tuple[int, int, str]:
    """Exit status, MiB of memory and output of a call in a process of its own."""
    (folder / "log").unlink(missing_ok=True)
    process = runs.forked(called, script, [str(word) for word in argv], str(folder / "log"), str(folder / "report"))
    process.join(HANGS_AFTER)
    process.kill()
    process.join()
    log = (folder / "log").read_text()
    assert process.exitcode == 0, log
    status, grown = json.loads((folder / "report").read_text())
    return status, grown, log


def refused(folder: Path, script: str, *argv, memory: int = MEMORY) -> str:
    """The one sentence."""
    status, grown, log = measured(folder, script, *argv)
    sentence = log.splitlines()[-1]
    assert status == 2 and "Traceback" not in log, log
    assert sentence.startswith(f"{script}.py: ") and len(sentence) < 1000, log
    assert grown < memory, f"{grown} MiB: {sentence}"
    return sentence


def sparse(path: Path, start: bytes, size: int) -> None:
    """A file that begins so and takes no room on the disk."""
    path.unlink(missing_ok=True)
    path.write_bytes(start)
    os.truncate(path, size)


def nested(path: Path) -> None:
    """JSON of lists in lists."""
    path.write_text("[" * 100_000)


def many_lists(path: Path) -> None:
    """JSON of a list of empty lists."""
    path.write_bytes(b"[" + b"[]," * (HUGE // 3) + b"[]]")


class Malicious:
    """A pickle of it makes a folder where it is read."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)
