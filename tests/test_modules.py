"""Laws of the Flax modules, NNX's and Linen's alike: each is `jaxrnn.unroll`, batch first.

Most are what Flax asks of its own RNN (masks, reversed order, carries, several batch
axes, both directions), with inputs that change over time.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxrnn
import jaxrnn.linen
import jaxrnn.nnx
from jaxrnn import _modules, convert
from tests.laws import cases
from tests.laws.cases import B, F, H, T

LENGTHS = np.array([3, T, 0])


class Built(NamedTuple):
    """A module as two functions: ``call(params, carry, xs, **options)``, params."""

    call: Any
    params: Any


def build_nnx(make: Any, **options) -> Built:
    """`make`: a cell, or the name of a ready module and its width."""
    rngs = nnx.Rngs(0, dropout=1)
    if not isinstance(make, tuple) or isinstance(make, jaxrnn.Cell):
        module = jaxrnn.nnx.RNN(make, F, rngs=rngs, **options)
    else:
        name, width = make
        module = getattr(jaxrnn.nnx, name)(F, width, rngs=rngs, **options)

    def call(params, carry, xs, *, deterministic=True, seed=1, **given):
        mine = nnx.clone(module)
        mine.set_params(params)
        mine.eval() if deterministic else mine.train()
        nnx.reseed(mine, dropout=seed)
        return mine(carry, xs, **given)

    return Built(call, module.params)


def build_linen(make: Any, **options) -> Built:
    if not isinstance(make, tuple) or isinstance(make, jaxrnn.Cell):
        module = jaxrnn.linen.RNN(make, **options)
    else:
        name, width = make
        module = getattr(jaxrnn.linen, name)(width, **options)

    def call(params, carry, xs, *, deterministic=True, seed=1, **given):
        variables = {"params": {"cell": jaxrnn.linen.to_tree(params)}}
        static = {k: given.pop(k) for k in ("reverse", "remat", "engine") if k in given}
        static["deterministic"] = deterministic
        rngs = {"dropout": jax.random.key(seed)}
        return module.clone(**static).apply(variables, carry, xs, rngs=rngs, **given)

    event = cases.event_of(make) if isinstance(make, jaxrnn.Cell) else (F,)
    xs = jnp.zeros((B, T, *event))
    variables = module.init(jax.random.key(0), None, xs, deterministic=True)
    tree = nn.unbox(variables["params"]["cell"])
    return Built(call, jaxrnn.linen.from_tree(module.cell, tree, F))


BUILD = {"nnx": build_nnx, "linen": build_linen}
package = pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)


def options_of(name: str) -> tuple[dict, dict]:
    """``(batch first, time first)``: what a module gets, and `jaxrnn.unroll`."""
    random = np.random.RandomState(3)
    mask, resets = random.rand(T, B) < 0.7, random.rand(T, B) < 0.3
    assert 0 < mask.sum() < T * B
    assert 0 < resets.sum() < T * B
    mine: dict[str, dict] = {
        "plain": {},
        "lengths": {"lengths": LENGTHS},
        "lengths reversed": {"lengths": LENGTHS, "reverse": True},
        "mask and resets": {"mask": mask, "resets": resets, "remat": 2},
        "scan": {"mask": mask, "engine": "scan"},
    }
    time_first = mine[name]
    swap = {k: v.T for k, v in time_first.items() if k in ("mask", "resets")}
    return time_first | swap, time_first


@functools.cache
def by_unroll(cell: str, options: str):
    params, carry, xs = cases.example(cell)
    given = options_of(options)[1]
    run = functools.partial(jaxrnn.unroll, cases.CELLS[cell], **given)
    return jax.jit(cases.with_grads(run))(params, carry, xs)


@package
@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("gru", "lengths"),
        ("bidirectional", "lengths"),
        pytest.param("bare", "scan", marks=pytest.mark.slow),
        pytest.param("conv_lstm", "lengths", marks=pytest.mark.slow),
        pytest.param("lstm", "plain", marks=pytest.mark.slow),
        pytest.param("own_gated", "lengths reversed", marks=pytest.mark.slow),
        pytest.param("stack", "mask and resets", marks=pytest.mark.slow),
        pytest.param("learned_carry", "mask and resets", marks=pytest.mark.slow),
    ],
)
def test_a_module_is_unroll_with_the_batch_first(build, cell, options):
    module = build(cases.CELLS[cell])
    params, carry, xs = cases.example(cell)
    given = options_of(options)[0]

    def run(params, carry, xs):
        carry, hs = module.call(params, carry, xs.swapaxes(0, 1), **given)
        return carry, jax.tree.map(lambda a: a.swapaxes(0, 1), hs)

    ours = jax.jit(cases.with_grads(run))(params, carry, xs)
    cases.assert_close(ours, by_unroll(cell, options))


@pytest.mark.slow
@package
def test_without_a_carry_it_is_the_initial_one(build):
    module = build(cases.CELLS["learned_carry"])
    params, _, xs = cases.example("learned_carry")
    ours = module.call(params, None, xs.swapaxes(0, 1))
    carry, hs = jaxrnn.unroll(cases.CELLS["learned_carry"], params, None, xs)
    cases.assert_close(ours, (carry, hs.swapaxes(0, 1)))


@package
@pytest.mark.parametrize("batch", [(), (2, 3)], ids=str)
@pytest.mark.parametrize(
    "time_major", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_any_number_of_batch_axes(build, batch, time_major):
    module = build(jaxrnn.gru(H), time_major=time_major)
    params, carry, xs = cases.example("gru", batch)
    lengths = np.arange(np.prod(batch, dtype=int)).reshape(batch)
    mask = np.random.RandomState(5).rand(T, *batch) < 0.7
    axis = 0 if time_major else len(batch)
    first, given = jnp.moveaxis(xs, 0, axis), np.moveaxis(mask, 0, axis)
    last, hs = module.call(params, carry, first, lengths=lengths, mask=given)
    assert hs.shape[axis] == T
    expected = jaxrnn.unroll(
        jaxrnn.gru(H), params, carry, xs, lengths=lengths, mask=mask
    )
    cases.assert_close((last, jnp.moveaxis(hs, axis, 0)), expected)


@package
def test_a_row_ends_at_its_length(build):
    """The carry is that of the row alone, length 0 and NaN beyond the end included."""
    cell = jaxrnn.lstm(H)
    module = build(cell)
    params, carry, xs = cases.example("lstm")
    padded = jnp.where(np.arange(T)[:, None, None] < LENGTHS[:, None], xs, jnp.nan)
    last, hs = module.call(params, carry, padded.swapaxes(0, 1), lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        pick = lambda a, row=row: a[row]
        c, h = jaxrnn.unroll(cell, params, jax.tree.map(pick, carry), xs[:length, row])
        cases.assert_close(jax.tree.map(pick, last), c)
        cases.assert_close(hs[row, :length], h)
        assert not hs[row, length:].any()


def flax_linen(cell, xs, **options):
    rnn = nn.RNN(cell, return_carry=True, **options)
    variables = cases.randomise(4, rnn.init(jax.random.key(0), xs))
    weights = convert.from_linen(variables["params"])
    return weights, rnn.apply(variables, xs, seq_lengths=np.maximum(LENGTHS, 1))


def flax_nnx(cell, xs, **options):
    rnn = nnx.RNN(cell, return_carry=True, **options)
    tree = nnx.to_pure_dict(nnx.state(rnn, nnx.Param))
    nnx.update(rnn, cases.randomise(4, tree))
    weights = convert.from_nnx(nnx.state(rnn))
    return weights, rnn(xs, seq_lengths=jnp.maximum(LENGTHS, 1))


@pytest.mark.parametrize("reverse", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("name", ["linen", "nnx"])
def test_it_is_flaxs_rnn_with_its_weights(name, reverse):
    """But for the padding, whose outputs Flax leaves as they come."""
    xs = jnp.asarray(np.random.RandomState(5).randn(B, T, F))
    options = dict(reverse=reverse, keep_order=True)
    double = dict(dtype=jnp.float64, param_dtype=jnp.float64)
    if name == "linen":
        (cell, params), theirs = flax_linen(nn.GRUCell(H, **double), xs, **options)
    else:
        gru = nnx.GRUCell(F, H, rngs=nnx.Rngs(0), **double)
        (cell, params), theirs = flax_nnx(gru, xs, **options)
    lengths = np.maximum(LENGTHS, 1)  # Flax is wrong for 0
    ours = BUILD[name](cell).call(params, None, xs, lengths=lengths, reverse=reverse)
    inside = np.arange(T) < lengths[:, None]
    carry, hs = theirs
    cases.assert_close(ours, (carry, jnp.where(inside[..., None], hs, 0)))


@package
def test_reverse_is_flip_run_flip(build):
    module = build(jaxrnn.gru(H))
    params, carry, xs = cases.example("gru")
    xs = xs.swapaxes(0, 1)
    last, hs = module.call(params, carry, xs, reverse=True)
    flipped_last, flipped = module.call(params, carry, xs[:, ::-1])
    cases.assert_close((last, hs), (flipped_last, flipped[:, ::-1]))


READY = {
    "SimpleRNN": jaxrnn.simple_rnn,
    "LSTM": jaxrnn.lstm,
    "GRU": jaxrnn.gru,
}


@package
@pytest.mark.parametrize("name", READY)
@pytest.mark.parametrize("both", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_ready_modules_are_stacks(build, name, both):
    module = build((name, H), num_layers=2, bidirectional=both)
    cell = READY[name](H)
    layer = jaxrnn.bidirectional(cell) if both else cell
    cell = jaxrnn.stack(layer, layer)
    like = jax.eval_shape(lambda: cell.init(jax.random.key(0), F))
    assert jax.tree.structure(module.params) == jax.tree.structure(like)
    params = cases.randomise(4, module.params)
    xs = jnp.asarray(np.random.RandomState(5).randn(B, T, F))
    carry, hs = module.call(params, None, xs, lengths=LENGTHS)
    last, expected = jaxrnn.unroll(
        cell, params, None, xs.swapaxes(0, 1), lengths=LENGTHS
    )
    cases.assert_close((carry, hs.swapaxes(0, 1)), (last, expected))


@package
def test_options_reach_the_cell(build):
    lstm = build(("LSTM", H), forget_bias=2.5)
    np.testing.assert_array_equal(lstm.params[0].b[H : 2 * H], 2.5)
    gru = build(("GRU", H), update_bias=-1.5, dtype=jnp.float32)
    np.testing.assert_array_equal(gru.params[0].b[H : 2 * H], -1.5)
    assert gru.params[0].wx.dtype == jnp.float32
    rnn = build(("SimpleRNN", H), activation="relu")
    xs = jnp.asarray(np.random.RandomState(5).randn(B, T, F))
    (h,), hs = rnn.call(rnn.params, None, xs)
    assert hs.min() == 0
    assert hs.max() > 1
    drawn = build(("GRU", H), bias_init=jaxrnn.initializers.chrono(9, "rzn"))
    assert np.unique(np.asarray(drawn.params[0].b[H : 2 * H])).size == H


@pytest.mark.slow
@package
def test_dropout_acts_between_the_layers_alone(build):
    module = build(("LSTM", 40), num_layers=2, dropout=0.5)
    params = module.params
    xs = jnp.asarray(np.random.RandomState(5).randn(B, T, F))
    cell = jaxrnn.stack(jaxrnn.lstm(40), jaxrnn.lstm(40))
    kept = module.call(params, None, xs)
    carry, hs = jaxrnn.unroll(cell, params, None, xs.swapaxes(0, 1))
    cases.assert_close(kept, (carry, hs.swapaxes(0, 1)))
    one, two, other = (
        module.call(params, None, xs, deterministic=False, seed=s) for s in (1, 1, 2)
    )
    cases.assert_same_bits(one, two)
    cases.assert_close(one[0][0], kept[0][0])  # the first layer reads all of xs
    for a, b in ((one, kept), (one, other)):  # the second reads what was left of it
        assert np.abs(a[1] - b[1]).max() > 1e-3
    assert (np.asarray(one[1]) != 0).all()  # and what it says is not dropped


@package
def test_dropout_with_one_layer_warns(build):
    with pytest.warns(UserWarning, match=r"dropout: 0\.1 has no effect.* one layer"):
        build(("GRU", H), dropout=0.1)


@package
def test_dropout_keeps_half_scaled_by_two(build):
    """Seen through a second layer that shows what it reads."""
    show = jaxrnn.Cell(
        init=lambda key, features: jnp.ones(()),
        initial_carry=lambda params, x: jnp.zeros((*x.shape[:-1], 1), x.dtype),
        step=lambda params, carry, x: (carry, x * params),
        spec=("show",),
    )
    cell = jaxrnn.stack(jaxrnn.gru(50), show)
    module = build(cell, dropout=0.5)
    xs = jnp.asarray(np.random.RandomState(5).randn(B, T, F))
    _, whole = module.call(module.params, None, xs)
    _, some = module.call(module.params, None, xs, deterministic=False)
    ratio = np.asarray(some / whole)
    assert set(np.round(ratio.ravel(), 12)) == {0, 2}
    assert 0.4 < (ratio == 0).mean() < 0.6
    over_time = np.round(ratio[0], 12)
    assert (over_time[0] != over_time[1]).any()  # a draw of its own at every step


def test_between_the_layers_is_the_dropout_of_cells():
    """On what each layer but the last shows; the layers' params and carry are as before."""
    gru, dropout = jaxrnn.gru(H), jaxrnn.noise.dropout
    cell = jaxrnn.stack(gru, gru, gru)
    params = cases.randomise(4, cell.init(jax.random.key(0), F))
    xs = jnp.asarray(np.random.RandomState(5).randn(T, B, F))
    options = dict(lengths=LENGTHS, key=jax.random.key(8))
    got = _modules.run(cell, params, None, xs, time_major=True, dropout=0.4, **options)
    noisy = jaxrnn.stack(dropout(gru, 0.4), dropout(gru, 0.4), gru)
    cases.assert_same_bits(got, jaxrnn.unroll(noisy, params, None, xs, **options))
    inside = np.arange(T)[:, None] < np.array(LENGTHS)
    assert (np.asarray(got[1])[inside] != 0).all()
    plain = _modules.run(cell, params, None, xs, time_major=True, lengths=LENGTHS)
    cases.assert_same_bits(plain[0][0], got[0][0])
    assert np.abs(plain[0][1] - got[0][1]).max() > 1e-3


