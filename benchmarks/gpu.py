"""Finetuning on one GPU: model FLOPs utilisation, and examples a second beside PyTorch and transformers.

Random weights of Llama's shapes, made on the device; bfloat16; rows that are all as long as they may be, so that none
is padded. Ours is what `finetune` compiles: parameters and moments in float32, computation in bfloat16. PyTorch holds
parameters and moments in bfloat16, with FlashAttention 2 if flash_attn is there and else its own (SDPA), fused AdamW,
and peft for adapters. Every case and side is a process of its own, so that one that runs out of memory ends no other.

Bars, for a card whose peak is known: 50% of it for full finetuning, and 1.3 times PyTorch.

Command:  python benchmarks/gpu.py --out gpu.json       (torch, transformers and peft are used where they are)
          python benchmarks/gpu.py --budget 300         (no case starts after 300 seconds; the most telling are first)
          python benchmarks/gpu.py --kernels 12         (also the twelve kernels that take most of our step)
          python benchmarks/gpu.py --dry-run            (tiny shapes, on any device)
"""

import argparse
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

TINY = {
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
SMOL = {
    **TINY,
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 2048,
}
OWN = {"tiny": TINY, "smollm2-135m": SMOL}
MFU_BAR, RATIO_BAR = 0.5, 1.3
JOBS_BAR = {"lora": 8.0, "full": 5.0}  # times as many one after another
LINE = "{:<14} {:<6} {:<8} {:>6} {:>4} {:>4}  {:<5} {:>9} {:>10} {:>6} {:>6}  {}"
WARM_UP = 3


class Case(NamedTuple):
    """What is trained; `remat` and `base` as in a learner. PyTorch checkpoints where `remat` is `full`.

    Several `jobs` train together, beside as many one after another: ours, and PyTorch's.
    """

    model: str
    parameters: str
    tokens: int
    rows: int
    remat: str
    base: str = "float32"
    jobs: int = 1


CASES = [
    Case("llama-3.2-1b", "full", 1024, 16, "dots"),
    Case("smollm2-135m", "lora", 64, 32, "none", "bfloat16", jobs=16),
    Case("smollm2-135m", "full", 64, 32, "none", jobs=8),
    Case("llama-3-8b", "lora", 512, 16, "dots", "bfloat16"),
    Case("llama-3-8b", "lora", 512, 16, "dots", "nf4"),
    Case("llama-3.2-3b", "full", 1024, 16, "full"),
    Case("llama-3.2-1b", "full", 512, 32, "dots"),
    Case("llama-3.2-1b", "lora", 1024, 16, "dots", "bfloat16"),
    Case("llama-3-8b", "lora", 2048, 4, "dots", "bfloat16"),
    Case("llama-3-8b", "lora", 512, 16, "dots", "int8"),
    Case("llama-3.2-1b", "full", 2048, 8, "dots"),
]
DRY = [
    Case("tiny", "full", 16, 4, "none"),
    Case("tiny", "lora", 16, 4, "none", "nf4"),
    Case("tiny", "lora", 16, 4, "none", jobs=3),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes, the same code")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--alone", action="store_true", help="do not compare with PyTorch")
    parser.add_argument("--out", type=Path, help="also write the table as JSON")
    parser.add_argument("--cases", nargs="+", type=int, metavar="N", help="only these, counted from 1")
    parser.add_argument("--timings-only", action="store_true", help="do not check attention first")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds after which no case is started")
    parser.add_argument("--kernels", type=int, default=0, help="how many of our step's kernels are named")
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        side, case = options.one
        made = Case(*json.loads(case))
        if side == "torch":
            found = torch_side(made, options.steps)
        else:
            found = jax_side(made, options.steps, options.kernels, together=side == "jax")
        print(json.dumps(found))
        return
    if not options.timings_only:
        subprocess.run([sys.executable, "-m", "benchmarks.gpu_agreement"], check=True, cwd=Path(__file__).parents[1])
    theirs = not options.alone and all(map(importlib.util.find_spec, ("torch", "transformers")))
    sides = ["jax", "torch"] if theirs else ["jax"]
    if not theirs and not options.alone:
        print("torch or transformers is not installed: nothing to compare with")
    rows = []
    columns = ("model", "trains", "base", "tokens", "rows", "jobs", "side", "ms/step", "tokens/s", "MFU", "GiB")
    print(LINE.format(*columns, "where"))
    started = time.monotonic()
    cases = DRY if options.dry_run else CASES
    for case in [cases[number - 1] for number in options.cases or range(1, len(cases) + 1)]:
        if time.monotonic() - started > options.budget:
            print(f"not begun, for lack of time: {case.model} {case.parameters} {case.tokens}")
            continue
        asked = [*sides, *(["alone"] if case.jobs > 1 else [])]  # ours, one job after another
        found = {side: measured(side, case, options.steps, options.kernels) for side in asked}
        for side, result in found.items():
            rows.append({**case._asdict(), "side": side, **result})
            shape = case.model, case.parameters, case.base, case.tokens, case.rows, case.jobs
            print(LINE.format(*shape, side, *shown(case, result)))
        for milliseconds, name in found["jax"].get("kernels", ()):
            print(f"  {milliseconds:8.2f} ms  {name}")
        print(verdict(case, found), flush=True)
        if options.out:
            options.out.write_text(json.dumps(rows, indent=1))


def measured(side: str, case: Case, steps: int, kernels: int) -> dict[str, Any]:
    """In a process of its own. A case that fails says why in its last line."""
    command = [sys.executable, __file__, "--steps", str(steps), "--kernels", str(kernels)]
    done = subprocess.run([*command, "--one", side, json.dumps(case)], capture_output=True, text=True)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:200]}
    return json.loads(done.stdout.splitlines()[-1])


