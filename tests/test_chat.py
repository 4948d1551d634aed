"""Texts as messages to a chat model: what it reads is what transformers' own tokenizer makes of the same folder."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, processors

from tests import tiny as make
from tests.test_restore import DPO
from w2s_jax import losses, models
from w2s_jax.config import Method
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.base import learner_identity
from w2s_jax.students import Prompt
from w2s_jax.train import answering, prompting, reading
from w2s_jax.train.finetune import finetune
from w2s_jax.train.learner import Generative, Learner
from w2s_jax.train.writing import Writer

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] | trim }}"
    " {{ eos_token }} {% endfor %}{% if add_generation_prompt %}<|assistant|> {% endif %}"
)
SPECIAL = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>"]
TEXTS = ["the film was good", "bad", "the plot was not good and the film was very bad"]


def chat_model(folder, template=TEMPLATE, **settings):
    """A tiny Llama whose tokenizer puts a BOS before every plain text, and knows a template."""
    make.llama(folder, vocabulary=24)
    inner = Tokenizer.from_file(str(folder / "tokenizer.json"))
    inner.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    start = inner.token_to_id("<s>")
    inner.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", start)])
    inner.save(str(folder / "tokenizer.json"))
    said = {"bos_token": "<s>", "eos_token": {"content": "</s>", "__type": "AddedToken"}, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(said | settings))
    return folder


def learner(folder, **changes):
    return Learner(str(folder), chat=True, **{"batch_size": 8, "epochs": 1, **changes})


def theirs(folder):
    """Transformers' own tokens of a user's message, with the model's turn begun."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)

    def ids(text):
        made = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=True, add_generation_prompt=True, return_dict=True
        )
        return list(made["input_ids"])

    return ids


def rows(student, texts=TEXTS):
    tokens = reading.tokenize(student, texts)
    return [tokens[row].tolist() for row in range(len(texts))]


def test_a_text_is_a_users_message_with_one_bos(tmp_path):
    folder = chat_model(tmp_path / "m")
    found, expected = rows(learner(folder)), [theirs(folder)(text) for text in TEXTS]
    assert found == expected
    start = models.outline(str(folder))[1].inner.token_to_id("<s>")
    assert [row.count(start) for row in found] == [1, 1, 1]
    assert rows(dataclasses.replace(learner(folder), chat=False))[0] == [start, *found[0][2:6]]


@pytest.mark.parametrize("where", ["a file of its own", "several by name"])
def test_where_templates_are_kept(tmp_path, where):
    if where == "several by name":
        folder = chat_model(
            tmp_path / "m", [{"name": "tools", "template": "no"}, {"name": "default", "template": TEMPLATE}]
        )
    else:
        folder = chat_model(tmp_path / "m", "an older one, which the file replaces")
        (folder / "chat_template.jinja").write_text(TEMPLATE)
    assert rows(learner(folder)) == rows(learner(chat_model(tmp_path / "plain")))


def test_a_long_text_is_cut_and_its_template_stays(tmp_path):
    folder = chat_model(tmp_path / "m")
    student = learner(folder, max_tokens=8, too_long="truncate")
    (whole,), (cut,) = rows(learner(folder), TEXTS[2:]), rows(student, TEXTS[2:])
    assert cut == whole[:6] + whole[-2:]
    assert len(whole) > 8
    with pytest.raises(UserError, match="longer than max_tokens=8"):
        reading.tokenize(dataclasses.replace(student, too_long="error"), TEXTS)
    with pytest.raises(UserError, match="max_tokens leaves 4 tokens, and the chat template alone takes 4"):
        reading.tokenize(dataclasses.replace(student, max_tokens=4), TEXTS)
    prompt = reading.encode_prompts(student, TEXTS[2:], 1)
    assert prompt[0].tolist() == whole[:2] + whole[-5:], "of a prompt the beginning goes"


