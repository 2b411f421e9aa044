"""What is on the disk after a kill, a copy, or a save over what was loaded."""

import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import convert, train
from jaxrnn.train.checkpoint import Folder
from tests.laws.cases import assert_same_bits
from tests.museum.exhibits import exhibit

CHECKPOINT = "jaxrnn/train/checkpoint.py"
# Orbax leaves tasks behind, unfinished, when one of them fails.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


def tree(seed):
    return {"w": np.random.default_rng(seed).normal(size=(3, 4))}


def save(folder, *steps):
    with Folder(folder, keep=9) as home:
        for step in steps:
            home.save(step, tree(step))


def newest(folder):
    with Folder(folder) as home:
        return home.restore(tree(0))


@exhibit(
    60,
    "stanford-crfm/levanter#991",
    plant=(
        CHECKPOINT,
        "Folder.steps",
        "[p for p in self.checkpoints.iterdir() if p.is_dir()]",
        "[p / '1' if p.name == 'saving' else p for p in self.checkpoints.iterdir() if p.is_dir()]",
    ),
)
def test_a_folder_with_no_finished_checkpoint(tmp_path):
    """A run that was killed in its first save could not be started again."""
    save(tmp_path / "other", 1)
    half = tmp_path / "run" / "checkpoints" / "saving" / "1"
    shutil.copytree(tmp_path / "other" / "checkpoints" / "1", half)
    next(p for p in half.rglob("*") if p.is_file()).unlink()
    home = Folder(tmp_path / "run")
    half.mkdir(parents=True)  # while it runs
    assert home.restore(tree(0)) is None
    home.close()


@exhibit(
    62,
    "google/flax#1200",
    plant=(
        CHECKPOINT,
        "Folder.__init__",
        "shutil.rmtree(self._saving, ignore_errors=True)",
        "pass",
    ),
)
def test_killed_between_writing_and_renaming(tmp_path):
    """The remains of a killed save made every later save fail."""
    save(tmp_path, 1)
    left = tmp_path / "checkpoints" / "saving" / "2"
    shutil.copytree(tmp_path / "checkpoints" / "1", left)
    assert newest(tmp_path).step == 1
    save(tmp_path, 2)
    assert_same_bits(newest(tmp_path).tree, tree(2))


@exhibit(
    63,
    "google/orbax#394",
    plant=(
        CHECKPOINT,
        "Folder.restore",
        "_set_aside(self.checkpoints / str(newer))",
        "shutil.rmtree(self.checkpoints / str(newer))",
    ),
)
def test_a_copied_checkpoint_is_deleted(tmp_path):
    """A checkpoint copied by hand lacked a mark, counted as unfinished, and was deleted."""
    save(tmp_path / "a", 1, 2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert_same_bits(newest(tmp_path / "b").tree, tree(2))
    unknown = tmp_path / "b" / "checkpoints" / "3"
    shutil.copytree(tmp_path / "b" / "checkpoints" / "2", unknown)
    before = {p.name for p in unknown.rglob("*")}
    with pytest.warns(RuntimeWarning, match="cannot be used"):
        assert newest(tmp_path / "b").step == 2
    (kept,) = tmp_path.glob("b/checkpoints/3.unusable*")
    assert {p.name for p in kept.rglob("*")} == before


@exhibit(
    64,
    "AI-Hypercomputer/maxtext#5260",
    plant=(
        CHECKPOINT,
        "Folder._explained",
        "last = f' The last good one is of step {steps[-1]}.' if steps else ''",
        "last = f' The last good one is of step {steps[-1]}.' if steps else ''\nreturn",
    ),
)
def test_a_failed_save_that_is_believed(tmp_path, monkeypatch):
    """A save failed in the background after its step had been recorded as saved."""
    save(tmp_path, 1)
    with Folder(tmp_path) as home:
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fail)
            with pytest.raises(OSError, match=r"step 2.*no space.*step 1"):
                home.save(2, tree(2))
        home.save(2, tree(3))
    assert_same_bits(newest(tmp_path).tree, tree(3))


def fail(*_):
    raise OSError("no space left")


@exhibit(
    65,
    "google/orbax@a6f2c2b",
    plant=(CHECKPOINT, "Folder.save", "if final.exists():\n    _set_aside(final)", ""),
)
def test_the_same_step_saved_again(tmp_path):
    """After a preemption, the remains of a step blocked the next save of that step."""
    save(tmp_path, 5)
    with Folder(tmp_path) as home:
        home.save(5, tree(6))
    assert_same_bits(newest(tmp_path).tree, tree(6))


@exhibit(
    66,
    "google/grain@7443a2a",
    "google/grain#1178",
    "google/grain@e59abbc",
    plant=(
        "jaxrnn/train/data.py",
        "arrays.order",
        "np.random.default_rng((seed or 0, epoch))",
        "np.random.default_rng()",
    ),
)
def test_an_iterator_restored_somewhere_else():
    """A restored iterator of shuffled data continued at another element."""
    make = lambda: train.arrays(np.arange(10), 3, batch_axis=0, seed=2, epochs=2)
    whole, iterator = list(make()), iter(make())
    for i in range(len(whole)):
        other = iter(make())
        other.set_state(iterator.get_state())
        np.testing.assert_array_equal(list(other), whole[i:])
        next(iterator)


@exhibit(
    67,
    "huggingface/safetensors#764",
    plant=(
        "jaxrnn/convert/files.py",
        "_write",
        "os.replace(staged, path)",
        "path.write_bytes(data[:len(data) // 2])",
    ),
)
def test_saved_over_the_file_that_it_was_read_from(tmp_path):
    """Saving over a file whose arrays were still memory-mapped destroyed both."""
    cell = jaxrnn.lstm(4)
    params = cell.init(jax.random.key(0), features=3)
    convert.save_safetensors(tmp_path / "a", params)
    loaded = convert.load_safetensors(tmp_path / "a", params)
    convert.save_safetensors(tmp_path / "a", jax.tree.map(jnp.negative, loaded))
    assert_same_bits(loaded, params)
    again = convert.load_safetensors(tmp_path / "a", params)
    assert_same_bits(again, jax.tree.map(jnp.negative, params))
