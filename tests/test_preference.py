"""DPO and SimPO: a language model's own probabilities as the scores of an example's candidates."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny as make
from tests.tiny import pairs, untied
from w2s_jax import api, losses, models
from w2s_jax.config import MeshConfig, Method
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.evaluation import export
from w2s_jax.models import params as parameter_sets
from w2s_jax.models.export import _backbone
from w2s_jax.models.language_model import LanguageModel
from w2s_jax.models.layers import Lora
from w2s_jax.models.packing import Packing
from w2s_jax.models.preference import Preference, reply_start
from w2s_jax.plan import compilation
from w2s_jax.runtime import chips, sharding
from w2s_jax.runtime.errors import UserError
from w2s_jax.students import Train
from w2s_jax.train.finetune import finetune
from w2s_jax.train.learner import Generative, Learner
from w2s_jax.train.loop import LoopSettings
from w2s_jax.train.optimizer import OptimizerConfig

DPO, SIMPO = Preference("dpo", beta=0.7), Preference("simpo", beta=2.0)
SLOW = [pytest.param(each, "full", marks=pytest.mark.slow) for each in (DPO, SIMPO)]

# Prompts and their two replies, which differ from the first token on, as ids.
ROWS = [([3, 1, 4], [1, 5, 9, 2], [6, 5]), ([2, 7], [3, 1], [8, 8, 4]), ([5, 5, 5, 9], [7], [1, 2])]
TARGETS = np.array([[0.3, 0.7], [1.0, 0.0], [0.55, 0.45]], np.float32)


def texts_of(rows):
    """Every candidate as a padded row of ids, the first's two, then the second's two, and so on."""
    ids = [prompt + reply for prompt, *replies in rows for reply in replies]
    tokens = np.full((len(ids), max(map(len, ids)) + 2), 11, np.int32)
    for place, row in enumerate(ids):
        tokens[place, : len(row)] = row
    return tokens, np.array([len(row) for row in ids], np.int32)


TOKENS, LENGTHS = texts_of(ROWS)


def build(folder, preference, **options):
    return models.build_preference_model(models.load(str(folder)), preference, 2, rng=jax.random.key(0), **options)


def shaken(params, *, only="", by=0.1):
    """Trained, so to speak."""
    keys = iter(jax.random.split(jax.random.key(1), len(jax.tree.leaves(params))))

    def move(path, leaf):
        key = next(keys)
        return leaf + by * jax.random.normal(key, leaf.shape) if only in parameter_sets.path_of(path) else leaf

    return jax.tree_util.tree_map_with_path(move, params)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("preference", [DPO, SIMPO], ids=["dpo", "simpo"])
def test_loss_and_gradient_are_those_of_the_papers_in_torch(tmp_path, preference, tied):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    folder = make.llama(tmp_path / "m") if tied else untied(tmp_path / "m")
    module, params = build(folder, preference)
    reference = params.pop("reference", None)
    assert (reference is not None) == (preference is DPO)
    moved = shaken(params)

    def ours(trainable):
        whole = trainable if reference is None else {**trainable, "reference": reference}
        logits = module.apply({"params": whole}, TOKENS, LENGTHS).reshape(-1, 2)
        return jnp.mean(losses.cross_entropy(logits, jnp.asarray(TARGETS)))

    loss, gradient = jax.jit(jax.value_and_grad(ours))(moved)

    theirs, before = (AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32) for _ in range(2))
    prefix = "" if tied else "lm_head.weight"
    state = {f"model.{name}": torch.tensor(array) for name, array in _backbone(moved["backbone"], module.config)}
    if not tied:
        state[prefix] = torch.tensor(np.asarray(moved["unembed"]["embedding"]))
    missing, extra = theirs.load_state_dict(state, strict=False)
    assert (missing, extra) == (["lm_head.weight"] if tied else [], [])

    def log_prob(model, prompt, reply):
        logits = model(torch.tensor([prompt + reply])).logits[0].log_softmax(-1)
        return sum(logits[len(prompt) + i - 1, token] for i, token in enumerate(reply))

    total = 0.0
    for (prompt, first, second), (p_first, p_second) in zip(ROWS, TARGETS.tolist(), strict=True):
        if preference is DPO:
            with torch.no_grad():
                old = log_prob(before, prompt, second) - log_prob(before, prompt, first)
            margin = 0.7 * (log_prob(theirs, prompt, second) - log_prob(theirs, prompt, first) - old)
        else:
            second_mean = log_prob(theirs, prompt, second) / len(second)
            margin = 2.0 * (second_mean - log_prob(theirs, prompt, first) / len(first))
        sigmoid = torch.nn.functional.logsigmoid
        total = total - (p_second * sigmoid(margin) + p_first * sigmoid(-margin)) / len(ROWS)
    total.backward()
    assert abs(float(loss) - np.log(2)) > 0.01
    np.testing.assert_allclose(loss, total.item(), rtol=1e-4)
    found = {f"model.{name}": array for name, array in _backbone(gradient["backbone"], module.config)}
    if not tied:
        found["lm_head.weight"] = np.asarray(gradient["unembed"]["embedding"])
    expected = {name: each.grad.numpy() for name, each in theirs.named_parameters()}
    assert found.keys() == expected.keys()
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("lora", [None, Lora(2)])
def test_before_training_every_dpo_score_is_zero(tmp_path, lora):
    module, params = build(make.llama(tmp_path / "m"), DPO, lora=lora)
    score = make.applied(module)
    np.testing.assert_array_equal(score({"params": params}, TOKENS, LENGTHS), np.zeros((6, 1)))
    moved = shaken(params, only="lora_b" if lora else "backbone/layers")
    assert np.abs(np.asarray(score({"params": moved}, TOKENS, LENGTHS))).max() > 1e-2


def test_with_adapters_the_reference_is_the_model_without_them(tmp_path):
    folder, lora = make.llama(tmp_path / "m"), Lora(2)
    module, params = build(folder, DPO, lora=lora)
    assert "reference" not in params
    moved = shaken(params, only="lora_b")
    plain, before = models.build_language_model(models.load(str(folder)), rng=jax.random.key(0))
    start = reply_start(TOKENS, LENGTHS, 2)
    new, old = (
        make.applied(plain)({"params": each}, TOKENS, LENGTHS, start, method="score")[:, :1]
        for each in (parameter_sets.merge_lora(moved, lora.scale), before)
    )
    np.testing.assert_allclose(make.applied(module)({"params": moved}, TOKENS, LENGTHS), 0.7 * (new - old), atol=1e-4)


def test_a_reply_begins_where_candidates_part():
    rng = np.random.default_rng(0)
    for candidates in (2, 3):
        tokens, lengths = rng.integers(0, 2, (60, 7)).astype(np.int32), rng.integers(0, 8, 60).astype(np.int32)
        found = np.asarray(reply_start(tokens, lengths, candidates)).reshape(-1, candidates)
        for row, starts in enumerate(found):
            texts = [list(tokens[i, : lengths[i]]) for i in range(row * candidates, (row + 1) * candidates)]
            shared = 0
            while all(len(text) > shared for text in texts) and len({text[shared] for text in texts}) == 1:
                shared += 1
            shortest = min(map(len, texts))
            assert list(starts) == [max(min(shared, shortest - 1), 0)] * candidates


def test_a_reply_that_another_begins_with_still_has_a_token(tmp_path):
    tokens, lengths = texts_of([([3, 1], [4], [4, 5])])
    module, params = build(make.llama(tmp_path / "m"), SIMPO)
    language, own = models.build_language_model(models.load(str(tmp_path / "m")), rng=jax.random.key(0))
    log_probs = jax.nn.log_softmax(language.apply({"params": own}, tokens, lengths))
    first, second = log_probs[1, 1, 4], log_probs[1, 2, 5]
    expected = 2.0 * np.array([[first], [(first + second) / 2]])
    np.testing.assert_allclose(make.applied(module)({"params": params}, tokens, lengths), expected, rtol=1e-5)


def test_the_prompts_log_probabilities_cancel_in_dpo(tmp_path):
    """The scores of whole dialogues differ by as much as those of the replies alone."""
    module, params = build(make.llama(tmp_path / "m"), DPO)
    reference = params["reference"]
    moved = {**shaken({"backbone": params["backbone"]}), "reference": reference}
    scores = make.applied(module)({"params": moved}, TOKENS, LENGTHS).reshape(-1, 2)
    plain = LanguageModel(module.config)
    whole = [
        plain.apply({"params": each}, TOKENS, LENGTHS, np.zeros(6, np.int32), method="score")[:, 0].reshape(-1, 2)
        for each in ({"backbone": moved["backbone"]}, reference)
    ]
    ratio = 0.7 * (whole[0] - whole[1])
    assert np.abs(np.asarray(ratio - scores)).max() > 1e-2, "the prompts do count in whole dialogues"
    np.testing.assert_allclose(ratio[:, 1] - ratio[:, 0], scores[:, 1] - scores[:, 0], atol=1e-4)


@pytest.mark.parametrize("preference", [DPO, SIMPO], ids=["dpo", "simpo"])
@pytest.mark.parametrize("lora", [None, Lora(2)])
def test_padding_and_packing_change_no_score(tmp_path, preference, lora):
    module, params = build(make.llama(tmp_path / "m"), preference, lora=lora)
    moved = {**params, "backbone": shaken(params["backbone"])}
    expected = make.applied(module)({"params": moved}, TOKENS, LENGTHS)
    wide = np.pad(TOKENS, ((0, 2), (0, 5)), constant_values=7)
    lengths = np.pad(LENGTHS, (0, 2))
    for packing in (None, Packing(1, 40), Packing(2, 24)):
        found = make.applied(module)({"params": moved}, wide, lengths, packing=packing)
        np.testing.assert_allclose(found[:6], expected, rtol=1e-4, atol=1e-5)
        assert np.isfinite(found).all(), "rows of padding too"


REPLIES = [
    (f"the {topic} {first}", f"the {topic} {second}")
    for topic in ("film was", "plot is very")
    for first, second in (("good", "bad"), ("bad film", "great"), ("poor", "fine fine plot"), ("awful a", "not a"))
]
# None is (1/2, 1/2): DPO begins there, and Adam would make steps of what rounding leaves of a gradient of 0.
LABELS = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4]] * 2, np.float32)


def learner(folder, **changes):
    settings = {"batch_size": 8, "optimizer": OptimizerConfig(learning_rate=1e-2), "preference": DPO, "epochs": 3}
    return Learner(str(untied(folder)), **{**settings, **changes})


def trained(student, mesh=None, **more):
    labelled = REPLIES, LABELS
    return finetune(
        student,
        models.load_sharded(student.model, mesh),
        losses.bind(losses.cross_entropy),
        train=labelled,
        validation=labelled,
        predict={"test": REPLIES[:5]},
        seed=0,
        mesh=mesh,
        **more,
    )


def assert_same(one, other, **tolerance):
    np.testing.assert_allclose(one.logits["test"], other.logits["test"], **tolerance)
    np.testing.assert_allclose(one.history.losses, other.history.losses, **tolerance)


@pytest.mark.parametrize(("preference", "parameters"), [(DPO, "lora"), *SLOW], ids=str)
@pytest.mark.slow
def test_training_is_the_same_in_microbatches_and_on_a_mesh(tmp_path, preference, parameters):
    student = learner(tmp_path / "m", preference=preference, parameters=parameters)
    whole = trained(student)
    if preference is DPO:
        np.testing.assert_allclose(whole.history.losses[0], np.log(2), rtol=1e-6)
    assert whole.history.losses[-1] < whole.history.losses[0] - 0.01
    assert not any(path.startswith("reference/") for path in paths(whole.params)), "it is not kept"
    if parameters == "lora":
        assert all("/lora_" in path for path in paths(whole.params))
    assert_same(trained(dataclasses.replace(student, microbatches=2)), whole, rtol=1e-3, atol=1e-4)
    assert_same(trained(student, sharding.make_mesh(2, 2, 2)), whole, rtol=2e-3, atol=2e-4)


def paths(tree):
    return [parameter_sets.path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(tree)]


@pytest.mark.parametrize("parameters", ["full", *make.slow("lora")])
@pytest.mark.slow
def test_resumed_it_ends_with_the_same_bits(tmp_path, parameters):
    class Killed(Exception):
        pass

    def kill(step, total, loss):
        if step == 3:
            raise Killed

    student = learner(tmp_path / "m", parameters=parameters, batch_size=4, loop=LoopSettings(checkpoint_seconds=0))
    with pytest.raises(Killed):
        trained(student, folder=tmp_path / "work", progress=kill)
    assert_same(trained(student, folder=tmp_path / "work"), trained(student), rtol=0, atol=0)


def compared(tmp_path, **learners):
    """An experiment on pairs of replies with a reward model as the supervisor."""
    task = TaskConfig(pairs(tmp_path), supervisor=16, transfer=16, validation=8, test=16)
    plan = make.experiment(tmp_path, tasks=(task,))
    strong = plan.students["strong"]
    students = {name: dataclasses.replace(strong, **fields) for name, fields in learners.items()}
    return dataclasses.replace(plan, students=students)


@pytest.mark.slow
def test_students_and_ceilings_in_the_graph(tmp_path):
    generative = Generative(batch_size=8, learning_rate=1e-3)
    plan = compared(
        tmp_path,
        dpo={"preference": DPO},
        simpo={"preference": SIMPO, "parameters": "lora"},
        after_text={"preference": DPO, "generative": generative},
    )
    untied(tmp_path / "strong")
    methods = {"naive": Method(), "confidence": Method(Train("confidence")), "probe": Method(readout="truth_probe")}
    plan = dataclasses.replace(plan, methods=methods)
    assert len(make.run(plan).cells) == 9
    store = api.open_store(plan)
    for cell in make.cells(plan):
        stage = cell.stages["student"]
        history = store.read(stage.name).history
        if cell.student != "simpo" and cell.method == "naive":
            weak = store.read(stage.teacher.name).predictions
            assert history.losses[0] == pytest.approx(np.log(2), abs=1e-6)
            assert np.abs(weak.probs - 0.5).max() > 0.01
        if cell.student == "dpo" and cell.method == "naive":
            assert sorted(store.params(stage.name)) == ["backbone", "unembed"]
            exported(store, stage, tmp_path / "out")
        if cell.student == "after_text" and cell.method != "probe":
            assert stage.body.role == "adapted"
            assert "unembed" not in store.params(stage.body.name)


def exported(store, stage, out):
    """The folder is the trained policy: its head too."""
    export.export(store.root / stage.name, out, stage.learner.model)
    _, params = models.build_language_model(models.load(str(out)), rng=jax.random.key(0))
    kept = store.params(stage.name)
    jax.tree.map(np.testing.assert_array_equal, dict(params), kept)
    before = models.unembedding(stage.learner.model)
    assert np.abs(kept["unembed"]["embedding"] - before).max() > 1e-4


def test_a_task_of_one_text_and_an_encoder_are_refused_before_anything_starts(tmp_path):
    plan = make.experiment(tmp_path)
    strong = dataclasses.replace(plan.students["strong"], preference=DPO)
    with pytest.raises(UserError, match="examples are one text: choose a task such as hh_pairs"):
        make.run(dataclasses.replace(plan, students={"strong": strong}))
    bert = tmp_path / "bert"
    encoder(bert)
    plan = compared(tmp_path, bert={"model": str(bert), "preference": DPO})
    with pytest.raises(UserError, match="is an encoder: it has no language-model head; choose a decoder"):
        make.run(plan)
    assert not list(tmp_path.glob("runs/stages/*/manifest.json"))


def encoder(folder):
    """A config and a tokenizer, which is all that is read of a model that is refused."""
    from w2s_jax.runtime import files

    make.llama(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"vocab_size": len(make.WORDS) + 1, "max_position_embeddings": 64, "type_vocab_size": 2}
    more["layer_norm_eps"] = 1e-12
    files.write_json(folder / "config.json", {"model_type": "bert", "hidden_act": "gelu", **sizes, **more})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parameters": "head"}, "no head that could train alone"),
        ({"parameters": "probe"}, "no head that could train alone"),
        ({"read_layer": 1}, "reads every layer"),
        ({"pooling": "mean"}, "reads every layer"),
    ],
)
def test_learners_that_make_no_sense(fields, message):
    with pytest.raises(UserError, match=message):
        Learner(preference=DPO, **fields)


@pytest.mark.parametrize(("score", "beta"), [("ipo", 0.1), ("dpo", 0.0), ("simpo", float("nan"))])
def test_preferences_that_make_no_sense(score, beta):
    with pytest.raises(UserError, match="'dpo' or 'simpo', with beta above 0"):
        Preference(score, beta)


@pytest.mark.parametrize(
    ("preference", "parameters", "passes"), [(DPO, "full", 4), (DPO, "lora", 3), (SIMPO, "full", 3)]
)
def test_a_plan_counts_candidates_the_head_and_the_reference(tmp_path, preference, parameters, passes):
    model = str(make.llama(tmp_path / "m", layers=3, width=32, vocabulary=64))
    student = Learner(model, batch_size=16, max_tokens=32, preference=preference, parameters=parameters)
    request = compilation.Request("train", student, Train(), 2, MeshConfig(data=8), chips.topology("local"), 2)
    found = compilation.compile_here(request)
    kernels = 3 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)
    assert found.model_flops == passes * 2 * 16 * 32 * (2 * (kernels + 64 * 32) + 3 * 4 * 32 * 33 / 2)
    held = kernels + 64 * 32 + 7 * 32
    held += 3 * 8 * (2 * 64 + 2 * 48 + 3 * 96) if parameters == "lora" else 0
    copies = 2 if (preference, parameters) == (DPO, "full") else 1
    assert found.parameters == 4 * copies * held
