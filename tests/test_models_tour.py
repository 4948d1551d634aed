"""A model of every family, saved as people do, is loaded, trained, exported and scored alike by transformers."""

import dataclasses

import jax
import numpy as np
import pytest

from tests import family_models, tiny
from tests.test_models_adapters import adapter
from w2s_jax import losses, models
from w2s_jax.models import export
from w2s_jax.train.finetune import finetune
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import LoopSettings
from w2s_jax.train.optimizer import OptimizerConfig

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ["good film", "the bad plot", "a great film was fine", "awful"]
LABELS = np.random.default_rng(0).dirichlet(np.ones(3), len(TEXTS)).astype(np.float32)
STEP = OptimizerConfig(learning_rate=1e-2)
LAST = LoopSettings(evaluations=1, select="final")


def trained_and_exported(source, out, **learner):
    """The logits after two steps, and those of transformers on what is exported of it: a new head starts at zero, and
    lets nothing through to the backbone in the first."""
    student = Learner(source, batch_size=len(TEXTS), epochs=2, optimizer=STEP, loop=LAST, **learner)
    start = models.load(source)
    data = {"train": (TEXTS, LABELS), "validation": (TEXTS, LABELS), "predict": {"test": TEXTS}}
    found = finetune(student, start, losses.bind(losses.cross_entropy), seed=0, **data)
    head = found.params["head"] if student.head == "pretrained" else found.params["head"]["kernel"]
    alike = export.write(
        dataclasses.replace(start, params=found.params["backbone"]), out, head=head, pooling=student.pooling
    )
    kind = "AutoModelForSequenceClassification" if alike else "AutoModel"
    twin, report = getattr(transformers, kind).from_pretrained(out, output_loading_info=True)
    missing = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
    assert not any([missing, report["mismatched_keys"], report["error_msgs"]])
    rows = start.tokenizer.encode(TEXTS)
    theirs = []
    with torch.no_grad():
        for row in rows:
            given = twin.eval()(torch.tensor([row]))
            mean = None if alike else given.last_hidden_state[0].mean(0).numpy()
            theirs.append(given.logits[0].numpy() if alike else mean @ np.load(out / "head.npy"))
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), found.params["backbone"], dict(start.params))
    assert max(jax.tree.leaves(moved)) > 1e-3
    return found.logits["test"], np.stack(theirs)


@pytest.mark.parametrize("name", family_models.usual(family_models.NAMES, "mistral", "qwen3", "gemma2", "xlm-roberta"))
def test_shards_and_an_adapter_of_them(tmp_path, name):
    """The adapter is merged when it is read; an encoder keeps the head that it was published with."""
    encoder = family_models.is_encoder(name)
    twin = family_models.twin(name, "AutoModelForSequenceClassification" if encoder else None, num_labels=3)
    base = family_models.saved(tmp_path / "base", twin, shards=2)
    merged = adapter(tmp_path / "adapter", base, twin, family_models.linear_maps(twin))
    for module, array in merged.items():
        twin.get_parameter(module).data = torch.tensor(array.astype(np.float32))
    expected = models.load(family_models.saved(tmp_path / "merged", twin)).params
    found = models.load(str(tmp_path / "adapter")).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), dict(found), dict(expected))
    head = {"head": "pretrained"} if encoder else {}
    ours, theirs = trained_and_exported(str(tmp_path / "adapter"), tmp_path / "out", **head)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", family_models.usual(family_models.GGUF, "qwen2", "qwen3", "gemma2", "gpt_neox"))
def test_a_gguf_file(tmp_path, name):
    pytest.importorskip("gguf")
    from tests import gguf_writing

    twin = family_models.twin(name)
    expected = models.load(family_models.saved(tmp_path / "folder", twin)).params
    source = gguf_writing.written(tmp_path / "m.gguf", twin)
    tiny.tokenizer(tmp_path / "tokenizer.json")
    found = models.load(str(source)).params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=3e-7), dict(found), dict(expected))
    ours, theirs = trained_and_exported(str(source), tmp_path / "out")
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
