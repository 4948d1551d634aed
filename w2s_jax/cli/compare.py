"""`w2s compare`: two students, supervisors or methods of one run, paired."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_jax.cli import base, experiments
from w2s_jax.cli.base import COMMANDS, OK, Command

if TYPE_CHECKING:
    from w2s_jax.metrics import PairedDifference


@COMMANDS.register
class Compare(Command):
    name = "compare"
    help = "compare two students, supervisors or methods, paired: accuracy and PGR with intervals and p-values"
    description = "Prints A minus B on the same seeds and test examples, for every cell of the grid that both finished."
    epilog = "flags such as --seeds, after everything else, override the fields of the config."
    takes_overrides = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "config",
            metavar="CONFIG",
            help="the config of a run that is finished, or partly; or an imported run's folder",
        )
        parser.add_argument("axis", choices=("methods", "students", "supervisors"), help="what A and B are")
        parser.add_argument("a", metavar="A", help="display name")
        parser.add_argument("b", metavar="B", help="display name")
        base.add_methods(parser)
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax import metrics
        from w2s_jax.evaluation import compare, imported

        table = imported.kept(Path(options.config))
        if table is not None:
            found = compare.compare_imported(table, options.axis, options.a, options.b)
        else:
            experiment = experiments.load(options.config, overrides, options.method)
            found = compare.compare(experiment, experiments.store(experiment), options.axis, options.a, options.b)
        if options.json:
            rows = [
                dataclasses.asdict(
                    dataclasses.replace(each, accuracy=metrics.bounded(each.accuracy), pgr=metrics.bounded(each.pgr))
                )
                for each in found
            ]
            print(json.dumps(rows, indent=1))
            return OK
        print(
            f"{options.a} minus {options.b}, paired over seeds and test examples: "
            "95% intervals, p, and p after Holm's correction\n"
        )
        for each in found:
            print(", ".join([*each.names.values(), f"{len(each.seeds)} seed{'s' * (len(each.seeds) != 1)}"]))
            print(f"  accuracy  {_difference(each.accuracy, each.accuracy_holm)}")
            print(f"  PGR       {_difference(each.pgr, each.pgr_holm)}")
        return OK


def _difference(found: "PairedDifference", holm: float | None) -> str:
    if found.value is None:
        return f"undefined: {found.reason}"
    from w2s_jax.report import table

    return table.in_words_with_p(found.value, found, holm)
