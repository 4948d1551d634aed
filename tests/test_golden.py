"""Nothing changes by accident: every kind of supervisor, way to learn and learner gives what it gave."""

import json

import pytest

from tests import golden

WRITTEN = json.loads(golden.FILE.read_text())
NAMES = list(WRITTEN["experiments"])


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    return {experiment.name: experiment for experiment in golden.experiments(tmp_path_factory.mktemp("golden"))}


def test_every_experiment_is_written_down(experiments):
    assert list(experiments) == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_gives_what_it_gave(experiments, name):
    found, expected = golden.run(experiments[name]), WRITTEN["experiments"][name]
    assert found["stages"] == expected["stages"]
    assert found["cells"].keys() == expected["cells"].keys()
    for cell, roles in expected["cells"].items():
        for role, values in roles.items():
            assert found["cells"][cell][role] == pytest.approx(values, abs=0.03), (cell, role)
    if golden.machine() == WRITTEN["machine"]:
        assert found["bits"] == expected["bits"]
