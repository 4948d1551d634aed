"""Anthropic's automated weak-to-strong researcher (April 2026), chat: Qwen1.5-0.5B-Chat supervises Qwen3-4B-Base.

Published: `PUBLISHED` below (sd over seeds: weak .012, ceiling .0085, PGR .10 and .12). PGR uses fixed baselines: means
over 16 seeds. The gap is .2, so a PGR of 5 seeds moves by .05 to .12. The best method that its agents found is CCS with
evolution strategies on LoRA, .93 (chat).

Recipe: LoRA rank 32, learning rate 1e-4, linear, 5 epochs, batch 32, hard weak labels, answers as the tokens A and B
(label-as-token, here as there). Differences:
  * its data (HelpSteer with held-out reward benches) is stood in for by HH comparisons of a response A and a B;
  * "CCS" is contrast-consistent search at the last layer alone: no layer sweep, no swapped pairs, no evolution
    strategies, so the .93 is not its figure;
  * "EM posterior" asks with the three templates of the task in one order, where the original has two orders, and learns
    the posterior as it is, soft;
  * "overlap density" is `overlap_score_filter`, four scores whose measures the original does not give.
Math and code, its other two domains, are absent.

Hardware: one 80 GB GPU or 4 TPU v5e chips. Models and tasks come from the Hub.
Command:  w2s sweep configs/anthropic2026/chat.py, or with local files --tasks.0.source FOLDER
Expect:   not measured here.
"""

from w2s_jax import (
    CCS,
    Experiment,
    Learner,
    LoopSettings,
    Method,
    OptimizerConfig,
    Published,
    TaskConfig,
    Train,
    Transform,
)


def learner(name: str) -> Learner:
    return Learner(
        name,
        parameters="lora",
        output="text",
        template="{text}",  # a comparison ends with "The better response is"
        lora_rank=32,
        epochs=5,
        batch_size=32,
        max_tokens=8192,
        too_long="truncate",
        dtype="bfloat16",
        remat="dots",
        optimizer=OptimizerConfig(learning_rate=1e-4, schedule="linear"),
        loop=LoopSettings(select="final"),
    )


hard = "hard_labels"

SOURCE = "Anthropic, automated weak-to-strong researcher, April 2026"
PUBLISHED = (
    Published(0.528, SOURCE, metric="accuracy", role="supervisor", task="hh"),
    Published(0.7325, SOURCE, metric="accuracy", role="ceiling", task="hh"),
    Published(0.570, SOURCE, metric="accuracy", task="hh", method="vanilla"),
    Published(0.203, SOURCE, task="hh", method="vanilla"),
    Published(0.576, SOURCE, metric="accuracy", task="hh", method="confident only"),
    Published(0.234, SOURCE, task="hh", method="confident only"),
    Published(0.78, SOURCE, task="hh", method="EM posterior", note="its labels asked in two orders"),
    Published(0.75, SOURCE, task="hh", method="overlap density", note="its four measures are not given"),
)

experiment = Experiment(
    name="anthropic2026_chat",
    tasks=(TaskConfig("hh", pool=20000, supervisor=6000, transfer=6000, validation=400, test=1200),),
    supervisors={"qwen1.5-0.5b-chat": learner("Qwen/Qwen1.5-0.5B-Chat")},
    students={"qwen3-4b-base": learner("Qwen/Qwen3-4B-Base")},
    methods={
        "vanilla": Method(Train(hard)),
        "confident only": Method(Train(hard), labels=(Transform("confidence_filter"),)),
        "overlap density": Method(Train(hard), labels=(Transform("overlap_score_filter", {"share": 0.5}),)),
        "EM posterior": Method(labels=(Transform("em_posterior"),)),
        "CCS": Method(CCS()),
    },
    seeds=tuple(range(42, 58)),
    keep_params=False,
    published=PUBLISHED,
)
