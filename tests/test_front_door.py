"""`import w2s_jax as w2s`: light, complete, and enough for a notebook."""

import subprocess
import sys
from pathlib import Path

import pytest

import w2s_jax as w2s
from tests import tiny as make

HEAVY = ("jax", "numpy", "flax", "optax", "transformers", "torch", "pandas", "pyarrow", "matplotlib", "safetensors")

LIGHT = """
import sys, time
began, spent = time.perf_counter(), time.process_time()
import w2s_jax
seconds = min(time.perf_counter() - began, time.process_time() - spent)
print(seconds, *(name for name in {heavy} if name in sys.modules))
"""


def fresh(script: str) -> str:
    """What a process prints that has imported nothing yet."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_is_light() -> None:
    seconds, *heavy = fresh(LIGHT.format(heavy=HEAVY)).split()
    assert heavy == []
    assert float(seconds) < 0.3


def test_looking_at_its_names_loads_nothing() -> None:
    script = "import sys, w2s_jax; dir(w2s_jax); hasattr(w2s_jax, 'nothing'); print('jax' in sys.modules)"
    assert fresh(script).strip() == "False"


def test_every_public_name_is_there_and_nothing_else() -> None:
    assert len(set(w2s.__all__)) == len(w2s.__all__)
    for name in w2s.__all__:
        found = getattr(w2s, name)
        assert getattr(found, "__name__", name).rpartition(".")[2] == name or name == "__version__"
        assert found is getattr(w2s, name)
    assert dir(w2s) == sorted(w2s.__all__)
    with pytest.raises(AttributeError, match="module 'w2s_jax' has no attribute 'nothing'"):
        _ = w2s.nothing


def test_what_a_type_checker_sees_is_what_there_is() -> None:
    """The imports under TYPE_CHECKING name the same things as the lazy ones."""
    lines = Path(w2s.__file__).read_text().splitlines()
    seen = {line.split(" as ")[1] for line in lines if line.startswith("    from w2s_jax") and " as " in line}
    assert seen == {*w2s.__all__} - {"__version__"}
    scope: dict[str, object] = {}
    exec("\n".join(line.strip() for line in lines if line.startswith("    from w2s_jax")), scope)
    assert all(scope[name] is getattr(w2s, name) for name in seen)


def test_a_notebook_runs_an_experiment_and_looks_at_it(probe_folder: Path) -> None:
    plan = make.probes(
        probe_folder, name="notebook", methods={"naive": w2s.Method(), "kl": w2s.Method(w2s.Train("kl"))}
    )
    results = w2s.run(plan, quiet=True)
    assert isinstance(results, w2s.Results)
    assert [cell.method for cell in results.cells] == ["naive", "kl"] * (len(results.cells) // 2)
    assert len(results.to_frame()) == 3 * len(results.cells)
    assert len(results.predictions()) == 40 * len(results.cells)
    again = w2s.load_results(Path(plan.out) / plan.name)
    assert again == results
    assert w2s.run(plan, quiet=True).cells == results.cells, "and nothing was computed again"


def test_what_stops_a_run_is_one_line(probe_folder: Path, tmp_path: Path) -> None:
    plan = make.probes(probe_folder, name="broken", supervisors={"labels": w2s.Given(str(tmp_path / "nowhere.csv"))})
    with pytest.raises(w2s.UserError, match=r"nowhere.csv does not exist"):
        w2s.run(plan, quiet=True)
    with pytest.raises(w2s.UserError, match=r"has no results.json"):
        w2s.load_results(tmp_path)


def test_configs_that_ship_with_the_package_are_loaded_by_name() -> None:
    assert isinstance(w2s.load_experiment("quickstart_probe"), w2s.Experiment)
    with pytest.raises(w2s.UserError):
        w2s.load_experiment("no_such_config")
