"""What stages are made from, each read once a process: examples, splits, models, losses, and their hashes."""

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from w2s_jax import config, label_transforms, losses, models
from w2s_jax.config import Advised, Ensemble, Errors, Given, LabelStep, Method, Recursive, Supervisor, TaskConfig
from w2s_jax.data import arrays, formulas, sources, tasks
from w2s_jax.data import splits as data_splits
from w2s_jax.data.example import Example
from w2s_jax.data.formulas import Tree
from w2s_jax.data.splits import Split, Splits, SplitSizes
from w2s_jax.data.tasks import Task
from w2s_jax.data.tokens import Text
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.train.learner import Learner


def named_task(name: str) -> Task:
    """A task of `w2s_jax.data.tasks`, of the user's own Python file, or of a local table or arrays."""
    if name.endswith(arrays.SUFFIX):
        return _arrays_task(name)
    reference = config.split_reference(name)
    return tasks.get(name) if reference is None else config.named(*reference, kind=Task)


def _arrays_task(path: str) -> Task:
    n_classes = 1 + max(example.label for example in arrays.examples(path))
    return Task(Path(path).name, "your own arrays", sources.Local(path), lambda record: (), max(n_classes, 2))


@functools.lru_cache(maxsize=8)
def examples(name: str, source: str | None, pool: int | None, balance: bool) -> tuple[Example, ...]:
    """The task's examples, or whole groups drawn from them until there are `pool`, the same for every seed."""
    found = arrays.examples(name) if name.endswith(arrays.SUFFIX) else tasks.load_task(named_task(name), source)
    n_classes = named_task(name).n_classes if balance else None
    return tuple(found if pool is None else data_splits.draw_pool(found, pool, n_classes))


def _examples(task: TaskConfig) -> tuple[Example, ...]:
    return examples(task.name, task.source, task.pool, task.balance)


@functools.lru_cache(maxsize=8)
def texts(task: TaskConfig) -> tuple[Text, ...]:
    """Every text that any seed can draw."""
    if isinstance(task, config.Atoms):
        return tuple(sorted({text for tree in trees(task.whole).values() for text in formulas.atoms(tree)}))
    return tuple(example.text for example in _examples(task))


@functools.lru_cache(maxsize=64)
def splits(task: TaskConfig, seed: int) -> Splits:
    """The four splits that this seed draws."""
    if isinstance(task, config.Atoms):
        return _atom_splits(task, splits(task.whole, seed))
    n_classes = named_task(task.name).n_classes
    sizes = SplitSizes(task.supervisor, task.transfer, task.validation, task.test)
    if task.shrink:
        sizes = data_splits.fitting(_examples(task), sizes, task.balance, n_classes)
    return data_splits.make_splits(list(_examples(task)), sizes, seed, task.balance, n_classes, task.easy)


def atoms(task: TaskConfig) -> config.Atoms:
    """The parts of a task's rows, as a task of their own.

    Raises:
      UserError: its texts do not come apart, or not into those of a task of two classes.
    """
    parts = getattr(named_task(task.name), "parts", None)
    if parts is None:
        known = ", ".join(sorted(name for name, each in tasks.TASKS.items() if each.parts is not None))
        raise UserError(f"the texts of task {task.name!r} do not come apart; those of {known} do: see data.tasks.Task")
    if {named_task(name).n_classes for name in (task.name, parts.task)} != {2}:
        raise UserError(f"task {task.name!r} and its parts', {parts.task!r}, must both have two classes")
    sizes = {name: getattr(task, name) for name in SplitSizes._fields}
    return config.Atoms(parts.task, **sizes, whole=task)


@functools.lru_cache(maxsize=8)
def trees(task: TaskConfig) -> dict[Text, Tree]:
    """How every text that any seed can draw comes apart."""
    parts = named_task(task.name).parts
    assert parts is not None
    return {text: parts.tree(str(text)) for text in texts(task)}


