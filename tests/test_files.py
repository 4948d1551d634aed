"""What is read from a file once is read again when the file has changed."""

import os

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import models
from w2s_jax.data import arrays
from w2s_jax.runtime import files


def test_a_result_lasts_as_long_as_its_file_is_the_same(tmp_path):
    calls = []

    @files.cached(maxsize=4)
    def read(path):
        calls.append(path)
        return open(path).read()

    path = tmp_path / "file"
    path.write_text("one")
    assert [read(str(path)), read(str(path))] == ["one", "one"]
    assert len(calls) == 1
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert read(str(path)) == "two"


@pytest.mark.parametrize("change", ["seed", "config"])
def test_a_changed_model_has_another_fingerprint_within_one_process(tmp_path, change):
    folder = make.llama(tmp_path / "model")
    before, (config, _) = models.fingerprint(str(folder)), models.outline(str(folder))
    make.llama(tmp_path / "model", **({"seed": 1} if change == "seed" else {"layers": 1}))
    assert models.fingerprint(str(folder)) != before
    assert (models.outline(str(folder))[0] == config) == (change == "seed")


def test_changed_arrays_are_read_again(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, probs=np.eye(2))
    before = arrays.fingerprint(f"{path}:probs")
    np.savez(path, probs=np.eye(2)[::-1])
    os.utime(path, ns=(2, 2))
    assert arrays.read(f"{path}:probs")[0, 0] == 0
    assert arrays.fingerprint(f"{path}:probs") != before
