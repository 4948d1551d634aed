"""What a sentence-transformers folder says: where its model is, and how it pools; everything else is named or refused.

`modules.json` lists the modules in order: a Transformer, a Pooling, and perhaps Dense and Normalize.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from w2s_jax.models.pooling import Pooling
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

MODULES = "modules.json"
ABOUT = ("config_sentence_transformers.json", "sentence_bert_config.json")
POOLINGS: Mapping[str, Pooling] = {"cls": "cls", "lasttoken": "last", "mean": "mean"}
AFTER = ("Dense", "Normalize", "Dropout", "LayerNorm")
# Older releases have one truth value for each, under these names.
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


class Modules(NamedTuple):
    """The modules of a folder.

    Attributes:
      model: the folder of the transformer, relative to that of modules.json; often empty.
      pooling: that of the module of this kind; empty where there is none.
      after: what follows it, each as `2_Dense (Dense)`.
    """

    model: str
    pooling: str
    after: tuple[str, ...]

    @property
    def wanted(self) -> tuple[str, ...]:
        """The files that decide what is computed."""
        return (MODULES, *([f"{self.pooling}/config.json"] if self.pooling else []))


def modules(path: Path) -> Modules:
    """What a modules.json lists.

    Raises:
      UserError: it is no such list, or a module is of a type that is not implemented.
    """
    content = files.read_json(path)
    listed = content if isinstance(content, list) and all(isinstance(each, dict) for each in content) else []
    found = [(str(each.get("type", "")).rpartition(".")[2], str(each.get("path", "")).strip("/")) for each in listed]
    if not found or any(".." in where for _, where in found):
        raise UserError(f"{path} is not a list of modules")
    for place, (kind, _) in enumerate(found):
        if kind not in (("Transformer",), ("Pooling",), AFTER)[min(place, 2)]:
            raise UserError(
                f"{path}: a module of type {kind!r} is not implemented in place {place}; want a Transformer, a "
                f"Pooling, and then {', '.join(AFTER)}"
            )
    pooling = found[1][1] if len(found) > 1 else ""
    return Modules(found[0][1], pooling, tuple(f"{where} ({kind})" for kind, where in found[2:]))


def pooling(path: Path) -> Pooling:
    """How a Pooling's config.json pools.

    Raises:
      UserError: another way than is implemented.
    """
    given = files.read_json(path)
    modes = given.get("pooling_mode")
    if modes is None:
        modes = [mode for flag, mode in FLAGS.items() if given.get(flag)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    if len(modes) > 1 or modes[0] not in POOLINGS:
        raise UserError(
            f"{path}: pooling {'+'.join(modes)!r} is not implemented; supported: {', '.join(sorted(POOLINGS))}; a "
            "folder without its modules.json is read as any other model"
        )
    return POOLINGS[modes[0]]


def left_out(folder: Path, found: Modules) -> list[str]:
    """What of the folder is not computed here, one line each."""
    said = []
    if found.after:
        said.append(
            f"{' and '.join(found.after)} {'are' if len(found.after) > 1 else 'is'} left out: a head reads the pooled "
            f"hidden states as they are before {'them' if len(found.after) > 1 else 'it'}"
        )
    about: dict[str, Any] = {}
    for name in ABOUT:
        for place in (folder / name, folder / found.model / name):
            about |= files.read_json(place) if place.is_file() else {}
    prompt = (about.get("prompts") or {}).get(about.get("default_prompt_name"))
    if prompt:
        said.append(
            f"the prompt {prompt!r} that it puts before every text is left out; put it into the texts if wanted"
        )
    if about.get("do_lower_case"):
        said.append("do_lower_case is left out: texts are read as they are, as far as the tokenizer keeps them")
    return said


def write(folder: Path, pooling: Pooling, width: int) -> None:
    """Makes a folder that holds a model one of sentence-transformers, with this pooling."""
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"))
    listed = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds)
    ]
    theirs = {ours: mode for mode, ours in POOLINGS.items()}[pooling]
    flags = {flag: mode == theirs for flag, mode in FLAGS.items()}
    files.write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **flags})
    files.write_json(folder / MODULES, listed)
