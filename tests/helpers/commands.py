"""evaluate.py called within the test's process."""

import evaluate


def call(capsys, *argv) -> tuple[int, str, str]:
    """Exit status, standard output and error."""
    status = evaluate.main([str(word) for word in argv])
    return status, *capsys.readouterr()


def refused(capsys, *argv) -> str:
    """The one sentence with which it refuses, the last that it says."""
    status, _, error = call(capsys, *argv)
    lines = [line for line in error.splitlines() if line.startswith("evaluate.py: ")]
    assert status == 2 and len(lines) == 1 and error.rstrip().endswith(lines[0]) and "Traceback" not in error, error
    return lines[0]
