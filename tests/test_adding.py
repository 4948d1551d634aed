"""Everything that can be added is added from one file outside the package, as the built-in ones are, and runs.

So adding a loss, label transform, task, source, kind of supervisor, way to learn, metric, figure, tracker, model family
or command edits no file of the package, and one where it becomes a part of it.
"""

import dataclasses
import json

import pytest

from tests import tiny as make
from w2s_jax import api, cli, serialize
from w2s_jax.cli.base import COMMANDS
from w2s_jax.data.sources import SOURCES
from w2s_jax.evaluation import storage
from w2s_jax.metrics import METRICS
from w2s_jax.models.families import FAMILIES
from w2s_jax.report.figures.base import FIGURES
from w2s_jax.runtime import references
from w2s_jax.runtime.tracking import TRACKERS

MINE = '''
"""One of each kind."""

import json
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from w2s_jax import Learner, WayToLearn, Supervisor, Task
from w2s_jax.cli.base import COMMANDS, Command
from w2s_jax.data.example import Example
from w2s_jax.data.sources import SOURCES, Source
from w2s_jax.label_transforms import TransformedLabels
from w2s_jax.metrics import METRICS, Metric
from w2s_jax.models.families import FAMILIES
from w2s_jax.models.families.llama import Llama
from w2s_jax.report.figures.base import FIGURES, Figure, RunFigure
from w2s_jax.stages.supervise import Supervise
from w2s_jax.supervisors import supervisor
from w2s_jax.train.learner import Learner

HERE = Path(__file__).parent


def my_loss(logits, targets, *, sharpness=1.0):
    """Cross entropy on sharpened labels."""
    sharp = jax.nn.softmax(sharpness * jax.numpy.log(targets + 1e-6))
    return -(sharp * jax.nn.log_softmax(logits)).sum(axis=-1)


def my_transform(weak, *, least=0.5):
    """Drops unsure labels."""
    rows = np.flatnonzero(weak.max(axis=1) > least)
    return TransformedLabels(rows, weak[rows])


@dataclass(frozen=True)
class Lines(Source):
    """A source: a file of one example a line, `label text`."""

    path: str

    def records(self):
        for line in Path(self.path).read_text().splitlines():
            label, _, text = line.partition(" ")
            yield {"label": int(label), "text": text}

    def describe(self):
        return self.path


SOURCES.register(lambda rest: Lines(rest), "lines")


def examples(record):
    yield Example(record["text"], record["text"], record["label"], record["text"])


my_task = Task("mine", "is it positive?", Lines(str(HERE / "reviews.txt")), examples, answers=("bad", "good"))


@dataclass(frozen=True)
class Committee(Supervisor):
    """The more confident of two supervisors decides."""

    first: Learner
    second: Learner

    def needs(self, task, seed):
        return tuple(Supervise(task, seed, supervisor(each)) for each in (self.first, self.second))

    def label(self, inputs):
        found = {}
        for name, split in inputs.splits.items():
            first, second = (inputs.read(member, name, split.ids) for member in inputs.needs)
            surer = first.max(axis=1) > second.max(axis=1)
            found[name] = np.where(surer[:, None], first, second)
        return found

    def learners(self):
        return self.first, self.second


@dataclass(frozen=True)
class NearestMean(WayToLearn):
    """The student is the nearest of two class means of its features, as the weak labels say."""

    power: float = 1.0

    def learn(self, teaching):
        train = teaching.lesson.train
        features = teaching.features(train.split.texts)
        means = (train.targets**self.power).T @ features / (train.targets**self.power).sum(axis=0)[:, None]

        def probabilities(split):
            distance = np.linalg.norm(teaching.features(split.texts)[:, None] - means, axis=-1)
            near = np.exp(-distance)
            return near / near.sum(axis=1, keepdims=True)

        splits = {**teaching.lesson.predict, "validation": teaching.lesson.validation.split}
        return {name: probabilities(split) for name, split in splits.items()}


METRICS.register(
    Metric(
        name="sharpness",
        title="sharpness",
        formula="mean of the largest probability",
        better="higher",
        function=lambda probs, targets: float(probs.max(axis=-1).mean()),
    )
)


def draw(results):
    import matplotlib.pyplot

    image = matplotlib.pyplot.figure()
    rows = [(summary.method, summary.scores["sharpness"]["student"].value) for summary in results.summaries]
    return Figure("How sharp students are.", "sharpness", ("method", "sharpness"), rows, image)


FIGURES.register(RunFigure("my_figure", draw))


class Recorder:
    """A tracker that writes what it is told."""

    def start(self, run, config, folder):
        self.lines = [["start", run]]

    def log(self, stage, step, values):
        self.lines.append(["log", stage, step, values["loss"]])

    def finish(self, results, written):
        self.lines.append(["finish", results is not None])
        (HERE / "tracked.json").write_text(json.dumps(self.lines))


class Renamed(Llama):
    """Llama with another name for its embeddings."""

    def tensors(self, config):
        return [row._replace(name=row.name.replace("embed_tokens", "wte")) for row in super().tensors(config)]


FAMILIES.register(Renamed("renamed", model_class="RenamedForCausalLM", prefix="model.", unembedding="lm_head.weight"))


@COMMANDS.register
class Greet(Command):
    name = "greet"
    help = "greet somebody"

    def add_arguments(self, parser):
        parser.add_argument("who")

    def run(self, options, overrides):
        print(f"Hello, {options.who}!")
        return 0
'''

