"""A benchmark whose arm is in a step that does not end: what becomes of it when its parent is killed."""

import os

import torch

from ner import arms, benchmark
from tests.helpers import doubles

serve = arms.serve


def endless(args, report) -> None:
    """An arm that says its number once it is in the middle of a step."""
    report({})
    os.write(1, b"%d\n" % os.getpid())
    a = torch.randn(512, 512)
    while True:
        a = (a @ a).sigmoid()


def serve_endless(run, *args) -> None:
    serve(endless, *args)


def main() -> None:
    doubles.replace_for_good("serve", serve_endless)
    with benchmark.process("ours", None) as (_, turn):
        turn()
