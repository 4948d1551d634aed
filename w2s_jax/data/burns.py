"""The tasks of Burns et al. 2023 (App. A.1) that `tasks.py` does not already hold, from each source's own records.

The list is that of EleutherAI's `w2s` registry; its formatters are not followed where they leak the label or throw
related rows together: OpenBookQA there shows a letter for right answers and text for wrong ones; an answer such as
"none of the above" tells by itself how likely it is, so it is never shown here, and questions it answers are left out.

Columns, and the data sets' names, are those that registry reads; how their files lie on the Hub was not tried from
here. Another copy can be given as `source`.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from w2s_jax.data.choice import candidates
from w2s_jax.data.example import Example, coin, digest
from w2s_jax.data.sources import Record, class_field, field, text_field
from w2s_jax.runtime.errors import UserError

_SAYS_NOTHING = re.compile(r"none of the above|not enough information", re.IGNORECASE)


def anli(record: Record) -> Iterable[Example]:
    """Does the premise entail the hypothesis? Neutral and contradicted ones are 0; one premise's rows stay together."""
    premise, hypothesis = text_field(record, "premise"), text_field(record, "hypothesis")
    label = class_field(record, "label")
    if label >= 0:
        text = f"{premise.strip()}\n\nHypothesis: {hypothesis.strip()}\n\nDoes the premise entail the hypothesis?"
        yield Example(digest(text), text, int(label == 0), digest(premise))


def cosmos_qa(record: Record) -> Iterable[Example]:
    """Is this the answer to the question about the context? "None of the above" is never shown."""
    answers = [text_field(record, f"answer{i}") for i in range(4)]
    yield from _numbered(record, answers, class_field(record, "label"), text_field(record, "context"))


def dream(record: Record) -> Iterable[Example]:
    """Is this the answer to the question about the dialogue?"""
    dialogue = "\n".join(field(record, "dialogue"))
    right, choices = text_field(record, "answer"), list(field(record, "choice"))
    yield from candidates(text_field(record, "question"), right, choices, context=dialogue, group=dialogue)


def ethics_deontology(record: Record) -> Iterable[Example]:
    """Is the excuse, or the duty, a reasonable one? Rows of one scenario stay together."""
    scenario, excuse = text_field(record, "scenario").strip(), text_field(record, "excuse").strip()
    text = f"{scenario}\n\n{excuse}\n\nIs this morally reasonable?"
    yield Example(digest(text), text, class_field(record, "label"), digest(scenario))


def ethics_justice(record: Record) -> Iterable[Example]:
    """Is what the scenario says just? Variants that differ only in the reason (from "because" on) stay together."""
    scenario = text_field(record, "scenario").strip()
    text = f"{scenario}\n\nIs this just?"
    yield Example(digest(text), text, class_field(record, "label"), digest(scenario.split(" because ")[0]))


def ethics_virtue(record: Record) -> Iterable[Example]:
    """Does the person show the trait? The source has `scenario [SEP] trait`; traits of one scenario stay together."""
    scenario, separator, trait = text_field(record, "scenario").partition("[SEP]")
    if not separator:
        raise UserError("a virtue scenario must be written `scenario [SEP] trait`")
    text = f"{scenario.strip()}\n\nDoes this show the trait: {trait.strip()}?"
    yield Example(digest(text), text, class_field(record, "label"), digest(scenario.strip()))


def ethics_utilitarianism(record: Record) -> Iterable[Example]:
    """Is the first scenario the more pleasant one? Which stands first is decided by a hash of both."""
    better = text_field(record, "baseline").strip()
    worse = text_field(record, "less_pleasant").strip()
    label = coin(*sorted((better, worse)))
    first, second = (better, worse) if label else (worse, better)
    text = f"Scenario 1: {first}\nScenario 2: {second}\n\nIs scenario 1 more pleasant?"
    yield Example(digest(text), text, label, digest(better))


def hellaswag(record: Record) -> Iterable[Example]:
    """Is this how the text goes on? Endings of one video or article stay together."""
    context, endings = text_field(record, "ctx").strip(), list(field(record, "endings"))
    label = record.get("label")
    if label in ("", None, -1):
        return
    group = str(record.get("source_id") or context)
    right = endings[class_field(record, "label")]
    for example in candidates(context, right, endings, group=group, ask="Text"):
        yield example._replace(text=str(example.text).replace("\nAnswer: ", "\nContinuation: "))


def mc_taco(record: Record) -> Iterable[Example]:
    """Is this a plausible answer to the question of time? All candidates of one sentence stay together."""
    sentence, question, answer = (text_field(record, name).strip() for name in ("sentence", "question", "answer"))
    label = {"yes": 1, "no": 0}.get(str(record.get("label", record.get("labels"))).lower())
    label = class_field(record, "label", "labels") if label is None else label
    text = f"{sentence}\nQuestion: {question}\nAnswer: {answer}"
    yield Example(digest(text), text, label, digest(sentence))


