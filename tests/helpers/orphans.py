"""A benchmark whose arm is in a step that does not end: what becomes of it when its parent is killed."""

import os

import torch

from ner import arms, benchmark
from tests.helpers import doubles

serve = arms.serve


def endless(args, report) -> None:
    """In place of `ours`; says its number once it is in the middle."""
    report({})
    os.write(1, b"%d\n" % os.getpid())
    a = torch.randn(512, 512)
    while True:
        a = (a @ a).sigmoid()


def serve_endless(*args) -> None:
    doubles.replace_for_good("ours", endless)
    serve(*args)


def main() -> None:
    doubles.replace_for_good("serve", serve_endless)
    with benchmark.process("ours", None) as (_, turn):
        turn()
