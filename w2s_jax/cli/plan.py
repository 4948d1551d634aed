"""`w2s plan`: does an experiment fit an accelerator, and what does a step cost."""

import argparse
import json
import sys
from collections.abc import Sequence

from w2s_jax.cli import experiments
from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Plan(Command):
    name = "plan"
    help = "does it fit an accelerator, and what does a step cost; no accelerator is needed"
    description = (
        "Compiles the training step and the labelling step of every learner of a config ahead of time and prints the "
        "memory of each chip, FLOPs, collectives, and a lower bound on the time of a step; where it does not fit, the "
        "nearest setting that does. For GPUs, which are compiled for only where there is one, all of it is an estimate."
    )
    epilog = "flags such as --mesh.fsdp override the fields of the config."
    takes_overrides = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "config",
            metavar="CONFIG",
            help="a Python file that defines an `experiment`, or a packaged name; weights are not needed",
        )
        parser.add_argument(
            "--topology",
            required=True,
            help="TPUs v5e:4x4, v5p:2x2x4, v6e:2x4, v7x:2x2x1; GPUs a100:1, h100:8, h200:8, b200:8, of any number; "
            "local: the devices of this machine",
        )
        parser.add_argument("--json", action="store_true", help="print JSON: bytes, seconds, FLOPs")

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.plan import plan, table

        experiment = experiments.load(options.config, overrides)
        steps = []
        for step in plan(experiment, options.topology):
            steps.append(step)
            done = "estimated" if step.compiled.is_estimate else "compiled"
            print(f"{done} the {table.NAMES[step.kind]} of {step.request.learner.model}", file=sys.stderr)
        if options.json:
            print(json.dumps(table.as_json(steps), indent=1))
        else:
            table.show(steps)
        return OK
