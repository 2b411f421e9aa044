"""Checkpoints that cannot be trusted are not used, and nothing that is good is lost."""

import contextlib
import json
import os
import resource
import shutil
import warnings

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

from jaxrnn.train.checkpoint import Folder
from jaxrnn.train.orbax import _orbax, read_tree, write_tree
from tests.train.cases import assert_same_bits

# Orbax leaves tasks behind, unfinished, when one of them fails.
unfinished = "ignore::pytest.PytestUnraisableExceptionWarning"
pytestmark = pytest.mark.filterwarnings(unfinished)


def tree(seed=0, width=300):
    """Leaves of many types; `width` beyond one block of a file."""
    r = np.random.default_rng(seed)
    w = r.normal(size=(4, width))
    params = {"w": jnp.asarray(w), "half": jnp.asarray(w[0], jnp.bfloat16)}
    memory = optax.adam(1.0).init(params)
    return params, memory, jax.random.key(seed), jnp.int32(seed), jnp.array(True)


def saved(folder, *steps):
    with Folder(folder, keep=9) as home:
        for step in steps:
            home.save(step, tree(step), place=step)


def restored(folder, like=None):
    with Folder(folder) as home:
        return home.restore(tree() if like is None else like)


def everything(folder):
    return {
        p.relative_to(folder): p.is_file() and p.read_bytes() for p in folder.rglob("*")
    }


def test_types_and_structure_return(tmp_path):
    saved(tmp_path, 3, 12, 7)
    step, found, notes = restored(tmp_path)
    assert (step, notes) == (12, {"place": 12})
    assert jax.tree.structure(found) == jax.tree.structure(tree())
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(tree(12)), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
    assert found[0]["half"].dtype == ml_dtypes.bfloat16
    assert_same_bits(found, tree(12))
    assert jax.random.uniform(found[2]) == jax.random.uniform(tree(12)[2])


def test_empty_and_scalar_leaves(tmp_path):
    strange = {"none": np.zeros((0, 3)), "nan": np.float32("nan"), "deep": [(), None]}
    write_tree(tmp_path / "one", strange)
    assert_same_bits(read_tree(tmp_path / "one", strange), strange)


def test_an_empty_folder(tmp_path):
    assert restored(tmp_path / "new" / "one") is None


def test_keeps_the_newest(tmp_path):
    with Folder(tmp_path, keep=2) as home:
        for step in (1, 2, 3, 10):
            home.save(step, tree(step))
        assert home.steps() == [3, 10]


def files(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    saved(folder, 100, 200)
    return folder


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def flipped(path):
    data = bytearray(path.read_bytes() or b"0")
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        flipped,
        *(
            pytest.param(d, marks=pytest.mark.slow)
            for d in (truncated, emptied, os.remove)
        ),
    ],
)
def test_damage_to_any_file(two, damage, tmp_path):
    """The one before is used, loudly; or what is read is right to the bit."""
    names = [p.relative_to(two) for p in files(two / "checkpoints" / "200")]
    largest = max(names, key=lambda name: (two / name).stat().st_size)
    hurt = set()
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        shutil.copytree(two, folder)
        damage(folder / name)
        before = len(files(folder))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            step, found, notes = restored(folder)
        assert_same_bits(found, tree(step))
        assert notes == {"place": step}
        assert len(files(folder)) == before
        assert (folder / "checkpoints" / "200.unusable").exists() == (step == 100)
        if step == 100:
            hurt.add(name)
            (warning,) = said
            assert "going on from step 100" in str(warning.message)
            with Folder(folder) as home:
                home.save(200, tree(200))
            assert restored(folder).step == 200
    needed = {"_CHECKPOINT_METADATA", "_METADATA", largest.name}
    assert {name.name for name in hurt} >= needed
    assert len(names) >= 8


def foreign_orbax(path):
    save = _orbax("save", "save_pytree")
    save(path, {"w": np.ones(3)}, custom_metadata={"of": "somebody"})


def copied(path):
    shutil.copytree(path.parent / "100", path)


def no_orbax(path):
    path.mkdir()
    (path / "notes.txt").write_text("keep me")


def empty(path):
    path.mkdir()


@pytest.mark.parametrize("make", [foreign_orbax, copied, no_orbax, empty])
def test_a_foreign_newest(make, tmp_path):
    saved(tmp_path, 100)
    newest = tmp_path / "checkpoints" / "300"
    make(newest)
    before = everything(newest)
    with pytest.warns(RuntimeWarning, match=r"going on from step 100.*/300:"):
        assert restored(tmp_path).step == 100
    assert everything(newest.with_name("300.unusable")) == before


