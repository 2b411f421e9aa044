"""The NNX modules inside of what NNX users write around them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import treescope
from flax import nnx
from jax.sharding import PartitionSpec as P

import jaxrnn
import jaxrnn.nnx
from tests.laws import cases
from tests.laws.cases import B, F, H, T


def inputs(seed=5):
    return jnp.asarray(np.random.RandomState(seed).randn(B, T, F))


class Tagger(nnx.Module):
    """A model as users write them."""

    def __init__(self, rngs, dropout=0.0):
        self.rnn = jaxrnn.nnx.GRU(F, H, num_layers=2, dropout=dropout, rngs=rngs)
        self.readout = nnx.Linear(H, 2, param_dtype=jnp.float64, rngs=rngs)

    def __call__(self, xs, lengths=None):
        _, hs = self.rnn(None, xs, lengths=lengths)
        return self.readout(hs)


def test_state_has_names():
    rnn = jaxrnn.nnx.LSTM(F, H, bidirectional=True, rngs=nnx.Rngs(0))
    paths = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(rnn))}
    ways = ("forward", "backward")
    assert paths == {f"weights.0.{w}.{p}" for w in ways for p in ("wx", "wh", "b")}
    assert all(isinstance(v, nnx.Param) for _, v in nnx.to_flat_state(nnx.state(rnn)))


def test_the_key_draws_the_params():
    one, two = (jaxrnn.nnx.RNN(jaxrnn.gru(H), F, rngs=nnx.Rngs(s)) for s in (0, 0))
    other = jaxrnn.nnx.RNN(jaxrnn.gru(H), F, rngs=nnx.Rngs(1))
    cases.assert_same_bits(one.params, two.params)
    assert np.abs(one.params.wx - other.params.wx).min() > 0
    rngs = nnx.Rngs(0)
    first, second = (jaxrnn.nnx.RNN(jaxrnn.gru(H), F, rngs=rngs) for _ in range(2))
    assert np.abs(first.params.wx - second.params.wx).min() > 0


def test_training_under_jit_is_optax_by_hand():
    model = Tagger(nnx.Rngs(0))
    xs, lengths = inputs(), jnp.array([3, T, 0])
    tx = optax.adam(1e-2)
    graph, state = nnx.split(model)
    state = nnx.to_pure_dict(state)  # arrays, which training leaves alone

    def loss(model, xs, lengths):
        return jnp.mean(model(xs, lengths) ** 2)

    @nnx.jit
    def update(model, optimizer, xs, lengths):
        value, grads = nnx.value_and_grad(loss)(model, xs, lengths)
        optimizer.update(model, grads)
        return value

    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    values = [float(update(model, optimizer, xs, lengths)) for _ in range(3)]

    memory = tx.init(state)

    @jax.jit
    def by_hand(state, memory):
        def functional(state):
            params = nnx.merge(graph, nnx.State(state)).rnn.params
            cell = jaxrnn.stack(jaxrnn.gru(H), jaxrnn.gru(H))
            _, hs = jaxrnn.unroll(
                cell, params, None, xs.swapaxes(0, 1), lengths=lengths
            )
            readout = state["readout"]
            return jnp.mean((hs @ readout["kernel"] + readout["bias"]) ** 2)

        value, grads = jax.value_and_grad(functional)(state)
        updates, memory = tx.update(grads, memory)
        return optax.apply_updates(state, updates), memory, value

    for value in values:
        state, memory, expected = by_hand(state, memory)
        assert abs(value - float(expected)) <= 1e-12
    assert values[2] < values[0]


@pytest.mark.slow
def test_vmap_over_seeds():
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs):
        return jaxrnn.nnx.RNN(jaxrnn.lstm(H), F, rngs=rngs)

    @nnx.vmap(in_axes=(0, None), out_axes=0)
    def run(rnn, xs):
        return rnn(None, xs)[1]

    many, xs = make(nnx.Rngs(0).split(3)), inputs()
    hs = run(many, xs)
    assert hs.shape == (3, B, T, H)
    for seed in range(3):
        params = jax.tree.map(lambda a, s=seed: a[s], many.params)
        _, one = jaxrnn.unroll(jaxrnn.lstm(H), params, None, xs.swapaxes(0, 1))
        cases.assert_close(hs[seed], one.swapaxes(0, 1))
    assert np.abs(hs[0] - hs[1]).max() > 0.01


def test_a_second_call_compiles_nothing():
    rnn, traces = jaxrnn.nnx.LSTM(F, H, dropout=0.2, num_layers=2, rngs=nnx.Rngs(0)), []

    @nnx.jit
    def run(rnn, xs):
        traces.append(None)
        return rnn(None, xs)[1]

    first, second = run(rnn, inputs(1)), run(rnn, inputs(1))
    assert len(traces) == 1
    assert np.abs(first - second).max() > 1e-3  # the dropout's stream went on
    rnn.eval()
    cases.assert_same_bits(run(rnn, inputs(1)), run(rnn, inputs(1)))


@pytest.mark.parametrize("rngs", [0, jax.random.key(0), None])
def test_what_is_no_rngs_is_refused(rngs):
    with pytest.raises(ValueError, match=r"rngs: expected flax\.nnx\.Rngs.*Rngs\(0\)"):
        jaxrnn.nnx.GRU(F, H, rngs=rngs)


def test_split_merge_and_clone():
    model, xs = Tagger(nnx.Rngs(0)), inputs()
    expected = model(xs)
    graph, state = nnx.split(model)
    kept = jax.tree.map(jnp.copy, state)  # a state shares its model's variables
    changed = jax.tree.map(lambda a: a * 0.5, state)
    cases.assert_same_bits(nnx.merge(graph, state)(xs), expected)
    cases.assert_same_bits(nnx.clone(model)(xs), expected)
    nnx.update(model, changed)
    assert np.abs(model(xs) - expected).max() > 1e-3
    nnx.update(model, kept)
    cases.assert_same_bits(model(xs), expected)
    abstract = nnx.eval_shape(lambda: Tagger(nnx.Rngs(0)))
    nnx.update(abstract, kept)
    cases.assert_same_bits(abstract(xs), expected)


def test_set_params():
    one, two = (jaxrnn.nnx.GRU(F, H, num_layers=2, rngs=nnx.Rngs(s)) for s in (0, 1))
    variables = [v for _, v in nnx.to_flat_state(nnx.state(two))]
    two.set_params(jax.tree.map(np.asarray, one.params))
    cases.assert_same_bits(two(None, inputs()), one(None, inputs()))
    assert variables == [v for _, v in nnx.to_flat_state(nnx.state(two))]
    for wrong in (one.params[0], jaxrnn.nnx.GRU(F, 3, rngs=nnx.Rngs(0)).params):
        with pytest.raises(
            ValueError, match=r"params.*Expected are the params of stack"
        ):
            two.set_params(wrong)
    integers = jax.tree.map(lambda a: a.astype(int), one.params)
    with pytest.raises(ValueError, match="params: expected float64, got int64"):
        two.set_params(integers)
    two.set_params(jax.tree.map(lambda a: a.astype(jnp.float32), one.params))
    assert two.params[0].wx.dtype == jnp.float64
    two.set_params(one.params)  # copies, which may be donated
    nnx.jit(lambda m: m, donate_argnums=0)(two)
    assert np.isfinite(one.params[0].wx).all()


def test_set_params_of_an_abstract_module():
    make = lambda: jaxrnn.nnx.LSTM(F, H, rngs=nnx.Rngs(0))
    whole, abstract = make(), nnx.eval_shape(make)
    abstract.set_params(whole.params)
    cases.assert_same_bits(abstract(None, inputs()), whole(None, inputs()))


def test_cells_of_ones_own():
    """Without a spec there is no name, and nothing breaks for it."""
    cell = jaxrnn.stack(cases.own_gated(H), jaxrnn.gru(3))
    rnn = jaxrnn.nnx.RNN(cell, F, rngs=nnx.Rngs(0))
    changed = jax.tree.map(lambda a: a + 1, rnn.params)
    rnn.set_params(changed)
    cases.assert_same_bits(rnn.params, changed)
    assert repr(cell) == "stack(Cell, gru(hidden=3))"


def test_modules_of_one_kind_share_what_is_compiled():
    one, two = (jaxrnn.nnx.GRU(F, H, rngs=nnx.Rngs(s)) for s in (0, 1))
    other = jaxrnn.nnx.GRU(F, H, update_bias=1.0, rngs=nnx.Rngs(0))
    assert nnx.graphdef(one) == nnx.graphdef(two)
    assert nnx.graphdef(one) != nnx.graphdef(other)
    both = jax.tree.map(lambda *a: jnp.stack(a), one, two)  # an ensemble
    assert both.params[0].wx.shape == (2, F, 3 * H)
    bias = jnp.arange(float(H))  # an array is no key of a cache
    np.testing.assert_array_equal(
        jaxrnn.nnx.GRU(F, H, update_bias=bias, rngs=nnx.Rngs(0)).params[0].b[H : 2 * H],
        bias,
    )


def test_orbax_checkpoint(tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    model, xs = Tagger(nnx.Rngs(0)), inputs()
    saver = ocp.StandardCheckpointer()
    saver.save(tmp_path / "one", nnx.state(model))
    saver.wait_until_finished()
    other = Tagger(nnx.Rngs(1))
    assert np.abs(other(xs) - model(xs)).max() > 1e-3
    restored = saver.restore(tmp_path / "one", nnx.state(other))
    nnx.update(other, restored)
    cases.assert_same_bits(other(xs), model(xs))
    saver.close()


@pytest.mark.slow
def test_sharding_metadata():
    mesh = jax.make_mesh(
        (2, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )
    names = {"wx": (None, "model"), "wh": ("data", "model"), "b": ("model",)}

    @nnx.jit
    def run(rnn, xs):
        return rnn(None, xs)[1]

    plain = jaxrnn.nnx.LSTM(F, 4, num_layers=2, rngs=nnx.Rngs(0))
    with jax.set_mesh(mesh):
        rnn = jaxrnn.nnx.LSTM(F, 4, num_layers=2, sharding=names, rngs=nnx.Rngs(0))
        specs = nnx.to_pure_dict(nnx.get_partition_spec(nnx.state(rnn)))
        for layer in specs["weights"].values():
            assert layer == {k: P(*axes) for k, axes in names.items()}
        assert rnn.params[1].wh.sharding.spec == P("data", "model")
        hs = run(rnn, inputs())
        rnn.set_params(plain.params)
        assert rnn.params[1].wh.sharding.spec == P("data", "model")
    cases.assert_close(hs, run(plain, inputs()))


class Policy(nnx.Module):
    """A model that takes a carry and gives the next, inside of tuples."""

    def __init__(self, rngs):
        both = jaxrnn.bidirectional(jaxrnn.lstm(H), jaxrnn.gru(H))
        self.reader = jaxrnn.nnx.RNN(both, F, rngs=rngs)
        self.memory = jaxrnn.nnx.LSTM(2 * H, H, num_layers=2, dropout=0.5, rngs=rngs)

    def __call__(self, carry, xs):
        _, hs = self.reader(None, xs)
        carry, hs = self.memory(carry, hs)
        return carry, hs


def without_colour(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def plain_state(model):
    """Every variable as numbers, those of the random streams too."""
    numbers = lambda a: np.array(
        jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a
    )
    return jax.tree.map(numbers, nnx.to_pure_dict(nnx.state(model)))


def test_tabulate_shows_every_module_and_changes_nothing():
    model, xs = Policy(nnx.Rngs(0)), inputs()
    cell = model.memory.cell
    carry = cell.initial_carry(model.memory.params, jnp.zeros((B, 2 * H)))
    state, graph = plain_state(model), nnx.graphdef(model)

    def table():
        text = nnx.tabulate(model, carry, xs, console_kwargs={"width": 200})
        return without_colour(text)

    once = table()
    for row in (r"reader .* RNN", r"memory .* LSTM"):
        assert re.search(row, once)
    # The carry of two layers, as model and module take it and as they return it.
    # Another is in the carry of the bidirectional cell.
    assert once.count(f"c: float64[{B},{H}]") == 2 * 2 * 2 + 1
    count = sum(a.size for a in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert f" {count} " in once
    assert table() == once
    assert nnx.graphdef(model) == graph
    cases.assert_same_bits(plain_state(model), state)
    again = Policy(nnx.Rngs(0))  # every class can still make a module
    assert again.memory.cell == cell
    cases.assert_same_bits(plain_state(again), state)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # treescope's
def test_what_is_shown_names_the_cell_and_the_params():
    model = Policy(nnx.Rngs(0))
    for text in (repr(model), str(model), treescope.render_to_text(model)):
        text = without_colour(text)
        assert f"cell=bidirectional(lstm(hidden={H}), gru(hidden={H})" in text
        assert f"cell=stack(lstm(hidden={H}), lstm(hidden={H}))" in text
        assert re.search(r"backward=GRUParams\(\s*wx=Param\(", text)
        assert re.search(r"weights=\(\s*LSTMParams\(\s*wx=Param\(", text)
        assert "bn=Param(" in text
        assert re.search(rf"\({F}, ?{4 * H}\)", text)  # wx of the reader
        assert "<function" not in text
