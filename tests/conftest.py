"""Types and shapes are checked in every test, and every test can make a mesh of eight devices."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jaxtyping
import pytest
from beartype import BeartypeConf, beartype
from filelock import FileLock

from tests import QUICK

# In child processes, too.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}"
jax.config.update("jax_num_cpu_devices", 8)
# Tests build the same small programs again and again: each is compiled once, ever.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".pytest_cache" / "xla"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

# Programs that were compiled make a large heap, which full collections would walk again and again: a tenth of the time.
gc.set_threshold(50_000, 20, 50)


def check_types(function: Callable[..., Any]) -> Callable[..., Any]:
    """Checks calls, but not what is given to dataclasses: they look at it themselves and raise a UserError."""
    if function.__name__ == "__init__":
        return function
    return beartype(function, conf=BeartypeConf(is_pep484_tower=True))  # as for mypy, an int is a float


pytest.register_assert_rewrite("tests.tiny")
jaxtyping.install_import_hook("w2s_jax", f"{__name__}.check_types")


@pytest.fixture
def tiny(tmp_path: Path) -> Any:
    """The tiny experiment, of which nothing is done."""
    from tests import tiny as make

    return make.experiment(tmp_path)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all of pytest's processes."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def finished(shared_folder: Path) -> Any:
    """The tiny experiment with a truth probe, run once for all tests that only read it."""
    from tests import tiny as make

    with FileLock(shared_folder / "tiny.lock"):
        return make.finish(shared_folder / "tiny", make.three_methods)


@pytest.fixture(scope="session")
def probe_folder(shared_folder: Path) -> Path:
    """Where experiments of probes share stages: what one test computed, the next one finds."""
    from tests import tiny as make

    folder = shared_folder / "probes"
    with FileLock(shared_folder / "probes.lock"):
        make.probes(folder)
    return folder