@package
def test_a_cell_with_noise_draws_from_the_stream_of_dropout(build):
    """In training, other units with each call; in evaluation it is the expectation."""
    cell = jaxrnn.noise.zoneout(jaxrnn.gru(40), 0.5)
    module = build(cell)
    xs = jnp.asarray(np.random.RandomState(5).randn(B, T, F))
    run = lambda seed, deterministic: module.call(
        module.params, None, xs, seed=seed, deterministic=deterministic
    )
    plain = jaxrnn.unroll(cell, module.params, None, jnp.swapaxes(xs, 0, 1))
    cases.assert_close(run(1, True), (plain[0], jnp.swapaxes(plain[1], 0, 1)))
    (_, one), (_, other) = run(1, False), run(2, False)
    held = np.asarray(one[:, 1:] == one[:, :-1])
    assert 0.4 < held.mean() < 0.6
    assert (held != np.asarray(other[:, 1:] == other[:, :-1])).any()


@package
@pytest.mark.parametrize(
    ("make", "options", "given", "message"),
    [
        (("LSTM", 0), {}, {}, "hidden: expected a positive integer"),
        (("LSTM", H), {"num_layers": 0}, {}, "num_layers: expected a positive"),
        (("LSTM", H), {"dropout": 1.0}, {}, "dropout: expected a rate"),
        (jaxrnn.gru(H), {"dropout": 0.1}, {}, "dropout: expected a jaxrnn.stack"),
        (jaxrnn.gru(H), {"sharding": {"w": ()}}, {}, "sharding: expected names among"),
        (jaxrnn.gru(H), {"sharding": {"wx": ("m",)}}, {}, "expected 2 axis names"),
        (
            jaxrnn.gru(H),
            {},
            {"mask": np.ones((T, B), bool)},
            r"mask: expected \[3, 5\].*got \[5, 3\]",
        ),
        (jaxrnn.gru(H), {}, {"mask": np.ones(T, bool)}, r"mask: expected \[3, 5\]"),
        (jaxrnn.gru(H), {}, {"lengths": [1]}, r"lengths: expected \[3\].*got \[1\]"),
        (jaxrnn.gru(H), {}, {"resets": np.ones((B, T))}, "resets: expected bool"),
        (jaxrnn.gru(H), {}, {"carry": np.ones((B, H + 1))}, "carry: expected"),
        (
            ("GRU", H),
            {"dropout": 0.1, "num_layers": 2},
            {"carry": (np.ones((B, H)),)},
            r"carry: expected \(array, array\), got \(array,\)",
        ),
        (jaxrnn.gru(H), {}, {"lengths": [9, 1, 1]}, "lengths: expected 0 to 5"),
        (jaxrnn.gru(H), {}, {"xs": np.ones(F)}, "xs: expected"),
        (jaxrnn.gru(H), {}, {"xs": 1.0}, "xs: expected"),
        (
            jaxrnn.gru(H),
            {},
            {"xs": np.ones((B, T, F + 1))},
            r"params.*wx.*: expected \[5, 15\], got \[4, 15\]",
        ),
        (jaxrnn.gru(H), {}, {"xs": None}, r"xs: .*got None\. The carry comes first"),
        (jaxrnn.gru(H), {}, {"xs": "abc"}, "xs: expected an array, got 'abc'"),
        (
            jaxrnn.gru(H),
            {},
            {"carry": np.ones((T, H))},
            r"carry: expected float64 \[3, 5\], got float64 \[5, 5\]. xs is \[\*batch, T,",
        ),
        (
            jaxrnn.gru(H),
            {},
            {"xs": np.ones((T, B, F)), "lengths": [1, 2, 3]},
            r"lengths: expected \[5\].*got \[3\].*time_major=True",
        ),
        (jaxrnn.lstm, {}, {}, r"cell: .*got jaxrnn.*lstm\. Call it.*: lstm\(128\)"),
        (nn.LSTMCell(H), {}, {}, r"cell: .*got .*flax.*LSTMCell\. .*jaxrnn\.lstm"),
        (nnx.LSTMCell, {}, {}, r"cell: .*got .*flax.*LSTMCell\. .*jaxrnn\.lstm"),
    ],
)
def test_what_is_wrong_is_refused(build, make, options, given, message):
    given = dict(given)
    xs = given.pop("xs", np.ones((B, T, F)))
    carry = given.pop("carry", None)

    def run():
        module = build(make, **options)
        module.call(module.params, carry, xs, **given)

    with pytest.raises(ValueError, match=message):
        run()
