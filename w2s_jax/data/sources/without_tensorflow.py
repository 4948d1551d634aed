"""A stand-in for what TFDS uses TensorFlow for when it prepares text: files, and the names of types."""

import functools
import glob
import importlib.util
import os
import shutil
from types import ModuleType
from typing import Any

import numpy as np


def lend(*modules: ModuleType) -> None:
    """Puts the stand-in where these modules of TFDS would load TensorFlow, if there is none.

    Whatever else of TensorFlow they ask for is an ImportError, as before.
    """
    if importlib.util.find_spec("tensorflow") is None:
        for module in modules:
            if hasattr(module, "tf"):
                module.tf = _STAND_IN  # type: ignore[attr-defined]


class _Part:
    """A module of TensorFlow that has these members alone."""

    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ModuleNotFoundError(f"{name!r} is TensorFlow's", name="tensorflow")


def _open(path: Any, mode: str = "r") -> Any:
    return open(path, mode) if "b" in mode else open(path, mode, encoding="utf-8", newline="\n")


def _copy(source: Any, target: Any, overwrite: bool = False) -> None:
    path = os.fspath(source).removeprefix("file://")
    if "://" in path:
        raise NotImplementedError(f"{path} is no file")  # TFDS then downloads it
    if not overwrite and os.path.exists(target):
        raise FileExistsError(f"{target} exists")
    shutil.copyfile(path, target)


def _as_text(value: bytes | str, encoding: str = "utf-8") -> str:
    return value.decode(encoding) if isinstance(value, bytes) else value


_STAND_IN = _Part(
    io=_Part(
        gfile=_Part(
            GFile=_open,
            copy=_copy,
            exists=os.path.exists,
            glob=lambda pattern: sorted(glob.glob(os.fspath(pattern))),
            isdir=os.path.isdir,
            listdir=os.listdir,
            makedirs=functools.partial(os.makedirs, exist_ok=True),
            remove=os.remove,
            walk=os.walk,
        )
    ),
    compat=_Part(as_text=_as_text),
    errors=_Part(
        NotFoundError=FileNotFoundError, ResourceExhaustedError=MemoryError, UnimplementedError=NotImplementedError
    ),
    bool=np.bool_,
    float32=np.float32,
    int32=np.int32,
    int64=np.int64,
    string=np.object_,
)