def shown(case: Case, result: dict[str, Any]) -> tuple[str, ...]:
    if "failed" in result:
        return "", "", "", "", f"failed: {result['failed']}"
    seconds, mfu, peak = result["seconds"], result["mfu"], result["peak_bytes"]
    where = f"{result['device']}, {result['with']}"
    return (
        f"{seconds * 1e3:.1f}",
        f"{case.jobs * case.rows * case.tokens / seconds:.0f}",
        "" if mfu is None else f"{mfu:.1%}",
        "" if peak is None else f"{peak / 2**30:.1f}",
        where,
    )


def verdict(case: Case, found: dict[str, dict[str, Any]]) -> str:
    said = []
    mfu = found["jax"].get("mfu")
    names = {"alone": "one after another", "torch": "PyTorch"} if case.jobs > 1 else {}
    for side, name in names.items():
        if "seconds" in found.get(side, {}) and "seconds" in found["jax"]:
            ratio = found[side]["seconds"] / found["jax"]["seconds"]
            said.append(f"{ratio:.2f} times {name} (bar on a GPU: {JOBS_BAR[case.parameters]:.0f})")
    if mfu is None or case.jobs > 1:
        return "  " + ("; ".join(said) or "no bar holds here")
    if case.parameters == "full":
        said.append(f"MFU {mfu:.1%} (bar {MFU_BAR:.0%}): {'met' if mfu >= MFU_BAR else 'MISSED'}")
    if "seconds" in found.get("torch", {}):
        ratio = found["torch"]["seconds"] / found["jax"]["seconds"]
        said.append(f"{ratio:.2f} times PyTorch (bar {RATIO_BAR}): {'met' if ratio >= RATIO_BAR else 'MISSED'}")
    return "  " + "; ".join(said)


def result(case: Case, seconds: float, peak_bytes: int | None, device: str, software: str) -> dict[str, Any]:
    """Seconds of a step with the share of the card's peak that the model's FLOPs are; None where that is not known."""
    from w2s_jax.plan import lowering
    from w2s_jax.runtime import chips
    from w2s_jax.train.outputs import HeadOutput

    peak = next((chip.flops for chip in chips.CHIPS.values() if chip.kind == device), None)
    flops = case.jobs * lowering.model_flops(HeadOutput(), learner(case), config(case), case.rows, case.tokens)
    mfu = None if peak is None else flops / seconds / peak
    found = {"seconds": seconds, "model_flops": flops, "mfu": mfu, "peak_bytes": peak_bytes}
    return {**found, "device": device, "with": software}


def config(case: Case) -> Any:
    from w2s_jax.models import families
    from w2s_jax.plan.architectures import architecture

    return families.from_hf(OWN[case.model]) if case.model in OWN else architecture(case.model)


def learner(case: Case) -> Any:
    from w2s_jax.train.learner import Learner

    return Learner(
        case.model,
        parameters=case.parameters,  # type: ignore[arg-type]
        max_tokens=case.tokens,
        batch_size=case.rows,
        dtype="bfloat16",
        remat=case.remat,  # type: ignore[arg-type]
        lora_base=case.base,  # type: ignore[arg-type]
    )


