"""The Linen modules inside of what Linen users write around them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization
from flax.training.train_state import TrainState
from jax.sharding import PartitionSpec as P

import jaxrnn
import jaxrnn.linen
from jaxrnn.linen import ScannedRNN
from tests.laws import cases
from tests.laws.cases import B, F, H, T

DOUBLE = dict(param_dtype=jnp.float64)


def inputs(seed=5):
    return jnp.asarray(np.random.RandomState(seed).randn(B, T, F))


class Tagger(nn.Module):
    """A model as users write them."""

    @nn.compact
    def __call__(self, xs, lengths=None):
        _, hs = jaxrnn.linen.GRU(H, num_layers=2, name="rnn")(None, xs, lengths=lengths)
        return nn.Dense(2, name="readout", **DOUBLE)(hs)


def test_params_are_those_of_the_cell():
    cell = jaxrnn.bidirectional(jaxrnn.lstm(H))
    variables = jaxrnn.linen.RNN(cell).init(jax.random.key(0), None, inputs())
    params = variables["params"]["cell"]
    like = jax.eval_shape(lambda: cell.init(jax.random.key(0), F))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, like)
    other = jaxrnn.linen.RNN(cell).init(jax.random.key(1), None, inputs())
    other = other["params"]["cell"]
    assert np.abs(params.forward.wx - other.forward.wx).min() > 0
    assert np.abs(params.forward.wx - params.backward.wx).min() > 0


def test_train_state_is_optax_by_hand():
    model, xs, lengths = Tagger(), inputs(), jnp.array([3, T, 0])
    start = model.init(jax.random.key(0), xs)["params"]
    tx = optax.adam(1e-2)
    state = TrainState.create(apply_fn=model.apply, params=start, tx=tx)

    @jax.jit
    def update(state):
        def loss(params):
            return jnp.mean(state.apply_fn({"params": params}, xs, lengths) ** 2)

        value, grads = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=grads), value

    @jax.jit
    def by_hand(params, memory):
        def loss(params):
            cell = jaxrnn.stack(jaxrnn.gru(H), jaxrnn.gru(H))
            _, hs = jaxrnn.unroll(
                cell, params["rnn"]["cell"], None, xs.swapaxes(0, 1), lengths=lengths
            )
            readout = params["readout"]
            return jnp.mean((hs @ readout["kernel"] + readout["bias"]) ** 2)

        value, grads = jax.value_and_grad(loss)(params)
        updates, memory = tx.update(grads, memory)
        return optax.apply_updates(params, updates), memory, value

    params, memory, values = start, tx.init(start), []
    for _ in range(3):
        state, value = update(state)
        params, memory, expected = by_hand(params, memory)
        assert abs(float(value) - float(expected)) <= 1e-12
        values.append(float(value))
    assert values[2] < values[0]
    cases.assert_close(state.params, params)


def test_serialization_and_orbax(tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    model, xs = Tagger(), inputs()
    make = lambda seed: TrainState.create(
        apply_fn=model.apply,
        params=model.init(jax.random.key(seed), xs)["params"],
        tx=optax.adam(1e-2),
    )
    one, other = make(0), make(1)
    back = serialization.from_bytes(other, serialization.to_bytes(one))
    cases.assert_same_bits(back.params, one.params)
    assert jax.tree.structure(back.params) == jax.tree.structure(one.params)
    saver = ocp.StandardCheckpointer()
    saver.save(tmp_path / "one", one.params)
    saver.wait_until_finished()
    restored = saver.restore(tmp_path / "one", other.params)
    saver.close()
    expected = model.apply({"params": one.params}, xs)
    cases.assert_same_bits(model.apply({"params": restored}, xs), expected)


@pytest.mark.slow
def test_transforms():
    """jit, remat and vmap over seeds, as Linen lifts them."""
    xs = inputs()
    plain = jaxrnn.linen.LSTM(H)
    variables = plain.init(jax.random.key(0), None, xs)
    expected = plain.apply(variables, None, xs)
    for lift in (nn.jit, nn.remat):
        lifted = lift(jaxrnn.linen.LSTM)(H)
        cases.assert_close(lifted.apply(variables, None, xs), expected)
    seeds = nn.vmap(
        jaxrnn.linen.LSTM,
        in_axes=None,
        axis_size=3,
        variable_axes={"params": 0},
        split_rngs={"params": True},
    )(H)
    many = seeds.init(jax.random.key(0), None, xs)
    _, hs = seeds.apply(many, None, xs)
    for seed in range(3):
        one = jax.tree.map(lambda a, s=seed: a[s], many)
        cases.assert_close(hs[seed], plain.apply(one, None, xs)[1])
    assert np.abs(hs[0] - hs[1]).max() > 0.01


def test_sharding_metadata():
    names = {"wx": (None, "model"), "wh": ("data", "model"), "b": ("model",)}
    rnn = jaxrnn.linen.LSTM(4, num_layers=2, sharding=names)
    variables = rnn.init(jax.random.key(0), None, inputs())
    specs = nn.get_partition_spec(variables)["params"]["cell"]
    for layer in specs:
        assert layer._asdict() == {k: P(*axes) for k, axes in names.items()}
    plain = jaxrnn.linen.LSTM(4, num_layers=2).apply(
        nn.unbox(variables), None, inputs()
    )
    mesh = jax.make_mesh(
        (2, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2
    )
    put = lambda spec, leaf: jax.device_put(leaf, jax.NamedSharding(mesh, spec))
    is_spec = lambda leaf: isinstance(leaf, P)
    placed = jax.tree.map(
        put, nn.get_partition_spec(variables), nn.unbox(variables), is_leaf=is_spec
    )
    assert placed["params"]["cell"][1].wh.sharding.spec == P("data", "model")
    with jax.set_mesh(mesh):
        cases.assert_close(jax.jit(rnn.apply)(placed, None, inputs()), plain)
        boxed = jax.jit(rnn.apply)(variables, None, inputs())
        cases.assert_close(boxed, plain)


def test_dropout_must_be_told():
    rnn = jaxrnn.linen.GRU(H, num_layers=2, dropout=0.3)
    variables = rnn.init(jax.random.key(0), None, inputs(), deterministic=True)
    with pytest.raises(ValueError, match="deterministic: expected True or False"):
        rnn.apply(variables, None, inputs())


def actor(hidden, x):
    """The core of a recurrent actor, in the shape that PureJaxRL gave it."""
    observations, dones = x
    embedding = nn.relu(nn.Dense(H, **DOUBLE)(observations))
    hidden, embedding = ScannedRNN()(hidden, (embedding, dones))
    return hidden, nn.Dense(2, **DOUBLE)(embedding)


class Actor(nn.Module):
    __call__ = nn.compact(lambda self, hidden, x: actor(hidden, x))


@pytest.mark.parametrize("make", [jaxrnn.gru, jaxrnn.lstm], ids=["gru", "lstm"])
def test_scanned_rnn_resets_before_it_reads(make):
    """A loop of single steps, as an actor takes them, with the carry cleared by hand."""
    xs = inputs().swapaxes(0, 1)
    dones = np.random.RandomState(9).rand(T, B) < 0.4
    assert 2 < dones.sum() < T * B
    carry = ScannedRNN.initialize_carry(B, H, make)
    rnn = ScannedRNN(make, H)
    variables = rnn.init(jax.random.key(0), carry, (xs, dones))
    variables = cases.randomise(3, variables)
    start = cases.randomise(4, carry)
    last, hs = rnn.apply(variables, start, (xs, dones))
    acting = carry = start
    cell, params = make(H), variables["params"]["rnn"]["cell"]
    for t in range(T):
        keep = lambda a, t=t: np.where(dones[t][:, None], 0, a)
        carry, h = cell.step(params, jax.tree.map(keep, carry), xs[t])
        cases.assert_close(hs[t], h)
        acting, one = rnn.apply(variables, acting, (xs[t : t + 1], dones[t : t + 1]))
        cases.assert_close(one[0], h)
    cases.assert_close(last, carry)


def test_scanned_rnn_where_purejaxrl_has_it():
    observations, dones = inputs().swapaxes(0, 1), np.zeros((T, B), bool)
    dones[2, 1] = True
    hidden = ScannedRNN.initialize_carry(B, H)
    assert hidden.shape == (B, H)
    assert not hidden.any()
    variables = Actor().init(jax.random.key(0), hidden, (observations, dones))
    run = jax.jit(Actor().apply)
    hidden_after, logits = run(variables, hidden, (observations, dones))
    assert hidden_after.shape == (B, H)
    _, unreset = run(variables, hidden, (observations, np.zeros((T, B), bool)))
    same = np.isclose(logits, unreset, atol=1e-12).all(-1)
    expected = np.ones((T, B), bool)
    expected[2:, 1] = False
    np.testing.assert_array_equal(same, expected)
    with pytest.raises(ValueError, match="resets: expected bool"):
        Actor().apply(variables, hidden, (observations, dones.astype(float)))
    with pytest.raises(ValueError, match="carry: expected"):
        Actor().apply(variables, hidden[:1], (observations, dones))
