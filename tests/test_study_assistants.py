"""Assistants: a decoder here, which many ask at once, and given replies."""

import asyncio
import time

import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as token_models

from tests import tiny as make
from tests.test_chat import TEMPLATE, chat_model, theirs
from w2s_jax.models.tokenizer import TextTokenizer
from w2s_jax.runtime.errors import UserError
from w2s_jax.study.assistants import AssistantGone, Local, Message, Scripted, dialogue, local
from w2s_jax.train import streaming
from w2s_jax.train.learner import Learner
from w2s_jax.train.writing import Writer

QUESTIONS = ["the film was good", "a plot", "very bad film not good the", "awful", "was"]
PASSAGE = Message("system", "the plot was very very bad")


def user(text):
    return Message("user", text)


def assistant(text):
    return Message("assistant", text)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(make.llama(tmp_path_factory.mktemp("assistant"), seed=3))


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    return str(chat_model(tmp_path_factory.mktemp("chatty")))


async def text_of(voice, messages, tokens=6, seed=0):
    return "".join([piece async for piece in voice.reply(messages, tokens=tokens, seed=seed)])


def replies(kind, asked, *, at_once=True, **options):
    """To several dialogues."""

    async def ask():
        voice = kind.open()
        try:
            if at_once:
                return await asyncio.gather(*(text_of(voice, messages, **options) for messages in asked))
            return [await text_of(voice, messages, **options) for messages in asked]
        finally:
            await voice.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_plain_model_continues_a_text_of_turns_as_the_writer_does(model, temperature):
    asked = [[PASSAGE, user(text)] for text in QUESTIONS]
    prompts = [f"{PASSAGE.content}\n\nUser: {text}\nAssistant:" for text in QUESTIONS]
    expected = Writer(Learner(model))(prompts, tokens=6, temperature=temperature, seed=4)
    assert len(set(expected)) > 2
    kind = Local(model, temperature=temperature, rows=2)
    assert replies(kind, asked, seed=4) == expected
    assert replies(kind, asked, seed=4, at_once=False) == expected, "company changes nothing"


def test_a_chat_model_reads_its_template(chatty):
    """And what it writes is what the Writer writes of a user's message, a special token ends it."""
    kind = Local(chatty, temperature=0)
    assert replies(kind, [[user(text)] for text in QUESTIONS]) == Writer(Learner(chatty, chat=True))(
        QUESTIONS, tokens=6
    )
    form = dialogue.form(chatty, None)
    assert form.prompt([user(QUESTIONS[0])]).ids == theirs(chatty)(QUESTIONS[0])
    said = [PASSAGE, user("was"), assistant("awful"), user("a film")]
    assert form.prompt(said).text == (
        "<s><|system|> the plot was very very bad </s> <|user|> was </s> <|assistant|> awful </s> "
        "<|user|> a film </s> <|assistant|> "
    )


STRICT = (
    "{% for message in messages %}{% if message['role'] == 'system' or (loop.index0 % 2 == 0) != "
    "(message['role'] == 'user') %}{{ raise_exception('no') }}{% endif %}{% endfor %}" + TEMPLATE
)


def test_what_a_template_does_not_know_of_roles(tmp_path):
    form = dialogue.form(str(chat_model(tmp_path / "strict", STRICT)), None)
    written = form.prompt([PASSAGE, user("was"), user("a film")]).text
    assert written == "<s><|user|> the plot was very very bad\n\nwas\n\na film </s> <|assistant|> "
    written = form.prompt([PASSAGE, assistant("awful"), user("was")]).text
    assert written.startswith("<s><|user|> the plot was very very bad </s> <|assistant|> awful </s> <|user|> was")


def test_the_oldest_turns_go_where_a_dialogue_is_too_long_and_the_passage_stays(chatty):
    form = dialogue.form(chatty, None)
    said = [PASSAGE, user("was"), assistant("awful"), user("a film"), assistant("not good"), user("the plot")]
    lengths = [len(form.prompt([PASSAGE, *said[start:]]).ids) for start in (1, 3, 5)]
    for room in range(lengths[2], lengths[0] + 1):
        start = next(start for start, length in zip((1, 3, 5), lengths, strict=True) if length <= room)
        assert dialogue.fitting(form, said, room).text == form.prompt([PASSAGE, *said[start:]]).text
    with pytest.raises(UserError, match=f"are {lengths[2]} tokens, and the assistant reads {lengths[2] - 1}"):
        dialogue.fitting(form, said, lengths[2] - 1)

    async def ask():
        voice = Local(chatty, max_tokens=16).open()
        with pytest.raises(AssistantGone, match="give it more max_tokens"):
            await text_of(voice, said)
        assert await text_of(voice, [user("was")])
        await voice.close()

    asyncio.run(ask())