def batches(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and labels of one batch, which every step takes."""
    random = np.random.default_rng(0)
    tokens = random.integers(0, config(case).vocab_size, (case.rows, case.tokens), np.int32)
    return tokens, random.integers(0, 2, case.rows)


def per_step(run: Callable[[], Any], wait: Callable[[Any], Any], steps: int) -> float:
    for _ in range(WARM_UP):
        wait(run())
    started = time.perf_counter()
    for _ in range(steps):
        made = run()
    wait(made)
    return (time.perf_counter() - started) / steps


def costliest(
    run: Callable[[], Any], wait: Callable[[Any], Any], count: int, steps: int = 3
) -> list[tuple[float, str]]:
    """The kernels that take most of a step, with their milliseconds; those of one kind are counted together."""
    import jax
    from jax.profiler import ProfileData

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(steps):
                made = run()
            wait(made)
        (trace,) = Path(folder).rglob("*.xplane.pb")
        profile = ProfileData.from_file(str(trace))
    spent: Counter[str] = Counter()
    for plane in profile.planes:
        if plane.name.startswith("/device:GPU"):
            for line in plane.lines:
                if line.name.startswith("Stream"):
                    for event in line.events:
                        spent[re.sub(r"[_.]?\d+$", "", event.name)[:70]] += event.duration_ns
    return [(nanoseconds / steps / 1e6, name) for name, nanoseconds in spent.most_common(count)]


def jax_side(case: Case, steps: int, kernels: int, together: bool) -> dict[str, Any]:
    """Seconds of one step of all jobs, as one program or one after another."""
    import jax
    from flax import linen as nn

    from w2s_jax import losses
    from w2s_jax.models import params as parameter_sets
    from w2s_jax.models import quantized, shapes
    from w2s_jax.models.classifier import Classifier
    from w2s_jax.models.layers import Lora
    from w2s_jax.train import prepare, state
    from w2s_jax.train.outputs import HeadOutput
    from w2s_jax.train.together import Jobs, Stack

    ours = learner(case)
    lora = Lora(ours.lora_rank) if case.parameters == "lora" else None
    module = Classifier(config(case), remat=ours.remat, dtype=ours.dtype, lora=lora, base=ours.lora_base)
    tokens, labels = batches(case)
    lengths = np.full(case.rows, case.tokens, np.int32)
    plain = module.clone(base="float32")
    params = jax.jit(lambda key: nn.unbox(shapes.initial(plain, key)))(jax.random.key(0))
    params = quantized.keep(params, shapes.placed_shapes(module, None), shapes.shardings(module, None))
    trainable, frozen = parameter_sets.partition(params, parameter_sets.TRAINABLE[ours.parameters])
    del params
    tx = prepare.optimizer(ours, 1000)
    jobs = Jobs.of(case.jobs if together else 1, None, one_start=True)
    states = Stack(jobs)
    for job in range(1 if jobs is None else case.jobs):
        states.add(state.create(trainable, tx, jax.random.key(job), donate=job == (jobs.count - 1 if jobs else 0)))
    held = [states.whole]
    del trainable, states
    loss = losses.bind(losses.cross_entropy)
    step, _ = prepare.steps(ours, HeadOutput(), module, (loss,), 1000, None, jobs)
    batch = [tokens, lengths, np.eye(2, dtype=np.float32)[labels], np.ones(case.rows, bool)]
    if jobs is not None:
        batch = [*(np.stack([array] * case.jobs) for array in batch), np.zeros(case.jobs, np.int32)]

    def run() -> Any:
        for _ in range(1 if together else case.jobs):
            held[0], measured = step(held[0], frozen, *batch)
        return measured

    seconds = per_step(run, jax.block_until_ready, steps)
    device = jax.devices()[0]
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
    found = result(case, seconds, peak, device.device_kind, f"jax {jax.__version__}")
    return found | ({"kernels": costliest(run, jax.block_until_ready, kernels)} if kernels else {})


def torch_side(case: Case, steps: int) -> dict[str, Any]:
    import torch
    import transformers

    from w2s_jax.plan.architectures import ARCHITECTURES

    cuda = torch.cuda.is_available()
    attention = "flash_attention_2" if cuda and importlib.util.find_spec("flash_attn") else "sdpa"
    shape = OWN.get(case.model) or ARCHITECTURES[case.model]
    theirs = transformers.LlamaConfig(**{k: v for k, v in shape.items() if k != "model_type"}, pad_token_id=0)
    with torch.device("cuda" if cuda else "cpu"):
        model = transformers.AutoModelForSequenceClassification.from_config(
            theirs, dtype=torch.bfloat16, attn_implementation=attention
        )
        tokens, labels = (torch.tensor(array, dtype=torch.long) for array in batches(case))
        mask = torch.ones_like(tokens)
    if case.parameters == "lora":
        import peft

        adapters = peft.LoraConfig(r=8, lora_alpha=8, target_modules="all-linear", task_type="SEQ_CLS")
        model = peft.get_peft_model(model, adapters)
    if case.remat == "full":
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, weight_decay=0.0, fused=cuda)

    def run() -> Any:
        for _ in range(case.jobs):
            optimizer.zero_grad()
            loss = model(input_ids=tokens, attention_mask=mask, labels=labels).loss
            loss.backward()
            optimizer.step()
        return loss

    seconds = per_step(run, lambda loss: loss.item(), steps)
    device = torch.cuda.get_device_name() if cuda else "cpu"
    peak = torch.cuda.max_memory_allocated() if cuda else None
    return result(case, seconds, peak, device, f"torch {torch.__version__}, {attention}")


if __name__ == "__main__":
    main()
