"""train.py on a disk that takes most of a second for each file of a checkpoint."""

import sys
import time

import train
from tests.helpers import doubles

save = doubles.original("save_checkpoint")


def slow(content, path) -> None:
    time.sleep(0.8)
    save(content, path)


doubles.replace_for_good("save_checkpoint", slow)
sys.exit(train.main(sys.argv[1:]))