def _atom_splits(task: config.Atoms, whole: Splits) -> Splits:
    """The different atoms of each split's rows, in order: of the supervisor's at most as many as it has rows."""
    known = {example.text: example for example in examples(task.name, None, None, False)}
    made = trees(task.whole)

    def of(rows: Split, most: int | None = None) -> Split:
        groups: dict[str, str] = {}
        for text, group in zip(rows.texts, rows.groups, strict=True):
            for atom in formulas.atoms(made[text]):
                groups.setdefault(atom, group)
        unknown = next((atom for atom in groups if atom not in known), None)
        if unknown is not None:
            raise UserError(f"a part of task {task.whole.name!r} is no text of task {task.name!r}: {unknown!r}")
        found = [known[atom] for atom in list(groups)[:most]]
        labels = np.array([example.label for example in found], np.int32)
        return Split(tuple(e.id for e in found), tuple(groups)[:most], labels, tuple(groups.values())[:most])

    learned = of(whole.supervisor, len(whole.supervisor))
    return Splits(learned, of(whole.transfer), of(whole.validation), of(whole.test), whole.n_classes)


@functools.lru_cache(maxsize=64)
def _bound(function: Callable[..., Any], options: str) -> Callable[..., Any]:
    return losses.bind(function, **json.loads(options))


def loss(method: Method) -> Callable[..., Any]:
    """The method's loss with its hyperparameters; the same method gives the same function, so it compiles once."""
    return _bound(loss_function(method.loss), files.canonical(dict(method.options)))


def check_loss(method: Method, n_classes: int) -> None:
    """Traces the loss on a small batch, without computing anything.

    Raises:
      UserError: it cannot be traced, or does not give one value a row.
    """
    batch = jax.ShapeDtypeStruct((4, n_classes), np.float32)
    step, where = jax.ShapeDtypeStruct((), np.int32), jax.ShapeDtypeStruct((4,), np.bool_)
    traced = functools.partial(loss(method), total_steps=10)
    try:
        jax.eval_shape(lambda *arrays: traced(*arrays[:2], step=arrays[2], where=arrays[3]), batch, batch, step, where)
    except (TypeError, ValueError, IndexError, AttributeError, NameError) as error:
        raise UserError(
            f"loss {method.loss!r} fails on logits [4, {n_classes}]: {str(error).splitlines()[0]}"
        ) from error


def loss_function(name: str) -> Callable[..., Any]:
    """A loss of `w2s_jax.losses`, or one from the user's own file."""
    reference = config.split_reference(name)
    if reference is None:
        return losses.get(name)
    found = config.named(*reference)
    if not callable(found):
        raise UserError(f"{name} is not a function (logits, targets, *, ...) -> [B]")
    return found


def loss_identity(method: Method) -> dict[str, Any]:
    """What the key of a stage says of its loss: a user's loss counts with the text of its file.

    A hyperparameter left at its default counts with its value, so that writing a default out changes nothing.
    """
    function = loss_function(method.loss)
    loss(method)
    reference = config.split_reference(method.loss)
    name = method.loss if reference is None else f"{reference[1]}@{files.sha256_file(Path(reference[0]))}"
    return {"name": name, "options": _with_defaults(function, method.options)}


