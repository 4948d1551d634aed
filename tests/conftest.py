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

# With these CI would take longer than it may; `pytest -m long` runs them.
LONG = (
    "test_cli.py::test_a_log_resumes_with_its_run",
    "test_debated.py::test_a_trained_debater_against_itself_untrained",
    "test_decomposed.py::test_an_experiment_with_a_decomposed_supervisor[full]",
    "test_docs.py::test_every_block_runs[docs/tutorials/first-experiment]",
    "test_docs.py::test_every_block_runs[docs/tutorials/sweep]",
    "test_golden.py::test_it_gives_what_it_gave[answers-long]",
    "test_golden.py::test_it_gives_what_it_gave[methods]",
    "test_golden.py::test_it_gives_what_it_gave[pairs]",
    "test_identity.py::test_key_and_bits_change_together_for_every_kind[learners]",
    "test_identity.py::test_key_and_bits_change_together_for_every_kind[methods]",
    "test_identity.py::test_key_and_bits_change_together_for_every_kind[several]",
    "test_identity.py::test_key_and_bits_change_together_for_every_kind[supervisors]",
    "test_models_parity.py::test_how_it_is_computed_does_not_change_what_it_computes[bert]",
    "test_models_parity.py::test_how_it_is_computed_does_not_change_what_it_computes[mixtral]",
    "test_on_mesh.py::test_a_backbone_that_a_stage_trained_is_read_onto_the_mesh[lora]",
    "test_on_mesh.py::test_no_stage_holds_more_than_its_devices_and_one_piece[generative]",
    "test_on_mesh.py::test_no_stage_holds_more_than_its_devices_and_one_piece[lora]",
    "test_preference.py::test_resumed_it_ends_with_the_same_bits[lora]",
    "test_processes.py::test_an_error_of_one_before_it_trains_is_a_failed_stage_of_all[surprised",
    "test_processes.py::test_asked_to_stop_far_from_any_evaluation_all_stop_soon",
    "test_processes.py::test_asked_to_stop_one_stops_all_and_any_number_resumes[1-2]",
    "test_schedule.py::test_killed_at_any_moment_the_same_command_ends_with_the_same_bits[3.0]",
    "test_together.py::test_at_the_same_time[adafactor]",
    "test_together.py::test_at_the_same_time[int8]",
    "test_together.py::test_at_the_same_time[remat]",
    "test_together.py::test_on_a_mesh[int8-",
    "test_together.py::test_one_after_another[adafactor]",
    "test_together.py::test_one_after_another[int8]",
    "test_together.py::test_one_after_another[remat]",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.removeprefix("tests/").startswith(LONG):
            assert item.get_closest_marker("slow"), f"{item.nodeid} is in no suite but this"
            item.add_marker(pytest.mark.long)


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
