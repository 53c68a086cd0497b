"""SIGTERM and SIGINT as a flag that the loop checks between steps."""

import signal
import time

IMPATIENT_SECONDS = 2.0  # a launcher forwards the Ctrl-C that its processes already got; count both as one


class Stopped(Exception):
    """The run was stopped by a signal and has written a checkpoint; `status` is its exit status."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class StopSignals:
    """Callable: whether this process has received a stop signal.

    A SIGINT more than two seconds after the first signal stops immediately (``KeyboardInterrupt``).
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.at = 0.0
        self.old = {number: signal.signal(number, self.handle) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(self, number, frame):
        if self.received is None:
            self.received, self.at = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self.at > IMPATIENT_SECONDS:
            raise KeyboardInterrupt

    def __call__(self) -> bool:
        return self.received is not None

    def restore(self) -> None:
        for number, handler in self.old.items():
            signal.signal(number, handler)
