"""The arguments that every mode of bench-peers takes."""

import argparse
from collections.abc import Callable
from pathlib import Path


Names = dict[str, list[str]]


def parse(
    argv: list[str], program: str, doc: str, known: Names, usual: Names | None = None, needed: str = ""
) -> argparse.Namespace:
    """Rounds, what is to be measured of what is known, and the form of the result.

    Where nothing is chosen all is measured, or what is `usual`; `needed` is a step that cannot be left out."""
    parser = argparse.ArgumentParser(
        prog=program, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("-n", type=int, default=3, dest="rounds", metavar="ROUNDS")
    for choice, names in known.items():
        default = (usual or {}).get(choice, names)
        several = one_or_more_of(names)
        parser.add_argument(f"--{choice}", type=several, default=default, metavar="NAMES", help=",".join(names))
    parser.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    parser.add_argument("--tsv", type=Path, metavar="FILE", help="write a row for each run there")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error("there must be at least one round")
    if needed and needed not in arguments.steps:
        parser.error(f"the step `{needed}` is needed")
    return arguments


def one_or_more_of(names: list[str]) -> Callable[[str], list[str]]:
    def split(text: str) -> list[str]:
        for part in text.split(","):
            if part not in names:
                raise argparse.ArgumentTypeError(f"{part}: there are {', '.join(names)}")
        return text.split(",")

    return split
