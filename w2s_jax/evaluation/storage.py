"""Results as a file: written as plain JSON, and read strictly."""

import functools
from pathlib import Path
from typing import Any

from w2s_jax.evaluation.results import SCHEMA, Results
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

FILE = "results.json"


def save(results: Results, folder: Path) -> Path:
    """Writes `results.json`."""
    path = Path(folder) / FILE
    files.write_json(path, as_json(results))
    return path


def as_json(results: Results) -> Any:
    """What `results.json` holds."""
    return _converter().unstructure(results)


def load(folder: Path) -> Results:
    """Reads the `results.json` of a run's folder.

    Raises:
      UserError: there is none, or it is of another schema, or a field is missing, unknown or of another type.
    """
    import cattrs

    path = Path(folder) / FILE
    if not path.exists():
        raise UserError(f"{folder} has no {FILE}; give the folder of a finished run, like runs/quickstart")
    value = files.read_json(path)
    found = value.get("schema") if isinstance(value, dict) else None
    if found != SCHEMA:
        raise UserError(f"{path} has schema {found!r}; this version reads {SCHEMA!r}")
    try:
        return _converter().structure(value, Results)
    except cattrs.BaseValidationError as error:
        first = cattrs.transform_error(error, "results")[0]
        raise UserError(f"{path} is not of schema {SCHEMA}: {first}") from error


def _converter() -> Any:
    """Named tuples are objects in JSON, as dataclasses are, and nothing is converted to another type in reading."""
    from cattrs import Converter, cols

    converter = Converter(forbid_extra_keys=True)
    converter.register_unstructure_hook_factory(cols.is_namedtuple, cols.namedtuple_dict_unstructure_factory)
    converter.register_structure_hook_factory(
        cols.is_namedtuple,
        lambda kind: cols.namedtuple_dict_structure_factory(kind, converter, "from_converter", True),
    )
    for kind, allowed in ((str, (str,)), (bool, (bool,)), (int, (int,)), (float, (float, int))):
        converter.register_structure_hook(kind, functools.partial(_exactly, allowed))
    return converter


def _exactly(allowed: tuple[type, ...], value: Any, kind: type) -> Any:
    if type(value) not in allowed:
        raise TypeError(f"{value!r} is not a {kind.__name__}")
    return kind(value)
