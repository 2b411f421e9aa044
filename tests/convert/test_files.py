"""Files of params: what is written is read, and nothing else is."""

import json
import os
import struct
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import convert, noise
from tests.installed import need
from tests.laws import cases

CELL = jaxrnn.stack(jaxrnn.bidirectional(jaxrnn.gru(4)), jaxrnn.lstm(5))
PARAMS = cases.randomise(1, CELL.init(jax.random.key(0), 3))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "params.safetensors"
    convert.save_safetensors(path, PARAMS, cell=CELL)
    return path


def test_there_and_back(saved):
    like = jax.eval_shape(lambda: CELL.init(jax.random.key(0), 3))
    loaded = convert.load_safetensors(saved, like, cell=CELL)
    assert jax.tree.structure(loaded) == jax.tree.structure(PARAMS)
    cases.assert_same_bits(loaded, PARAMS)
    names = set(convert.read_safetensors(saved))
    assert {"0.forward.wx", "0.backward.bn", "1.wh"} < names
    header = read_header(saved)[0]["__metadata__"]
    assert header["jaxrnn"] == jaxrnn.__version__
    assert header["cell"] == repr(CELL)
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "int32", "bool"])
def test_any_tree_of_any_dtype(tmp_path, dtype):
    random = np.random.RandomState(0)
    tree = {
        "a b": jnp.asarray(3 * random.randn(3, 2), dtype),
        "n": [None, jnp.ones(()), 0.5],
    }
    tree["empty"] = jnp.zeros((0, 3), dtype)
    tree["turned"] = np.asarray(3 * random.randn(3, 2)).astype(tree["empty"].dtype).T
    assert not tree["turned"].flags.c_contiguous
    convert.save_safetensors(tmp_path / "x", tree)
    loaded = convert.load_safetensors(tmp_path / "x", tree)
    assert jax.tree.structure(loaded) == jax.tree.structure(tree)
    tree = jax.tree.map(jnp.asarray, tree)
    for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(tree), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_a_whole_model(tmp_path):
    """What a user has beside a cell, and what Flax keeps."""
    model = {"cell": PARAMS, "readout": {"kernel": jnp.arange(6.0).reshape(3, 2)}}
    convert.save_safetensors(tmp_path / "x", model)
    cases.assert_same_bits(convert.load_safetensors(tmp_path / "x", model), model)
    assert "cell.1.wx" in convert.read_safetensors(tmp_path / "x")


def test_what_no_file_can_hold(tmp_path):
    path = tmp_path / "x"
    for tree, message in (
        ({"a.b": jnp.ones(2), "a": {"b": jnp.ones(2)}}, "two leaves are named 'a.b'"),
        ({"key": jax.random.key(0)}, "'key' is a random key"),
        ({"a": np.array(["text"])}, "cannot hold 'a' of <U4"),
        ({"a": np.array([object()])}, "cannot hold 'a' of object"),
        ({"a": jnp.ones(2, jnp.float8_e5m2)}, "cannot hold 'a' of float8_e5m2"),
        ({"__metadata__": jnp.ones(2)}, "other than __metadata__"),
        ({"a": "text"}, "expected arrays, got 'a': 'text'"),
        ({"a": object()}, "expected arrays, got 'a'"),
    ):
        with pytest.raises(ValueError, match=message):
            convert.save_safetensors(path, tree)
    assert not list(tmp_path.iterdir())


def test_the_old_file_stays_until_the_new_is_whole(saved, monkeypatch):
    before = saved.read_bytes()
    other = jax.tree.map(lambda a: a + 1, PARAMS)
    for broken in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, broken, fail)
            with pytest.raises(OSError, match="no space"):
                convert.save_safetensors(saved, other)
        assert saved.read_bytes() == before
        assert [p.name for p in saved.parent.iterdir()] == [saved.name]
    convert.save_safetensors(saved, other)
    cases.assert_same_bits(convert.load_safetensors(saved, PARAMS), other)
    with pytest.raises(FileNotFoundError, match=r"missing'$"):
        convert.save_safetensors(saved.parent / "missing" / "x", PARAMS)


def fail(*_):
    raise OSError("no space left")


def test_saving_over_the_file_that_was_loaded(saved):
    loaded = convert.load_safetensors(saved, PARAMS)
    kept = convert.read_safetensors(saved)
    convert.save_safetensors(saved, jax.tree.map(lambda a: 2 * a, loaded))
    cases.assert_same_bits(loaded, PARAMS)
    np.testing.assert_array_equal(kept["1.wx"], PARAMS[1].wx)
    doubled = convert.load_safetensors(saved, PARAMS)
    cases.assert_same_bits(doubled, jax.tree.map(lambda a: 2 * a, PARAMS))