CONFIG = """
from pathlib import Path

import mine
from w2s_jax import Experiment, Learner, LoopSettings, Method, OptimizerConfig, TaskConfig, Train, Transform

HERE = Path(__file__).parent
how = {"parameters": "probe", "epochs": 2, "batch_size": 8, "optimizer": OptimizerConfig(learning_rate=1e-2)}
weak, strong = Learner(str(HERE / "renamed"), **how), Learner(str(HERE / "strong"), **how)

experiment = Experiment(
    name="mine",
    tasks=(TaskConfig(str(HERE / "mine.py:my_task"), supervisor=32, transfer=32, validation=16, test=40),),
    supervisors={"committee": mine.Committee(weak, strong)},
    students={"strong": strong},
    methods={
        "naive": Method(),
        "mine": Method(Train(str(HERE / "mine.py:my_loss"), {"sharpness": 2.0})),
        "kept": Method(labels=(Transform(str(HERE / "mine.py:my_transform"), {"least": 0.55}),)),
        "nearest": Method(mine.NearestMean(power=2.0)),
    },
    seeds=(0,),
    out=str(HERE / "runs"),
)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with models and a task of their own; what it registers is forgotten afterwards."""
    for registry in (COMMANDS, FAMILIES, FIGURES, METRICS, SOURCES, TRACKERS):
        monkeypatch.setattr(registry, "_items", dict(registry._items))
    make.llama(tmp_path / "strong", seed=1)
    renamed = make.llama(tmp_path / "renamed", layers=1, width=8)
    make.rename(renamed, "renamed", {"model.embed_tokens": "model.wte"})
    rows = [json.loads(line) for line in make.reviews(tmp_path / "reviews.jsonl").read_text().splitlines()]
    (tmp_path / "reviews.txt").write_text("".join(f"{row['label']} {row['text']}\n" for row in rows))
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "experiment.py").write_text(CONFIG)
    return tmp_path


@pytest.mark.slow
def test_one_file_adds_one_of_each_kind(folder, capsys):
    pytest.importorskip("matplotlib")
    assert cli.main(["run", str(folder / "experiment.py"), "--track", str(folder / "mine.py:Recorder")]) == cli.OK
    table = capsys.readouterr().out
    found = storage.load(folder / "runs" / "mine")
    assert [summary.method for summary in found.summaries] == ["naive", "mine", "kept", "nearest"]
    assert all(name in table for name in ("naive", "mine", "kept", "nearest"))
    # The metric is in results and report, the figure beside it.
    assert 0.5 <= found.cells[0].scores["sharpness"]["student"] <= 1
    assert "sharpness" in (folder / "runs" / "mine" / "report.md").read_text()
    assert (folder / "runs" / "mine" / "my_figure.csv").read_text().startswith("method,sharpness")
    # The tracker was told every step of every stage that trains.
    lines = json.loads((folder / "tracked.json").read_text())
    assert (lines[0], lines[-1]) == (["start", "mine"], ["finish", True])
    planned = api.Planned([serialize.experiment(found.config)])
    trained = {stage.name for stage in planned.stages if planned.store.read(stage.name).history.losses}
    assert {line[1] for line in lines if line[0] == "log"} == trained
    # Another prefix names the source of the same examples: nothing is computed again but what the task's name decides.
    swapped = [str(folder / "experiment.py"), "--tasks.0.source", f"lines:{folder / 'reviews.txt'}"]
    assert cli.main(["run", *swapped, "--dry-run"]) == cli.OK
    assert "to do " not in capsys.readouterr().out.split("stages:")[0]
    assert cli.main(["greet", "reader"]) == cli.OK
    assert capsys.readouterr().out == "Hello, reader!\n"


def test_a_changed_file_changes_what_it_decides_and_nothing_else(folder):
    def keys():
        experiment = references.named(str(folder / "experiment.py"), "experiment")
        return {cell.method: cell.stages["student"].key for cell in api.Planned([experiment]).cells[0]}

    before = keys()
    changed = MINE.replace('"""Drops unsure labels."""', '"""Drops labels that are unsure."""')
    (folder / "mine.py").write_text(changed)
    after = keys()
    assert all(before[method] != after[method] for method in before), "its supervisor is of that file, too"


def test_results_rebuild_the_very_experiment(folder):
    experiment = references.named(str(folder / "experiment.py"), "experiment")
    rebuilt = serialize.experiment(json.loads(json.dumps(serialize.to_json(experiment))))
    assert dataclasses.asdict(rebuilt) == dataclasses.asdict(experiment)
    assert type(rebuilt.supervisors["committee"]).__name__ == "Committee"
