"""How long it will take: in words, and as lines for where no progress bar is shown (batch systems, CI, nohup)."""

import math
import time
from collections.abc import Callable

FIRST, SECONDS = 5, 60  # the steps after which the first line comes, and the time between lines
Line = Callable[[int, float, float], str | None]


def in_words(seconds: float) -> str:
    """``about 5 min left``, rounded up."""
    minutes = math.ceil(seconds / 60)
    return f"about {minutes} min left" if minutes < 120 else f"about {minutes / 60:.1f} h left"


def progress_lines(total: int, clock: Callable[[], float] = time.monotonic) -> Line:
    """A function to call after each step with its number, loss and sentences/s: a line if one is due, otherwise None.

    The first line comes after `FIRST` steps if more than a minute is left. The time left is estimated from all steps
    since this call, and so includes evaluations once there have been some.
    """
    began = last = clock()
    done = 0

    def line(step: int, loss: float, rate: float) -> str | None:
        nonlocal last, done
        done += 1
        now = clock()
        left = (now - began) / done * (total - step)
        if now - last < SECONDS and not (done == FIRST and left > SECONDS):
            return None
        last = now
        return f"step {step} of {total}: loss {loss:.4f}, {rate:.0f} sentences/s, {in_words(left)}"

    return line