def test_no_template_no_chat(tmp_path):
    with pytest.raises(UserError, match="has no chat template: it is no chat model"):
        rows(learner(make.llama(tmp_path / "m")))
    refuses = "{{ raise_exception('only a system message') }}"
    with pytest.raises(UserError, match="the chat template cannot write a message of a user: only a system message"):
        rows(learner(chat_model(tmp_path / "refuses", refuses)))
    for changes in ({"preference": DPO}, {"generative": Generative()}):
        with pytest.raises(UserError, match="not as a user's messages: leave chat at False"):
            learner("m", **changes)


def test_a_template_that_tells_the_date_tells_the_same_one_every_day(tmp_path):
    template = "{{ strftime_now('%d %b %Y') }} " + TEMPLATE
    tokenizer = reading.tokenizer_of(str(chat_model(tmp_path / "m", template)), True)
    assert tokenizer.render(["bad"])[0].startswith("26 Jul 2024 <s>")


def test_a_template_cannot_run_anything(tmp_path):
    reach = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(UserError, match="the chat template cannot write"):
        rows(learner(chat_model(tmp_path / "m", reach)))


def test_the_template_is_part_of_a_stages_identity(tmp_path):
    folder, other = chat_model(tmp_path / "m"), chat_model(tmp_path / "other", TEMPLATE + " ")
    plain = learner_identity(dataclasses.replace(learner(folder), chat=False))
    found, changed = learner_identity(learner(folder)), learner_identity(learner(other))
    assert "chat" not in plain
    assert found["model"] == changed["model"]
    assert found["chat"] != changed["chat"]
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "</s>", "chat_template": TEMPLATE}))
    assert learner_identity(learner(folder))["chat"] != found["chat"]


def test_answers_follow_where_the_models_turn_begins(tmp_path):
    student = learner(chat_model(tmp_path / "m"), output="text", template="{text}")
    tokenizer = models.outline(student.model)[1]
    found = answering.answers(student, ["bad", "good"])
    assert found.ids == tuple((tokenizer.inner.token_to_id(word),) for word in ("bad", "good"))
    pretrained = models.load(student.model)
    asked = prompting.Asking(student, pretrained).logits(TEXTS, [], [" bad", " good"], template="{text}")
    module, params = models.build_language_model(pretrained, rng=jax.random.key(0))
    for text, scores in zip(TEXTS, asked, strict=True):
        row = np.array([theirs(student.model)(text)], np.int32)
        logits = make.applied(module)({"params": params}, row, np.array([row.shape[1]], np.int32), method="last")
        expected = np.asarray(logits)[0, [ids[0] for ids in found.ids]]
        np.testing.assert_allclose(scores[1] - scores[0], expected[1] - expected[0], rtol=1e-4, atol=1e-5)
    assert len(Writer(student)(TEXTS, tokens=3)) == 3


@pytest.mark.parametrize("output", ["head", *make.slow("text")])
def test_it_is_finetuned(tmp_path, output):
    student = learner(chat_model(tmp_path / "m"), output=output, template="{text}")
    data = TEXTS * 8, np.eye(2)[[1, 0, 0] * 8].astype(np.float32)
    splits = {"train": data, "validation": data, "predict": {"test": TEXTS}}
    loss = losses.bind(losses.cross_entropy)
    found = finetune(student, models.load(student.model), loss, seed=0, answers=("bad", "good"), **splits)
    plain = dataclasses.replace(student, chat=False)
    other = finetune(plain, models.load(student.model), loss, seed=0, answers=("bad", "good"), **splits)
    assert np.abs(found.logits["test"] - other.logits["test"]).max() > 1e-4


@pytest.mark.slow
def test_an_experiment_of_probes_prompts_and_heads(tmp_path):
    folder = chat_model(tmp_path / "chat")
    plan = make.probes(tmp_path, methods={"naive": Method(), "asked": Method(Prompt())}, seeds=(0,))
    students = {"strong": dataclasses.replace(plan.students["strong"], model=str(folder), chat=True)}
    chat = make.run(dataclasses.replace(plan, students=students))
    students["strong"] = dataclasses.replace(students["strong"], chat=False)
    plain = make.run(dataclasses.replace(plan, students=students))
    for ours, other in zip(chat.cells, plain.cells, strict=True):
        assert ours.stages["student"] != other.stages["student"]
        assert ours.stages["supervisor"] == other.stages["supervisor"]
