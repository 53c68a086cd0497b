"""Several processes of one run (gloo, on the CPU), as a launcher starts them."""

import faulthandler
import os
import socket
import sys
import time
from pathlib import Path

from tests.helpers import runs

HANGS_AFTER = 110  # seconds, then a process says where it stands


def one_of(rank: int, processes: int, port: int, log: str, target, *args) -> None:
    """A process as ``torchrun`` starts it.

    Without LOCAL_WORLD_SIZE and OMP_NUM_THREADS Accelerate gives each as many threads as there are cores.
    """
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_WORLD_SIZE=str(processes),
                      MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), ACCELERATE_USE_CPU="true", OMP_NUM_THREADS="1")
    runs.to_file(log)
    faulthandler.dump_traceback_later(HANGS_AFTER, file=sys.stderr.fileno())
    target(*args)


def together(processes: int, log: Path, target, *args) -> tuple[list[int], str]:
    """Exit statuses and joint output of `processes` processes of one run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = [runs.forked(one_of, rank, processes, port, str(log), target, *args) for rank in range(processes)]
    end = time.monotonic() + HANGS_AFTER + 10
    for process in running:
        process.join(max(0.1, end - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in running], log.read_text(encoding="utf-8")