def test_white_space_and_half_characters_wait_for_what_follows():
    """Pieces add up to the reply, however tokens cut it."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(token_models.BPE({letter: place for place, letter in enumerate(letters)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    text = " Größe:\n\n- 1 €  \n"
    request, told = local._Request([], 1, 0, None), []
    request.tell = told.append
    ids = inner.encode(text).ids
    assert len(ids) == len(text.encode())
    for token in ids:
        request.more([token], TextTokenizer(inner, ""))
    assert "".join(told) == text.strip()
    assert not any("�" in piece for piece in told)


def slowed(monkeypatch, seconds):
    advance = streaming.Streaming.advance

    def slow(rows):
        time.sleep(seconds)
        return advance(rows)

    monkeypatch.setattr(streaming.Streaming, "advance", slow)


def test_the_event_loop_goes_on_while_it_writes(model, monkeypatch):
    async def ask():
        voice = Local(model, temperature=0).open()
        slowed(monkeypatch, 0.2)
        reply = asyncio.create_task(text_of(voice, [user("was")]))
        longest = 0.0
        while not reply.done():
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before)
        await voice.close()
        return longest

    assert asyncio.run(ask()) < 0.1


def test_pieces_come_as_they_are_written(model):
    async def ask():
        voice = Local(model, temperature=0).open()
        pieces = [piece async for piece in voice.reply([user("was")], tokens=12, seed=0)]
        await voice.close()
        return pieces

    pieces = asyncio.run(ask())
    assert len(pieces) == 3
    assert all(len(piece.split()) == streaming.STRIDE for piece in pieces)


def test_who_leaves_makes_room_and_who_waits_at_the_end_is_told(model, monkeypatch):
    async def ask():
        voice = Local(model, temperature=0, rows=1).open()
        expected = await text_of(voice, [user("was")])
        slowed(monkeypatch, 0.05)
        stream = voice.reply([user("a plot")], tokens=40, seed=0)
        await anext(stream)
        second = asyncio.create_task(text_of(voice, [user("was")]))
        await asyncio.sleep(0.1)
        assert not second.done()
        before = time.perf_counter()
        await stream.aclose()
        assert await second == expected
        assert time.perf_counter() - before < 0.4, "forty tokens would take half a second"
        last = asyncio.create_task(text_of(voice, [user("a plot")], tokens=40))
        await asyncio.sleep(0.1)
        await voice.close()
        with pytest.raises(AssistantGone, match="was closed"):
            await last
        with pytest.raises(AssistantGone, match="was closed"):
            await text_of(voice, [user("was")])

    asyncio.run(ask())


def test_a_model_that_fails_is_gone_for_those_who_wait_and_then_there_again(model, monkeypatch):
    async def ask():
        voice = Local(model, temperature=0).open()
        expected = await text_of(voice, [user("was")])
        advance = streaming.Streaming.advance

        def broken(rows):
            monkeypatch.setattr(streaming.Streaming, "advance", advance)
            raise MemoryError("out of memory")

        monkeypatch.setattr(streaming.Streaming, "advance", broken)
        with pytest.raises(AssistantGone, match="the model failed: MemoryError"):
            await text_of(voice, [user("was")])
        assert await text_of(voice, [user("was")]) == expected
        await voice.close()

    asyncio.run(ask())


def test_a_template_that_is_asked_for_must_be_there(model):
    with pytest.raises(UserError, match="has no chat template"):
        Local(model, chat=True).open()


def test_identity_is_what_decides_replies(model, chatty):
    found = [Local(*each).identity() for each in ((model,), (chatty,), (chatty, False))]
    assert [each["template"] is None for each in found] == [True, False, True]
    assert found[0]["model"] != found[1]["model"] == found[2]["model"]
    assert "rows" not in found[0]


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: Local(rows=0), "rows must be a whole number, 1 or more"),
        (lambda: Local(temperature=-1), "temperature must be a number from 0 to 10"),
        (lambda: Local(max_tokens=1), "max_tokens must be a whole number, 2 or more"),
        (lambda: Local(dtype="int8"), "dtype must be float32 or bfloat16"),
        (lambda: Scripted(()), "Scripted needs replies"),
        (lambda: Scripted(("a",), delay=-1), "delay must be a number from 0"),
        (lambda: Scripted(("a",), fails=(-1,)), "fails must be turns"),
    ],
)
def test_options_that_cannot_be(make_it, message):
    with pytest.raises(UserError, match=message):
        make_it()


def test_given_replies_come_by_turn_and_fail_by_turn():
    kind = Scripted(("I think it is B.", "You wrote: {message}"), fails=(2,))
    first, second = [user("why?")], [user("why?"), assistant("I think it is B."), user("sure?")]
    assert replies(kind, [first, second]) == ["I think it is B.", "You wrote: sure?"]
    assert replies(kind, [second], tokens=2) == ["You wrote:"]

    async def ask():
        reply = kind.open().reply([*second, assistant("x"), user("y")], tokens=9, seed=0)
        assert await anext(reply) == "I"
        with pytest.raises(AssistantGone, match="as its script says"):
            await anext(reply)

    asyncio.run(ask())
