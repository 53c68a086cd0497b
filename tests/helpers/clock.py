"""Times to compare with each other, never with a number of seconds: machines are shared and of several types."""

from time import perf_counter


def best(function, repeats: int = 3) -> float:
    """Seconds of a call: the least of several, which is what other processes disturb least."""
    seconds = []
    for _ in range(repeats):
        started = perf_counter()
        function()
        seconds.append(perf_counter() - started)
    return min(seconds)