def _with_defaults(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.items()
    defaults = {key: p.default for key, p in parameters if isinstance(p.default, int | float | str | bool)}
    return {**defaults, **options}


def answers(task: TaskConfig, n_classes: int) -> tuple[str, ...]:
    """What the classes are called when a model is asked or told about them."""
    return getattr(named_task(task.name), "answers", ()) or (
        ("No", "Yes") if n_classes == 2 else tuple(map(str, range(n_classes)))
    )


def templates(task: TaskConfig) -> tuple[str, ...]:
    """How a model is asked about the task."""
    return getattr(named_task(task.name), "templates", tasks.TEMPLATES)


def asking_fingerprint(task: TaskConfig) -> str:
    """SHA-256 of the task's answers and templates."""
    names = answers(task, named_task(task.name).n_classes)
    return files.sha256_text(files.canonical([list(names), list(templates(task))]))


def label_step(step: LabelStep) -> Callable[..., Any]:
    """The step of label work with its hyperparameters: `(weak [n, c], **context) -> label_transforms.Labels`."""
    return label_transforms.bind(_label_function(step), **step.options)


def label_context(step: LabelStep) -> tuple[str, ...]:
    """What the step wants to see beside the weak labels; see `w2s_jax.label_transforms`."""
    return label_transforms.context_of(_label_function(step))


def _label_function(step: LabelStep) -> Callable[..., Any]:
    reference = config.split_reference(step.name)
    return label_transforms.LABEL_TRANSFORMS.find(step.name) if reference is None else config.named(*reference)


def _label_identity(step: LabelStep) -> dict[str, Any]:
    reference = config.split_reference(step.name)
    name = step.name if reference is None else f"{reference[1]}@{files.sha256_file(Path(reference[0]))}"
    return {"name": name, "options": _with_defaults(_label_function(step), step.options)}


def method_identity(method: Method) -> dict[str, Any]:
    """What the key of a stage says of its method."""
    if method.learn != "train":
        return {"learn": method.learn, "options": dict(method.options), "hint": method.hint}
    steps = [_label_identity(step) for step in method.labels]
    return {"learn": method.learn, "loss": loss_identity(method), "labels": steps, "hint": method.hint}


def maker_identity(maker: Supervisor) -> dict[str, Any]:
    """What the key of a stage says of what makes its labels; those that another needs count as its needs."""
    match maker:
        case Ensemble(how=how):
            return {"ensemble": how}
        case Errors(kind=kind):
            return {"errors": kind, "confidences": "dealt"}
        case Given(probs=probs):
            return {"given": given_fingerprint(probs)}
        case config.Decomposed():
            return {"decomposed": True}
        case Advised(judge=judge):
            return {"advised": advice_identity(maker), "shuffled": maker.shuffled, **maker_identity(judge)}
        case Recursive(advised=advised, reward_model=reward_model, level=level, candidates=candidates):
            rated = {"level": level, "candidates": candidates, "reward_model": maker_identity(reward_model)}
            return {"recursive": rated, **maker_identity(advised)}
    learner = config.asdict(maker)
    del learner["loop"]["checkpoint_seconds"]
    learner["model"] = model_fingerprint(maker.model)
    if maker.preference is None:  # as keys were before there was one
        del learner["preference"]
    if maker.output == "head":  # as keys were before there was another output
        del learner["output"], learner["template"]
    return {"learner": learner}


def advice_identity(maker: Advised) -> dict[str, Any]:
    """What decides an advisor's transcripts, beside texts and answers."""
    advisor = {name: getattr(maker.advisor, name) for name in ("max_tokens", "too_long", "dtype")}
    options = {name: getattr(maker, name) for name in ("protocol", "turns", "tokens", "temperature", "seed", "heading")}
    return {"advisor": {"model": model_fingerprint(maker.advisor.model), **advisor}, **options}


def model_fingerprint(model: str) -> str:
    """SHA-256 of a model's files, or of the features that stand for one."""
    if arrays.is_array(model):
        return array_fingerprint(model)
    return models.fingerprint(model)


def given_fingerprint(reference: str) -> str:
    """SHA-256 of a supervisor's labels: of an array, or of a table that people filled in."""
    if arrays.is_array(reference):
        return array_fingerprint(reference)
    if not Path(reference).is_file():
        raise UserError(f"{reference} does not exist")
    return files.sha256_file(Path(reference))


@functools.lru_cache(maxsize=32)
def array_fingerprint(reference: str) -> str:
    """SHA-256 of the file that holds the array, and its name there."""
    path, _, name = reference.rpartition(":")
    arrays.read(reference)
    return files.sha256_text(files.canonical([files.sha256_file(Path(path)), name]))


def model_size(learner: Learner) -> int | None:
    """Parameters of the backbone as far as it is run; None where only features are known."""
    return None if arrays.is_array(learner.model) else models.size(learner.model, read_layer=learner.read_layer)


def truth(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Ground truth as one-hot class probabilities, float32 [N, C]."""
    return np.eye(n_classes, dtype=np.float32)[labels]