LIKES = {
    "shape": (tree(width=301), r"\['half'\]: .*bfloat16 \[301\], got .* \[300\]"),
    "dtype": (jax.tree.map(lambda a: a.astype(jnp.float32), tree()[0]), "value"),
    "names": ({"v": tree()[0]["w"]}, "no.* value|value"),
}


@pytest.mark.parametrize("name", LIKES)
def test_another_model(name, tmp_path):
    """None fits: it does not start over, and touches nothing."""
    saved(tmp_path, 100, 200)
    before = everything(tmp_path)
    like, said = LIKES[name]
    with pytest.raises(ValueError, match=f"none of the checkpoints.*{said}"):
        restored(tmp_path, like)
    assert everything(tmp_path) == before


def test_deletes_only_its_own(tmp_path):
    """Old folders with a number for a name, and anything else, stay."""
    saved(tmp_path, 100)
    home = tmp_path / "checkpoints"
    no_orbax(home / "50")
    foreign_orbax(home / "60")
    for name in ("007", "7a", "notes.txt", "70.orbax-checkpoint-tmp-3"):
        (home / name).mkdir()
    with Folder(tmp_path, keep=1) as folder:
        folder.save(101, tree(101))
        folder.save(102, tree(102))
    kept = {"102", "50", "60", "007", "7a", "notes.txt", "70.orbax-checkpoint-tmp-3"}
    assert {p.name for p in home.iterdir()} == kept
    assert (home / "50" / "notes.txt").read_text() == "keep me"


@pytest.mark.parametrize("name", ["metrics.jsonl", "timing.jsonl"])
def test_rows_without_a_checkpoint_are_not_written_over(name, tmp_path):
    (tmp_path / name).write_text('{"step": 1}\n')
    with pytest.raises(ValueError, match=rf"{name} and no checkpoint"):
        restored(tmp_path)
    assert (tmp_path / name).read_text() == '{"step": 1}\n'


def test_a_foreign_step_that_comes_while_it_runs(tmp_path):
    """It counts for nothing: what was just saved stays."""
    with Folder(tmp_path, keep=1) as home:
        home.save(1, tree(1))
        no_orbax(home.checkpoints / "999")
        copied_from = home.checkpoints / "1"
        shutil.copytree(copied_from, home.checkpoints / "998")
        home.save(2, tree(2))
        home.save(3, tree(3))
        assert home.steps() == [3, 998, 999]


def test_notes_come_back_as_they_went(tmp_path):
    with Folder(tmp_path) as home:
        home.save(1, tree(1), place={2: "a", 10: ["b", None, 0.1]})
        assert home.restore(tree()).notes == {
            "place": {"2": "a", "10": ["b", None, 0.1]}
        }


@contextlib.contextmanager
def no_room(size=400):
    """Files may not grow beyond `size`, as on a full disk: the system refuses to write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only(folder):
    """Nobody may write there; a test that runs as root is somebody else meanwhile."""
    os.chmod(folder, 0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        os.chmod(folder, 0o755)


@pytest.mark.parametrize("trouble", ["no room", "read only"])
def test_cannot_write(trouble, tmp_path):
    """A clear error; the last good one intact; and with room again it goes on."""
    for folder in (tmp_path, *tmp_path.parents):  # that nobody may enter
        if folder.owner() == "root" and os.geteuid() == 0 and folder != folder.parent:
            os.chmod(folder, os.stat(folder).st_mode | 0o055)
    with Folder(tmp_path, keep=1) as home:
        home.save(100, tree(100))
        before = everything(home.checkpoints / "100")
        block = no_room() if trouble == "no room" else read_only(home.checkpoints)
        said = (
            r"cannot save the checkpoint of step 200 in .*: .* of step 100\. Make room"
        )
        with block, pytest.raises(OSError, match=said):
            home.save(200, tree(200))
        assert home.steps() == [100]
        assert everything(home.checkpoints / "100") == before
        assert_same_bits(home.restore(tree()).tree, tree(100))
        home.save(200, tree(200))
        assert home.steps() == [200]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot use .*/file/run as a run's folder"):
        Folder(tmp_path / "file" / "run")


def test_one_writer(tmp_path):
    said = "another run is writing there"
    with Folder(tmp_path), pytest.raises(BlockingIOError, match=said):
        Folder(tmp_path)
    Folder(tmp_path).close()


def test_hash_covers_the_notes(tmp_path):
    saved(tmp_path, 100, 200)
    about = tmp_path / "checkpoints" / "200" / "_CHECKPOINT_METADATA"
    said = json.loads(about.read_text())
    said["custom_metadata"]["notes"]["place"] = 201
    about.write_text(json.dumps(said))
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert restored(tmp_path).step == 100
