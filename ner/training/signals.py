"""SIGTERM and SIGINT as a question that the loop asks between two steps."""

import signal
import time

IMPATIENT_SECONDS = 2.0  # a launcher passes on the Ctrl-C that its processes have already got: that is one, not two


class Stopped(Exception):
    """The run was told to stop and wrote a checkpoint; `status` is the exit status to leave with."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class StopSignals:
    """Calling it says whether this process was told to stop.

    A SIGINT over two seconds after the first signal stops at once (``KeyboardInterrupt``).
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