def multirc(record: Record) -> Iterable[Example]:
    """Is this a correct answer to the question about the passage? All rows of one passage stay together."""
    passage, question, answer = (text_field(record, name).strip() for name in ("paragraph", "question", "answer"))
    label = class_field(record, "label")
    if label >= 0:
        text = f"{passage}\nQuestion: {question}\nAnswer: {answer}"
        yield Example(digest(text), text, label, digest(passage))


def openbookqa(record: Record) -> Iterable[Example]:
    """Is this the answer to the science question? Right and wrong answers are both shown as text."""
    yield from _lettered(record, text_field(record, "question_stem"))


def paws(record: Record) -> Iterable[Example]:
    """Do the sentences mean the same? Pairs made of the same words, in whatever order, stay together."""
    first, second = text_field(record, "sentence1").strip(), text_field(record, "sentence2").strip()
    text = f"Sentence 1: {first}\nSentence 2: {second}\n\nDo they mean the same?"
    yield Example(digest(text), text, class_field(record, "label"), digest(*sorted(first.lower().split())))


def piqa(record: Record) -> Iterable[Example]:
    """Does this reach the goal?"""
    solutions, label = [text_field(record, "sol1"), text_field(record, "sol2")], class_field(record, "label")
    if label >= 0:
        yield from candidates(text_field(record, "goal"), solutions[label], solutions, ask="Goal")


def quail(record: Record) -> Iterable[Example]:
    """Is this the answer to the question about the text? "Not enough information" is never shown."""
    answers, label = list(field(record, "answers")), class_field(record, "correct_answer_id")
    yield from _numbered(record, answers, label, text_field(record, "context"))


def quartz(record: Record) -> Iterable[Example]:
    """Is this the answer to the question of qualitative relations? Questions on one paragraph stay together."""
    paragraph = text_field(record, "para")
    yield from _lettered(record, text_field(record, "question"), paragraph, str(record.get("para_id") or paragraph))


def sciq_with_support(record: Record) -> Iterable[Example]:
    """As `sciq`, with the passage that holds the answer."""
    wrong = [text_field(record, f"distractor{i}") for i in (1, 2, 3)]
    question, right = text_field(record, "question"), text_field(record, "correct_answer")
    yield from candidates(question, right, wrong, context=text_field(record, "support"))


def social_i_qa(record: Record) -> Iterable[Example]:
    """Is this the answer to the question about the situation? Labels are counted from 1."""
    answers = [text_field(record, f"answer{letter}") for letter in "ABC"]
    yield from _numbered(record, answers, class_field(record, "label") - 1, text_field(record, "context"))


def tweet(record: Record) -> Iterable[Example]:
    """Is the tweet positive?"""
    text = text_field(record, "text").strip()
    yield Example(digest(text), text, class_field(record, "label"), digest(text))


def amazon(record: Record) -> Iterable[Example]:
    """Is the product review positive?"""
    text = f"{text_field(record, 'title').strip()}\n{text_field(record, 'content').strip()}"
    yield Example(digest(text), text, class_field(record, "label"), digest(text))


def wic(record: Record) -> Iterable[Example]:
    """Has the word one sense in both sentences? All rows of one word stay together."""
    word, first, second = (text_field(record, name).strip() for name in ("word", "sentence1", "sentence2"))
    label = class_field(record, "label")
    if label >= 0:
        text = f'Sentence 1: {first}\nSentence 2: {second}\n\nDoes "{word}" mean the same in both?'
        yield Example(digest(text), text, label, digest(word.lower()))


def _numbered(record: Record, answers: Sequence[str], label: int, context: str) -> Iterable[Example]:
    """A question on a context whose right answer is given by number; -1 is a row without labels."""
    if label < 0:
        return
    if label >= len(answers):
        raise UserError(f"answer {label} is none of the {len(answers)} options")
    if _SAYS_NOTHING.search(answers[label]):
        return
    wrong = [answer for answer in answers if not _SAYS_NOTHING.search(answer)]
    yield from candidates(text_field(record, "question"), answers[label], wrong, context=context, group=context)


def _lettered(record: Record, question: str, context: str = "", group: str = "") -> Iterable[Example]:
    """A question whose choices are a table of texts and letters, and whose right answer is given by letter."""
    choices: Any = field(record, "choices")
    texts, letters = list(choices["text"]), list(choices["label"])
    key = text_field(record, "answerKey")
    if not key:
        return
    if key not in letters:
        raise UserError(f"answer {key!r} is none of {', '.join(letters)}")
    yield from candidates(question, texts[letters.index(key)], texts, context=context, group=group)