def read_header(path):
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def with_header(header, body, size=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + body


def changed(header, name, **fields):
    return header | {name: header[name] | fields}


def overlapping(header, body):
    start = header["1.b"]["data_offsets"]
    return changed(header, "0.forward.bn", data_offsets=[start[0], start[0] + 32]), body


def moved(header, body):
    """A hole: every tensor 8 bytes further."""
    shifted = {
        name: entry
        if name == "__metadata__"
        else entry | {"data_offsets": [at + 8 for at in entry["data_offsets"]]}
        for name, entry in header.items()
    }
    return shifted, bytes(8) + body


def twice(header, body):
    text = json.dumps(header)
    entry = json.dumps({"1.b": header["1.wx"]})[1:-1]
    return f"{text[:-1]}, {entry}}}".encode(), body


def without(header, body):
    """A tensor less, its bytes too."""
    last = max(
        (n for n in header if n != "__metadata__"),
        key=lambda n: header[n]["data_offsets"][1],
    )
    start = header[last]["data_offsets"][0]
    return {n: e for n, e in header.items() if n != last}, body[:start]


def extra(header, body):
    entry = {"dtype": "F64", "shape": [1], "data_offsets": [len(body), len(body) + 8]}
    return header | {"more": entry}, body + bytes(8)


def renamed(header, body):
    return {("2.b" if n == "1.b" else n): e for n, e in header.items()}, body


DAMAGE = {
    "empty": lambda header, body: b"",
    "seven bytes": lambda header, body: b"1234567",
    "no tensors": lambda header, body: with_header({}, b""),
    "half": lambda header, body: with_header(header, body)[: len(body) // 2],
    "last byte lost": lambda header, body: with_header(header, body)[:-1],
    "a byte too many": lambda header, body: with_header(header, body + b"x"),
    "header too long": lambda header, body: with_header(header, body, 2**40),
    "header longer than the file": lambda header, body: with_header(header, body, 9999),
    "header too short": lambda header, body: with_header(header, body, 20),
    "negative length": lambda header, body: with_header(header, body, 2**64 - 1),
    "no json": lambda header, body: with_header(b"{nothing", body),
    "a list": lambda header, body: with_header([1], body),
    "no utf-8": lambda header, body: with_header(b'{"\xff": 1}', body),
    "overlapping": lambda header, body: with_header(*overlapping(header, body)),
    "a hole": lambda header, body: with_header(*moved(header, body)),
    "the same name twice": lambda header, body: with_header(*twice(header, body)),
    "offsets reversed": lambda header, body: with_header(
        changed(header, "1.b", data_offsets=header["1.b"]["data_offsets"][::-1]), body
    ),
    "offsets beyond": lambda header, body: with_header(
        changed(header, "1.b", data_offsets=[0, 2**40]), body
    ),
    "no such dtype": lambda header, body: with_header(
        changed(header, "1.b", dtype="F65"), body
    ),
    "another dtype": lambda header, body: with_header(
        changed(header, "1.b", dtype="I64"), body
    ),
    "a narrower dtype": lambda header, body: with_header(
        changed(header, "1.b", dtype="F32", shape=[40]), body
    ),
    "another shape": lambda header, body: with_header(
        changed(header, "1.b", shape=[4, 5]), body
    ),
    "a shape too large": lambda header, body: with_header(
        changed(header, "1.b", shape=[21]), body
    ),
    "a shape that overflows": lambda header, body: with_header(
        changed(header, "1.b", shape=[2**62, 4]), body
    ),
    "a tensor missing": lambda header, body: with_header(*without(header, body)),
    "a tensor too many": lambda header, body: with_header(*extra(header, body)),
    "another name": lambda header, body: with_header(*renamed(header, body)),
    "a pickle": lambda header, body: b"\x80\x04\x95\x0e\x00\x00\x00\x00\x00\x00\x00.",
    "a zip": lambda header, body: b"PK\x03\x04" + bytes(60),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_refused(saved, name):
    saved.write_bytes(DAMAGE[name](*read_header(saved)))
    with pytest.raises(ValueError, match=r"params.safetensors: ") as caught:
        convert.load_safetensors(saved, PARAMS)
    assert len(str(caught.value)) < 500


def test_every_cut_is_refused(saved):
    """Wherever the writing of a file stopped."""
    data = saved.read_bytes()
    for end in [*range(0, 40), *range(40, len(data), 97)]:
        saved.write_bytes(data[:end])
        with pytest.raises(ValueError, match="safetensors: expected a whole"):
            convert.load_safetensors(saved, PARAMS)


def test_the_test_of_damage_leaves_an_undamaged_file_alone(saved):
    saved.write_bytes(with_header(*read_header(saved)))
    cases.assert_same_bits(convert.load_safetensors(saved, PARAMS), PARAMS)


def test_another_cells_file_is_refused(saved):
    gru = jaxrnn.gru(4)
    path = saved.parent / "gru"
    tanh, relu = (jaxrnn.simple_rnn(4, activation=a) for a in ("tanh", "relu"))
    params = tanh.init(jax.random.key(0), 3)
    convert.save_safetensors(path, params, cell=tanh)
    with pytest.raises(ValueError, match=r"expected the params of .*relu.*tanh"):
        convert.load_safetensors(path, params, cell=relu)
    convert.load_safetensors(path, params)  # nobody asked
    with pytest.raises(ValueError, match=r"params.safetensors: expected the params of"):
        convert.load_safetensors(saved, gru.init(jax.random.key(0), 3), cell=gru)


def test_a_cell_of_ones_own_has_no_name(tmp_path):
    """Made anew in the next process it is another function, and loads all the same."""
    make = lambda: jaxrnn.stack(cases.own_gated(3), jaxrnn.gru(4))
    params = make().init(jax.random.key(0), 3)
    convert.save_safetensors(tmp_path / "x", params, cell=make())
    assert "cell" not in read_header(tmp_path / "x")[0]["__metadata__"]
    loaded = convert.load_safetensors(tmp_path / "x", params, cell=make())
    cases.assert_same_bits(loaded, params)
    with pytest.raises(ValueError, match=r"cell: expected a jaxrnn\.Cell"):
        convert.save_safetensors(tmp_path / "x", params, cell="gru")


def test_loaded_as_what_is_there_is_sharded(saved):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.NamedSharding(mesh, jax.P(None, "d"))
    like = jax.tree.map(jnp.asarray, PARAMS)
    even = like[1]._replace(wh=jax.device_put(like[1].wh, spread))
    loaded = convert.load_safetensors(saved, (like[0], even))
    assert loaded[1].wh.sharding == spread
    cases.assert_same_bits(loaded, PARAMS)


def test_float64_is_said_to_become_float32(saved):
    like = convert.load_safetensors(saved, PARAMS)
    like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, np.float64), like)
    said = pytest.warns(UserWarning, match="float64 weights become float32")
    with jax.enable_x64(False), said:
        convert.load_safetensors(saved, like)


def test_a_cell_of_other_initial_values_is_the_same(saved):
    slow = jaxrnn.stack(
        jaxrnn.bidirectional(jaxrnn.gru(4, update_bias=2.0)),
        jaxrnn.lstm(5, forget_bias=3.0, dtype=jnp.float64),
    )
    cases.assert_same_bits(convert.load_safetensors(saved, PARAMS, cell=slow), PARAMS)


def test_a_cell_with_noise_has_the_file_of_the_cell_without(saved, tmp_path):
    plain, path = jaxrnn.gru(4), tmp_path / "noisy.safetensors"
    params = plain.init(jax.random.key(0), 3)
    noisy = noise.zoneout(noise.weight_drop(plain, 0.3), 0.1)
    convert.save_safetensors(path, params, cell=jaxrnn.stack(noise.dropout(noisy, 0.2)))
    for other in (plain, noise.dropout(plain, 0.4)):
        got = convert.load_safetensors(path, params, cell=jaxrnn.stack(other))
        cases.assert_same_bits(got, params)
    with pytest.raises(ValueError, match=r"expected the params of stack\(lstm"):
        convert.load_safetensors(path, params, cell=jaxrnn.stack(jaxrnn.lstm(4)))


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        convert.load_safetensors(tmp_path / "nothing", PARAMS)
    with pytest.raises(IsADirectoryError):
        convert.load_safetensors(tmp_path, PARAMS)


@pytest.mark.slow
def test_a_file_of_torch(tmp_path):
    need("torch")
    import torch
    from safetensors.torch import save_file

    module = torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    save_file(module.state_dict(), tmp_path / "torch.safetensors")
    state = convert.read_safetensors(tmp_path / "torch.safetensors")
    cell, params = convert.from_torch(state)
    xs = np.random.RandomState(0).randn(5, 3, 3).astype(np.float32)
    _, hs = jaxrnn.unroll(cell, params, None, xs)
    theirs = module(torch.from_numpy(xs))[0].detach().numpy()
    np.testing.assert_allclose(hs, theirs, rtol=0, atol=1e-6)
    half = {name: a.bfloat16() for name, a in module.state_dict().items()}
    save_file(half, tmp_path / "half.safetensors")
    direct = convert.from_torch(half)[1]
    filed = convert.from_torch(convert.read_safetensors(tmp_path / "half.safetensors"))[
        1
    ]
    cases.assert_same_bits(direct, filed)
    assert direct[0].forward.wx.dtype == jnp.bfloat16


@pytest.mark.slow
def test_a_torch_module_may_train_on(tmp_path):
    need("torch")
    import torch

    module = torch.nn.GRU(3, 4)
    _, params = convert.from_torch(module.state_dict())
    before = jax.tree.map(np.array, params)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    cases.assert_same_bits(params, before)


def test_without_the_extra(monkeypatch, tmp_path):
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"jaxrnn\[safetensors\]"):
        convert.save_safetensors(tmp_path / "x", PARAMS)
    with pytest.raises(ImportError, match=r"jaxrnn\[safetensors\]"):
        convert.load_safetensors(tmp_path / "x", PARAMS)
    assert not list(tmp_path.iterdir())
