"""`w2s study simulate`: a study whose participants are played by a model or a script."""

import argparse
from collections.abc import Sequence

from w2s_jax.cli import _study
from w2s_jax.cli.base import OK, Command
from w2s_jax.cli.study import VERBS


@VERBS.register
class StudySimulate(Command):
    name = "simulate"
    help = "have a model play all participants of a study, through the same server"
    description = (
        "Serves a study to itself, has every participant played, and writes its tables. All that they answer is marked "
        "as simulated. Interrupted, the same command goes on where it was."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        _study.add_config(parser)
        parser.add_argument(
            "--participant", metavar="MODEL", help="the model that plays (default: the config's `participant`)"
        )
        parser.add_argument(
            "--at-once", type=int, default=8, metavar="N", help="participants at the same time (default: %(default)s)"
        )

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.runtime import packaged, references
        from w2s_jax.runtime.checks import check_count
        from w2s_jax.study import simulation
        from w2s_jax.study.participants import Model, Participant

        check_count("--at-once", options.at_once)
        study = _study.load(options)
        if options.participant is None:
            participant = references.named(str(packaged.find(options.config)), "participant", Participant)
        else:
            participant = Model(options.participant)
        done = simulation.simulate(study, participant, at_once=options.at_once)
        late = f", {done.timeouts} of them after the time was over" if done.timeouts else ""
        print(f"{done.answers} answers of {participant.describe()}{late}")
        print(f"wrote {', '.join(map(str, done.written))}")
        return OK
