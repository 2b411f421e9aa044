"""The table of kinds is open: a kind is an entry there, and one for each library."""

from typing import NamedTuple

import jax
import numpy as np
import pytest

import jaxrnn
from jaxrnn.convert import _kinds as kinds
from jaxrnn.convert import torch
from tests.laws.cases import assert_same_bits

F, H = 3, 4
rng = np.random.RandomState(0)


class PeepholeParams(NamedTuple):
    wx: jax.Array
    wh: jax.Array
    b: jax.Array
    peep: jax.Array


class ProjectedParams(NamedTuple):
    wx: jax.Array
    wh: jax.Array
    b: jax.Array
    down: jax.Array


class CoupledParams(NamedTuple):
    wx: jax.Array
    wh: jax.Array
    b: jax.Array


class TwoParams(NamedTuple):
    wx: jax.Array
    wh: jax.Array
    b: jax.Array


def named(kind):
    """A cell that `convert` knows by its name; it need not run."""
    make = lambda hidden, activation: jaxrnn.lstm(hidden)._replace(
        spec=(kind, ("hidden", hidden))
    )
    return make


KINDS = (
    kinds.Kind(
        "peephole",
        PeepholeParams,
        "ifgo",
        named("peephole"),
        {"peep": kinds.Field(lambda hidden: (3 * hidden,), True, "peephole")},
    ),
    kinds.Kind(
        "projected",
        ProjectedParams,
        "ifgo",
        named("projected"),
        {"down": kinds.Field(lambda hidden: (hidden, 2), True, "projection")},
        hidden=lambda wh, fields: len(fields["down"]),
    ),
    kinds.Kind("two", TwoParams, "fn", named("two")),
    # as many gates as a GRU, and in no library here
    kinds.Kind("coupled", CoupledParams, "fgo", named("coupled")),
)
MODULES = (
    torch.Module("peephole", {"peep": "weight_p"}),
    torch.Module("projected", {"down": "weight_hr"}),
    torch.Module("two"),
)


@pytest.fixture
def more_kinds(monkeypatch):
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, *KINDS))
    monkeypatch.setattr(torch, "MODULES", (*torch.MODULES, *MODULES))


SHAPES = {
    "peephole": dict(wx=(F, 4 * H), wh=(H, 4 * H), b=(4 * H,), peep=(3 * H,)),
    "projected": dict(wx=(F, 4 * H), wh=(2, 4 * H), b=(4 * H,), down=(H, 2)),
    "two": dict(wx=(F, 2 * H), wh=(H, 2 * H), b=(2 * H,)),
}


@pytest.mark.parametrize("kind", KINDS[:3], ids=lambda kind: kind.name)
def test_a_kind_that_is_entered_goes_there_and_back(kind, more_kinds):
    shapes = SHAPES[kind.name]
    params = kind.params(**{name: rng.randn(*shape) for name, shape in shapes.items()})
    cell = kind.make(H, None)
    state = jaxrnn.convert.to_torch(cell, params)
    assert state["weight_ih_l0"].shape == shapes["wx"][::-1]
    for name in MODULES[KINDS.index(kind)].tensors.values():
        assert f"{name}_l0" in state
    back, found = jaxrnn.convert.from_torch(state)
    assert back.spec == (kind.name, ("hidden", H))
    assert type(found) is kind.params
    assert_same_bits(found, params)


@pytest.mark.parametrize("make", [jaxrnn.simple_rnn, jaxrnn.gru, jaxrnn.lstm])
def test_the_kinds_that_were_there_are_found_as_before(make, more_kinds):
    """An LSTM and a GRU have as many gates as some of the new ones."""
    cell = make(H)
    params = cell.init(jax.random.key(0), F)
    ways = [(jaxrnn.convert.to_torch, jaxrnn.convert.from_torch)]
    ways += [(jaxrnn.convert.to_keras, jaxrnn.convert.from_keras)]
    ways += [(jaxrnn.convert.to_nnx, jaxrnn.convert.from_nnx)]
    for write, read in ways:
        back, found = read(write(cell, params))
        assert back.spec == cell.spec
        assert_same_bits(found, params)
    if make is not jaxrnn.lstm:  # whose biases are not all zero
        state = jaxrnn.convert.to_torch(cell, params, bias=False)
        assert jaxrnn.convert.from_torch(state)[0].spec == cell.spec
    coupled = KINDS[3].make(H, None)
    weights = [rng.randn(*s) for s in ((F, 3 * H), (H, 3 * H), (3 * H,))]
    with pytest.raises(ValueError, match="torch has no coupled"):
        jaxrnn.convert.to_torch(coupled, CoupledParams(*weights))


def test_tensors_of_two_kinds_or_of_none(more_kinds, monkeypatch):
    state = {"weight_ih_l0": rng.randn(4 * H, F), "weight_hh_l0": rng.randn(4 * H, H)}
    with pytest.raises(
        ValueError, match="expected weight_ih_l0 and so on, got 'weight_q"
    ):
        jaxrnn.convert.from_torch(state | {"weight_q_l0": rng.randn(H)})
    with pytest.raises(ValueError, match=r"a peephole \[12\], got \[3\]"):
        jaxrnn.convert.from_torch(state | {"weight_p_l0": rng.randn(3)})
    twin = KINDS[2]._replace(name="twin")
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, twin))
    monkeypatch.setattr(torch, "MODULES", (*torch.MODULES, torch.Module("twin")))
    state = {"weight_ih_l0": rng.randn(2 * H, F), "weight_hh_l0": rng.randn(2 * H, H)}
    with pytest.raises(ValueError, match=r"of one kind of cell, got.* two and twin"):
        jaxrnn.convert.from_torch(state)
