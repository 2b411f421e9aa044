"""The table of kinds is open: a kind is one entry there and nothing else."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import convert
from jaxrnn._factory import factory
from jaxrnn.cells.lstm import LSTMCarry
from jaxrnn.convert import _kinds
from jaxrnn.convert._kind import Field, Kind, Layout
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


def made_up(name, *sizes):
    """A cell of the factory `name`; it need not run."""

    def init(key, features):
        raise NotImplementedError

    def cell_of(**arguments):
        def step(params, carry, x):
            raise NotImplementedError

        spec = (name, *arguments.items())
        return jaxrnn.Cell(init=init, initial_carry=init, step=step, spec=spec)

    if sizes:
        return factory(
            lambda hidden, projection: cell_of(hidden=hidden, projection=projection)
        )
    return factory(lambda hidden: cell_of(hidden=hidden))


KINDS = (
    Kind(
        "peephole",
        "peephole LSTM",
        PeepholeParams,
        made_up("peephole"),
        "ifgo",
        {
            "torch": Layout("Peephole", "fiog", {"peep": "weight_p"}),
            "Equinox": Layout("Peephole", "gifo", {"peep": "weight_p"}),
            "Linen": Layout(
                "Peephole", "ifgo", {"peep": "peep"}, form="gates", bias_on="i"
            ),
            "NNX": Layout(
                "Peephole", "ogfi", {"peep": "peep"}, form="sides", bias_on="h"
            ),
            "Keras": Layout("Peephole", "ifgo"),  # without a place for peep
        },
        fields={"peep": Field(lambda s: (3 * s["hidden"],), True, "peephole")},
    ),
    Kind(
        "projected",
        "projected LSTM",
        ProjectedParams,
        made_up("projected", "projection"),
        "ifgo",
        {"torch": Layout("Projected", "ifgo", {"down": "weight_d"})},
        fields={
            "down": Field(lambda s: (s["hidden"], s["projection"]), True, "projection")
        },
        sizes=lambda weights: {
            "hidden": len(weights["down"]),
            "projection": len(weights["wh"]),
        },
    ),
    Kind(
        "two",
        "two",
        TwoParams,
        made_up("two"),
        "uv",
        {
            "torch": Layout("Two", "vu"),
            "Keras": Layout("Two", "vu"),
            "Equinox": Layout("Two", "vu"),
            "Linen": Layout("Two", "uv", form="gates", bias_on="i"),
            "NNX": Layout("Two", "vu", form="sides", bias_on="i"),
            "Haiku": Layout("two", "vu", form="joint", added={"v": 0.5}),
        },
    ),
    # as many gates as a GRU, and in no library here
    Kind("coupled", "coupled", CoupledParams, made_up("coupled"), "fgo", {}),
)
PEEPHOLE, PROJECTED, TWO, COUPLED = KINDS


@pytest.fixture
def more_kinds(monkeypatch):
    monkeypatch.setattr(_kinds, "KINDS", (*_kinds.KINDS, *KINDS))


def params_of(kind, features=F):
    n = len(kind.gates)
    shapes = dict(wx=(features, n * H), wh=(H, n * H), b=(n * H,))
    if kind is PEEPHOLE:
        shapes["peep"] = (3 * H,)
    if kind is PROJECTED:
        shapes |= dict(wh=(2, n * H), down=(H, 2))
    return kind.params(**{name: rng.randn(*shape) for name, shape in shapes.items()})


def cell_of(kind):
    return kind.factory(H, 2) if kind is PROJECTED else kind.factory(H)


WAYS = {
    "torch": (convert.to_torch, convert.from_torch),
    "Keras": (convert.to_keras, convert.from_keras),
    "Linen": (convert.to_linen, convert.from_linen),
    "NNX": (convert.to_nnx, convert.from_nnx),
    "Equinox": (convert.to_equinox, convert.from_equinox),
    "Haiku": (convert.to_haiku, convert.from_haiku),
}
PAIRS = [
    (kind, library)
    for kind in KINDS[:3]
    for library in WAYS
    if library in kind.layouts and (kind, library) != (PEEPHOLE, "Keras")
]


@pytest.mark.parametrize(
    ("kind", "library"), PAIRS, ids=[f"{kind.name} {name}" for kind, name in PAIRS]
)
def test_a_kind_that_is_entered_goes_there_and_back(kind, library, more_kinds):
    write, read = WAYS[library]
    params, cell = params_of(kind), cell_of(kind)
    back, found = read(write(cell, params))
    assert back.spec == cell.spec
    assert type(found) is kind.params
    if library == "Haiku":  # 0.5 is taken off and added again
        jax.tree.map(np.testing.assert_allclose, found, params)
    else:
        assert_same_bits(found, params)


def test_a_kind_that_is_entered_is_written_in_the_order_of_its_library(more_kinds):
    params = params_of(PEEPHOLE)
    state = convert.to_torch(cell_of(PEEPHOLE), params)
    assert {name: a.shape for name, a in state.items()} == {
        "weight_ih_l0": (4 * H, F),
        "weight_hh_l0": (4 * H, H),
        "bias_ih_l0": (4 * H,),
        "bias_hh_l0": (4 * H,),
        "weight_p_l0": (3 * H,),
    }
    i, f, g, o = np.split(params.wx, 4, axis=-1)
    np.testing.assert_array_equal(
        state["weight_ih_l0"], np.concatenate([f, i, o, g], -1).T
    )
    np.testing.assert_array_equal(state["weight_p_l0"], params.peep)
    weights = convert.to_haiku(cell_of(TWO), two := params_of(TWO))
    f, n = np.split(two.b, 2)
    np.testing.assert_array_equal(
        weights["two/linear"]["b"], np.concatenate([n - 0.5, f])
    )


@pytest.mark.parametrize("kind", KINDS[:2], ids=lambda kind: kind.name)
def test_stacks_and_both_ways_of_a_kind_that_is_entered(kind, more_kinds):
    cell = jaxrnn.bidirectional(cell_of(kind))
    width = 2 * len(params_of(kind).wh)
    cell = jaxrnn.stack(cell, cell)
    params = tuple(
        jaxrnn.BidirectionalParams(params_of(kind, n), params_of(kind, n))
        for n in (F, width)
    )
    back, found = convert.from_torch(convert.to_torch(cell, params))
    assert back.spec == cell.spec
    assert_same_bits(found, params)


@pytest.mark.parametrize("make", [jaxrnn.simple_rnn, jaxrnn.gru, jaxrnn.lstm])
def test_the_kinds_that_were_there_are_found_as_before(make, more_kinds):
    """An LSTM and a GRU have as many gates as some of the new ones."""
    cell = make(H)
    params = cell.init(jax.random.key(0), F)
    for library, (write, read) in WAYS.items():
        if library == "Haiku" or (library == "Equinox" and make is jaxrnn.simple_rnn):
            continue
        back, found = read(write(cell, params))
        assert back.spec == cell.spec
        assert_same_bits(found, params)
    if make is jaxrnn.lstm:
        back, _ = convert.from_haiku(convert.to_haiku(cell, params))
        assert back.spec == cell.spec
        back, _ = convert.from_cudnn(convert.to_cudnn(cell, params), F, H)
        assert back.spec == cell.spec
    else:  # all of its biases are zero, as an LSTM's are not
        state = convert.to_torch(cell, params, bias=False)
        assert convert.from_torch(state)[0].spec == cell.spec


@pytest.mark.parametrize("library", WAYS)
def test_a_kind_that_a_library_lacks(library, more_kinds):
    params = params_of(COUPLED)
    with pytest.raises(ValueError, match=f"{library} has no coupled"):
        WAYS[library][0](cell_of(COUPLED), params)


def test_no_field_is_dropped(more_kinds):
    params = params_of(PEEPHOLE)
    with pytest.raises(ValueError, match=r"params\.peep: expected zeros, because Peep"):
        convert.to_keras(cell_of(PEEPHOLE), params)


def test_without_biases_a_kind_keeps_what_is_no_bias(more_kinds):
    params = params_of(PEEPHOLE)
    params = params._replace(b=0 * params.b)
    for library in ("torch", "Equinox"):
        write, read = WAYS[library]
        weights = write(cell_of(PEEPHOLE), params, bias=False)
        assert not [name for name in weights if "bias" in name]
        assert_same_bits(read(weights)[1], params)
    cell = jaxrnn.gru(H)
    params = cell.init(jax.random.key(0), F)
    params = params._replace(b=0 * params.b, bn=jnp.ones(H))
    for library in ("torch", "Keras", "Equinox"):
        with pytest.raises(ValueError, match=f"{library} would drop biases"):
            WAYS[library][0](cell, params, bias=False)


def test_hints_know_the_tensors_of_a_kind_that_is_entered(more_kinds):
    state = convert.to_torch(cell_of(PEEPHOLE), params_of(PEEPHOLE))
    with pytest.raises(ValueError, match=r"Other names .*startswith.*'weight_p'"):
        convert.from_torch(state | {"out.weight": rng.randn(2, H)})
    peephole = state.pop("weight_p_l0")
    pruned = {"weight_p_l0_orig": peephole, "weight_p_l0_mask": peephole}
    with pytest.raises(ValueError, match="'weight_p_l0_mask' comes from pruning"):
        convert.from_torch(state | pruned)


def test_where_biases_are_tells_kinds_of_the_same_gates_apart(monkeypatch):
    """As a GRU of Linen and one that resets before its matmul."""
    layout = Layout("Before", "rzn", form="gates", bias_on="i")
    before = COUPLED._replace(name="before", gates="rzn", layouts={"Linen": layout})
    before = before._replace(factory=made_up("before"))
    monkeypatch.setattr(_kinds, "KINDS", (*_kinds.KINDS, before))
    params = params_of(before)
    back, found = convert.from_linen(convert.to_linen(cell_of(before), params))
    assert back.spec[0] == "before"
    assert_same_bits(found, params)
    cell = jaxrnn.gru(H)
    params = cell.init(jax.random.key(0), F)
    assert convert.from_linen(convert.to_linen(cell, params))[0].spec == cell.spec


def test_tensors_of_two_kinds_or_of_none(more_kinds, monkeypatch):
    state = {"weight_ih_l0": rng.randn(4 * H, F), "weight_hh_l0": rng.randn(4 * H, H)}
    with pytest.raises(
        ValueError, match="expected weight_ih_l0 and so on, got 'weight_q"
    ):
        convert.from_torch(state | {"weight_q_l0": rng.randn(H)})
    with pytest.raises(ValueError, match=r"a peephole \[12\], got \[3\]"):
        convert.from_torch(state | {"weight_p_l0": rng.randn(3)})
    both = {"weight_p_l0": rng.randn(3 * H), "weight_d_l0": rng.randn(2, H)}
    with pytest.raises(ValueError, match="expected no peephole and projection except"):
        convert.from_torch(state | both)
    twin = TWO._replace(name="twin")
    monkeypatch.setattr(_kinds, "KINDS", (*_kinds.KINDS, twin))
    state = {"weight_ih_l0": rng.randn(2 * H, F), "weight_hh_l0": rng.randn(2 * H, H)}
    with pytest.raises(ValueError, match=r"of one kind of cell, got.* two and twin"):
        convert.from_torch(state)
    with pytest.raises(ValueError, match=r"of one kind of cell, got.* two and twin"):
        convert.from_keras([a.T for a in state.values()])


def test_shapes_tell_kinds_of_the_same_names_apart(monkeypatch):
    wide = PEEPHOLE._replace(
        name="wide",
        params=ProjectedParams,
        factory=made_up("wide"),
        layouts={"torch": Layout("Wide", "ifgo", {"down": "weight_p"})},
        fields={"down": Field(lambda s: (4 * s["hidden"],), True, "peephole")},
    )
    monkeypatch.setattr(_kinds, "KINDS", (*_kinds.KINDS, PEEPHOLE, wide))
    state = {"weight_ih_l0": rng.randn(4 * H, F), "weight_hh_l0": rng.randn(4 * H, H)}
    for count, name in ((3, "peephole"), (4, "wide")):
        tensors = state | {"weight_p_l0": rng.randn(count * H)}
        assert convert.from_torch(tensors)[0].spec[0] == name


def test_the_gates_in_errors_are_those_of_the_table(more_kinds):
    weights = [rng.randn(F, 5 * H), rng.randn(H, 5 * H)]
    with pytest.raises(
        ValueError, match=r"for 1, 2, 3 or 4 gates \(simple RNN, MGU, UGRNN, two, "
    ):
        convert.from_keras(weights)


def test_the_table_is_whole():
    assert len({kind.params for kind in _kinds.KINDS}) == len(_kinds.KINDS)
    for kind in _kinds.KINDS:
        assert kind.params._fields == ("wx", "wh", "b", *kind.fields)
        for layout in kind.layouts.values():
            assert set(layout.gates) >= set(kind.gates)
            assert set(layout.tensors) <= set(kind.fields)


def test_what_a_cell_computes_is_read_and_not_what_it_is_called():
    """Two are made by one factory, and the others only say so."""
    cell = jaxrnn.lstm(H)
    params = cell.init(jax.random.key(0), F)
    weights = convert.to_keras(cell, params)
    start = lambda params, x: LSTMCarry(jnp.ones(H), jnp.ones(H))
    for same in (cell._replace(spec=()), cell._replace(initial_carry=start)):
        assert_same_bits(convert.to_keras(same, params), weights)
    step = lambda params, carry, x: cell.step(params, carry, x)
    gated = cell.parts._replace(output=lambda params, carry: carry.c)
    for other in (cell._replace(step=step), cell._replace(parts=gated)):
        with pytest.raises(ValueError, match=r"lstm\(hidden=4\) has no counterpart"):
            convert.to_keras(other, params)
