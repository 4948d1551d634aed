"""A study to try out: people answer in which country a city is, alone and with SmolLM2-135M as their assistant.

Four questions alone and four with the assistant, in an order that changes from one participant to the next, after a
practice question. Open one of the links that the command prints, take part, stop the server half way, start it again
and go on; the last link is the researcher's page. The assistant is the quickstart's student: small, and often wrong.

Published: Bowman et al. 2022 (arXiv 2211.03540) on QuALITY and MMLU; `w2s study report` shows their figures.

Hardware: a laptop; 2 CPU cores and 2 GiB of memory. The first start downloads 150 MB.
Command:  w2s study serve configs/oversight/study.py
Expect:   eight answers from each participant in runs/study/, in about ten minutes.
"""

from w2s_jax import TaskConfig
from w2s_jax.study.assistants.local import Local
from w2s_jax.study.config import Study
from w2s_jax.study.participants import Model
from w2s_jax.study.protocols import Alone, Chat
from w2s_jax.study.unaided import Unaided

study = Study(
    name="study",
    task=TaskConfig("city_choices"),
    conditions={"alone": Alone(), "chat": Chat()},
    assistant=Local("smollm2-135m", rows=4),
    questions=4,
    participants=4,
    seconds=180,
    turns=6,
    tokens=60,
    title="Where are these cities?",
)
participant = Model("smollm2-135m", rows=4)  # for `w2s study simulate`, which has it play all participants
unaided = Unaided("smollm2-135m", shots=4, samples=4, tokens=60)  # for `w2s study models`, which asks it alone
