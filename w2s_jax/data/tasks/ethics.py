"""The ETHICS data sets (Hendrycks et al. 2021): duties, justice, virtue, utility."""

from collections.abc import Iterable

from w2s_jax.data.example import Example, coin, digest
from w2s_jax.data.records import Record, class_field, text_field
from w2s_jax.data.sources import Hub
from w2s_jax.data.tasks.base import CONVERTED, TASKS, Card, Format, Task
from w2s_jax.runtime.errors import UserError


def deontology(record: Record) -> Iterable[Example]:
    """Is the excuse, or the duty, a reasonable one? Examples of one scenario stay together."""
    scenario, excuse = text_field(record, "scenario").strip(), text_field(record, "excuse").strip()
    text = f"{scenario}\n\n{excuse}\n\nIs this morally reasonable?"
    yield Example(digest(text), text, class_field(record, "label"), digest(scenario))


def justice(record: Record) -> Iterable[Example]:
    """Is what the scenario says just? Variants that differ only in the reason (from "because" on) stay together."""
    scenario = text_field(record, "scenario").strip()
    text = f"{scenario}\n\nIs this just?"
    yield Example(digest(text), text, class_field(record, "label"), digest(scenario.split(" because ")[0]))


def virtue(record: Record) -> Iterable[Example]:
    """Does the person show the trait? The source has `scenario [SEP] trait`; traits of one scenario stay together."""
    scenario, separator, trait = text_field(record, "scenario").partition("[SEP]")
    if not separator:
        raise UserError("a virtue scenario must be written `scenario [SEP] trait`")
    text = f"{scenario.strip()}\n\nDoes this show the trait: {trait.strip()}?"
    yield Example(digest(text), text, class_field(record, "label"), digest(scenario.strip()))


def utilitarianism(record: Record) -> Iterable[Example]:
    """Is the first scenario the more pleasant one? Which comes first is decided by a hash of both."""
    better = text_field(record, "baseline").strip()
    worse = text_field(record, "less_pleasant").strip()
    label = coin(*sorted((better, worse)))
    first, second = (better, worse) if label else (worse, better)
    text = f"Scenario 1: {first}\nScenario 2: {second}\n\nIs scenario 1 more pleasant?"
    yield Example(digest(text), text, label, digest(better))


def _ethics(name: str, description: str, format: Format, records: int) -> None:
    source = Hub("hendrycks/ethics", (f"{name}/*/*.parquet",), CONVERTED)
    TASKS.register(Task(f"ethics_{name}", description, source, format, card=Card("MIT", records)))


_ethics("deontology", "is the excuse or the duty reasonable?", deontology, 25_296)
_ethics("justice", "is it just?", justice, 26_547)
_ethics("virtue", "does the person show the trait?", virtue, 38_000)
_ethics("utilitarianism", "is the first scenario more pleasant?", utilitarianism, 22_815)
