"""The Linen modules inside of what Linen users write around them."""

import functools
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization, traverse_util
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
    params = jaxrnn.linen.from_tree(cell, variables["params"]["cell"], F)
    like = jax.eval_shape(lambda: cell.init(jax.random.key(0), F))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, like)
    other = jaxrnn.linen.RNN(cell).init(jax.random.key(1), None, inputs())
    other = jaxrnn.linen.from_tree(cell, other["params"]["cell"], F)
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
            rnn = jaxrnn.linen.from_tree(cell, params["rnn"]["cell"], F)
            _, hs = jaxrnn.unroll(cell, rnn, None, xs.swapaxes(0, 1), lengths=lengths)
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


LENGTHS = jnp.array([3, T, 0])


@pytest.mark.slow
@pytest.mark.parametrize("lift", [nn.jit, nn.remat], ids=["jit", "remat"])
def test_jit_and_remat(lift):
    """With what is static as attributes, and what is traced by position."""
    options = dict(num_layers=2, dropout=0.3, reverse=True)
    keeps, drops = options | {"deterministic": True}, options | {"deterministic": False}
    plain, lifted = jaxrnn.linen.LSTM, lift(jaxrnn.linen.LSTM)
    variables = plain(H, **keeps).init(jax.random.key(0), None, inputs(), LENGTHS)
    given = (variables, None, inputs(), LENGTHS)
    kept = plain(H, **keeps).apply(*given)
    cases.assert_close(lifted(H, **keeps).apply(*given), kept)
    # Flax's jit draws by a key of its own, so only that it drops can be seen.
    dropped = lifted(H, **drops).apply(*given, rngs={"dropout": jax.random.key(1)})
    cases.assert_close(dropped[0][0], kept[0][0])
    assert np.abs(dropped[1] - kept[1]).max() > 1e-3


@pytest.mark.slow
def test_vmap_over_seeds():
    plain, xs = jaxrnn.linen.LSTM(H), inputs()
    seeds = nn.vmap(
        jaxrnn.linen.LSTM,
        in_axes=None,
        axis_size=3,
        variable_axes={"params": 0},
        split_rngs={"params": True},
    )(H)
    many = seeds.init(jax.random.key(0), None, xs, LENGTHS)
    _, hs = seeds.apply(many, None, xs, LENGTHS)
    assert not hs[:, 2].any()
    for seed in range(3):
        one = jax.tree.map(lambda a, s=seed: a[s], many)
        cases.assert_close(hs[seed], plain.apply(one, None, xs, LENGTHS)[1])
    assert np.abs(hs[0] - hs[1]).max() > 0.01


def test_flax_finds_every_name():
    """As masks for weight decay are made."""
    rnn = jaxrnn.linen.GRU(H, num_layers=2, bidirectional=True)
    params = rnn.init(jax.random.key(0), None, inputs())["params"]
    names = {"/".join(path) for path in traverse_util.flatten_dict(params)}
    assert {"cell/0/forward/wx", "cell/1/backward/bn"} < names
    assert len(names) == 16
    decays = traverse_util.path_aware_map(lambda path, _: path[-1][0] == "w", params)
    assert sum(jax.tree.leaves(decays)) == 8
    tree = jaxrnn.linen.from_tree(rnn.cell, params["cell"], F)
    assert jax.tree.structure(jaxrnn.linen.to_tree(tree)) == jax.tree.structure(
        params["cell"]
    )
    with pytest.raises(ValueError, match="field names"):
        jaxrnn.linen.from_tree(jaxrnn.gru(H), params["cell"], F)


def test_params_as_the_cell_has_them_are_refused():
    """Converted params, say: Flax would compare their first array with them all."""
    rnn, params = jaxrnn.linen.RNN(jaxrnn.gru(H)), cases.example("gru")[0]
    tree = jaxrnn.linen.to_tree(params)
    with pytest.raises(ValueError, match=r'params\["cell"\]: .*GRUParams.*to_tree'):
        rnn.apply({"params": {"cell": params}}, None, inputs())
    with pytest.raises(ValueError, match=r"wx.*\[3, 15\], got \[4, 15\].*F = 3"):
        rnn.apply({"params": {"cell": tree}}, None, inputs()[..., :3])


@pytest.mark.slow
def test_sharding_metadata():
    names = {"wx": (None, "model"), "wh": ("data", "model"), "b": ("model",)}
    rnn = jaxrnn.linen.LSTM(4, num_layers=2, sharding=names)
    variables = rnn.init(jax.random.key(0), None, inputs())
    specs = nn.get_partition_spec(variables)["params"]["cell"]
    for layer in specs.values():
        assert layer == {k: P(*axes) for k, axes in names.items()}
    assert hash(rnn) == hash(jaxrnn.linen.LSTM(4, num_layers=2, sharding=dict(names)))
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
    assert placed["params"]["cell"]["1"]["wh"].sharding.spec == P("data", "model")
    with jax.set_mesh(mesh):
        cases.assert_close(jax.jit(rnn.apply)(placed, None, inputs()), plain)
        boxed = jax.jit(rnn.apply)(variables, None, inputs())
        cases.assert_close(boxed, plain)


def test_dropout_must_be_told():
    rnn = jaxrnn.linen.GRU(H, num_layers=2, dropout=0.3)
    variables = rnn.init(jax.random.key(0), None, inputs(), deterministic=True)
    with pytest.raises(ValueError, match="deterministic: expected True or False"):
        rnn.apply(variables, None, inputs())


class Policy(nn.Module):
    """A model that takes a carry and gives the next, inside of tuples."""

    @nn.compact
    def __call__(self, carry, xs):
        reader = jaxrnn.bidirectional(jaxrnn.lstm(H), jaxrnn.gru(H))
        _, hs = jaxrnn.linen.RNN(reader, name="reader")(None, xs)
        lstm = jaxrnn.linen.LSTM(H, num_layers=2, dropout=0.5, name="memory")
        return lstm(carry, hs, deterministic=False)


def test_tabulate_shows_every_module():
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    zeros = jnp.zeros((B, H))
    carry = (jaxrnn.cells.LSTMCarry(zeros, zeros),) * 2

    def table():
        wide = dict(console_kwargs={"width": 200, "no_color": True})
        return nn.tabulate(Policy(), keys, **wide)(carry, inputs())

    text = re.sub(r"\x1b\[[0-9;]*m", "", table())
    for row in (r"reader .* RNN", r"memory .* LSTM"):
        assert re.search(row, text)
    assert f"wx: float64[{2 * H},{4 * H}]" in text  # the second module's first layer
    assert text.count(f"wh: float64[{H},{4 * H}]") == 3
    assert "cell = gru(hidden=5)" in repr(jaxrnn.linen.RNN(jaxrnn.gru(5)))


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
    cell = make(H)
    params = jaxrnn.linen.from_tree(cell, variables["params"]["rnn"]["cell"], F)
    for t in range(T):
        keep = lambda a, t=t: np.where(dones[t][:, None], 0, a)
        carry, h = cell.step(params, jax.tree.map(keep, carry), xs[t])
        cases.assert_close(hs[t], h)
        acting, one = rnn.apply(variables, acting, (xs[t : t + 1], dones[t : t + 1]))
        cases.assert_close(one[0], h)
    cases.assert_close(last, carry)


def test_scanned_rnn_starts_as_its_cell_does():
    def ones(hidden):
        cell = jaxrnn.gru(hidden)
        start = lambda params, x: cell.initial_carry(params, x) + 1
        return cell._replace(initial_carry=start)

    carry = ScannedRNN.initialize_carry(B, H, ones)
    np.testing.assert_array_equal(carry, np.ones((B, H)))
    tied = lambda hidden: jaxrnn.stack(
        jaxrnn.residual(jaxrnn.gru(hidden)), jaxrnn.lstm(hidden)
    )
    carry = ScannedRNN.initialize_carry(B, F, tied, jnp.float64)
    xs, dones = inputs().swapaxes(0, 1), np.zeros((T, B), bool)
    variables = ScannedRNN(tied).init(jax.random.key(0), carry, (xs, dones))
    given = ScannedRNN(tied).apply(variables, carry, (xs, dones))
    cases.assert_same_bits(given, ScannedRNN(tied).apply(variables, None, (xs, dones)))


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
    with pytest.raises(ValueError, match="carry: expected"):
        Actor().apply(variables, hidden[:1], (observations, dones))


def test_scanned_rnn_takes_numbers_for_truth_values():
    """As programs write them, that keep `done` as a float; here and nowhere else."""
    xs, random = inputs().swapaxes(0, 1), np.random.RandomState(9)
    dones = random.rand(T, B) < 0.4
    rnn, carry = ScannedRNN(hidden=H), ScannedRNN.initialize_carry(B, H)
    variables = rnn.init(jax.random.key(0), carry, (xs, np.zeros((T, B))))
    start = cases.randomise(4, carry)
    run = functools.partial(rnn.apply, variables, start)
    expected = run((xs, dones))
    assert np.abs(run((xs, ~dones))[1] - expected[1]).max() > 1e-2
    odd = np.where(random.rand(T, B) < 0.5, 0.25, -3.0)
    for numbers in (
        dones.astype(np.float32),
        dones * odd,
        jnp.asarray(dones, jnp.bfloat16),
        dones.astype(np.int32) * 2,  # an even number is true as well
        dones.tolist(),
    ):
        cases.assert_same_bits(run((xs, numbers)), expected)
    cases.assert_close(jax.jit(run)((xs, dones * odd)), expected)
    plain = jaxrnn.linen.RNN(jaxrnn.gru(H), time_major=True)
    with pytest.raises(ValueError, match="resets: expected bool"):
        plain.init(jax.random.key(0), None, xs, resets=dones.astype(float))


@pytest.mark.parametrize("batch", [(), (B,), (2, B)], ids=str)
def test_scanned_rnn_takes_any_batch(batch):
    """Rows of several agents are rows: the same as one after the other."""
    random = np.random.RandomState(9)
    xs, dones = random.randn(T, *batch, F), random.rand(T, *batch) < 0.4
    rnn = ScannedRNN(jaxrnn.lstm, H)
    carry = rnn.initialize_carry(batch)
    assert isinstance(carry, jaxrnn.cells.LSTMCarry)
    assert carry.c.shape == carry.h.shape == (*batch, H)
    cases.assert_same_bits(carry, ScannedRNN.initialize_carry(batch, H, jaxrnn.lstm))
    variables = rnn.init(jax.random.key(0), carry, (xs, dones))
    last, hs = rnn.apply(variables, carry, (xs, dones))
    flat = lambda a, lead: a.reshape(*lead, -1, *a.shape[len(lead) + len(batch) :])
    rows = (flat(xs, (T,)), flat(dones, (T,)))
    carry = rnn.initialize_carry(rows[1].shape[1])
    expected = rnn.apply(variables, carry, rows)
    cases.assert_close(flat(hs, (T,)), expected[1])
    cases.assert_close(jax.tree.map(lambda a: flat(a, ()), last), expected[0])


class Remembers(ScannedRNN):
    make: Any = jaxrnn.lstm


def test_scanned_rnns_carry_is_that_of_its_cell():
    kind = lambda carry: jax.tree.structure(carry)
    lstm = kind(jaxrnn.cells.LSTMCarry(0, 0))
    assert kind(ScannedRNN.initialize_carry(B, H)) == kind(0)
    assert kind(ScannedRNN(jaxrnn.lstm).initialize_carry(B, H)) == lstm
    assert kind(Remembers().initialize_carry(B, H)) == lstm
    assert kind(Remembers.initialize_carry(B, H)) == lstm
    assert kind(Remembers().initialize_carry(B, H, jaxrnn.gru)) == kind(0)
    wide = ScannedRNN(hidden=7)
    assert wide.initialize_carry(np.int64(B)).shape == (B, 7)
    assert wide.initialize_carry(B, 2).shape == (B, 2)
    assert wide.initialize_carry([2, B], dtype=jnp.float32).shape == (2, B, 7)


@pytest.mark.parametrize(
    ("rnn", "carry", "message"),
    [
        (
            ScannedRNN(jaxrnn.lstm),
            np.ones((B, F)),
            r"carry: expected .*LSTMCarry.*initialize_carry\(\(3,\), 4, make=lstm\)",
        ),
        (
            ScannedRNN(hidden=H),
            np.ones((B, F)),
            r"carry: expected \[3, 5\], got \[3, 4\]. .*make=gru\).*hidden=",
        ),
        (ScannedRNN(nn.LSTMCell), None, r"make: .*got flax.*LSTMCell.*jaxrnn\.lstm"),
        (ScannedRNN(jaxrnn.lstm(F)), None, r"make: .*got lstm\(hidden=4\).*lambda"),
        (ScannedRNN(lambda hidden: hidden), None, r"make: .*a factory.*got .*lambda"),
    ],
)
def test_scanned_rnn_says_what_its_cell_needs(rnn, carry, message):
    x = np.ones((T, B, F)), np.zeros((T, B), bool)
    with pytest.raises(ValueError, match=message):
        rnn.init(jax.random.key(0), carry, x)


def test_scanned_rnn_refuses_what_has_no_carry():
    for batch in (2.0, (B, -1), True, None, "B"):
        with pytest.raises(ValueError, match="batch_size: expected an integer or"):
            ScannedRNN.initialize_carry(batch, H)
    with pytest.raises(ValueError, match="hidden_size: expected a positive integer"):
        ScannedRNN.initialize_carry(B)
    with pytest.raises(ValueError, match="make: expected a factory"):
        ScannedRNN.initialize_carry(B, H, make=nn.GRUCell)
    x = np.ones((T, B, F)), np.zeros((T, B), bool)
    for wrong, message in (
        (x[0], "x: expected a pair"),
        ((x[0][0, 0], x[1]), r"inputs: expected \[T, \*batch, F\], got \[4\]"),
        ((x[0], x[1].T), r"resets: expected \[5, 3\]"),
    ):
        with pytest.raises(ValueError, match=message):
            ScannedRNN().init(jax.random.key(0), None, wrong)


class ActorCritic(nn.Module):
    """As in recurrent PPO programs: embed, remember, then one head for each."""

    actions: int
    width: int

    @nn.compact
    def __call__(self, hidden, x):
        observations, dones = x
        embedding = nn.relu(nn.Dense(self.width)(observations))
        rnn_in = (embedding, dones)
        hidden, embedding = ScannedRNN()(hidden, rnn_in)
        logits = nn.Dense(self.actions)(nn.relu(embedding))
        return hidden, logits, jnp.squeeze(nn.Dense(1)(embedding), -1)


ENVS, STEPS, WIDTH, LENGTH = 4, 6, 8, 3


def env_step(key, state, action):
    """The first observation of three says which of two actions pays in the last."""
    clock, cue = state
    last = clock == LENGTH - 1
    reward = jnp.where(last & (action == cue), 1.0, 0.0)
    clock = jnp.where(last, 0, clock + 1)
    cue = jnp.where(last, jax.random.bernoulli(key, shape=cue.shape), cue)
    return (clock, cue), observe(clock, cue), reward, last.astype(jnp.float32)


def observe(clock, cue):
    shown = jnp.where(clock == 0, 2.0 * cue - 1, 0.0)
    return jnp.stack([shown, clock / LENGTH], axis=-1)


def recurrent_ppo(updates):
    """A whole training in one program, with float dones throughout."""
    network = ActorCritic(actions=2, width=WIDTH)
    tx = optax.adam(1e-2)

    def start(key):
        init_x = (jnp.zeros((1, ENVS, 2)), jnp.zeros((1, ENVS)))
        init_hidden = ScannedRNN.initialize_carry(ENVS, WIDTH)
        return network.init(key, init_hidden, init_x)

    def train(key):
        first, key = jax.random.split(key)
        params = start(first)
        train_state = TrainState.create(apply_fn=network.apply, params=params, tx=tx)
        state = (jnp.arange(ENVS) % LENGTH, jnp.arange(ENVS) < 2)
        hidden = ScannedRNN.initialize_carry(ENVS, WIDTH)
        runner = (train_state, state, observe(*state), jnp.zeros(ENVS), hidden, key)

        def act(runner, _):
            train_state, state, obs, done, hidden, key = runner
            key, choose, move = jax.random.split(key, 3)
            x = (obs[None], done[None])
            hidden, logits, value = network.apply(train_state.params, hidden, x)
            action = jax.random.categorical(choose, logits[0])
            log_prob = jax.nn.log_softmax(logits[0])[jnp.arange(ENVS), action]
            seen = (obs, done, action, log_prob, value[0])
            state, obs, reward, done = env_step(move, state, action)
            return (train_state, state, obs, done, hidden, key), (*seen, reward)

        def update(runner, _):
            hidden_then = runner[-2]
            runner, seen = jax.lax.scan(act, runner, None, STEPS)
            obs, done, action, log_prob, value, reward = seen

            def loss(params):
                _, logits, new_value = network.apply(params, hidden_then, (obs, done))
                new = jax.nn.log_softmax(logits)
                new = jnp.take_along_axis(new, action[..., None], -1)[..., 0]
                ratio = jnp.exp(new - log_prob)
                critic = jnp.mean((new_value - reward) ** 2)
                return critic - jnp.mean(ratio * (reward - value)), ratio

            grad = jax.value_and_grad(loss, has_aux=True)
            (value, ratio), grads = grad(runner[0].params)
            train_state = runner[0].apply_gradients(grads=grads)
            return (train_state, *runner[1:]), (value, ratio, done)

        runner, told = jax.lax.scan(update, runner, None, updates)
        return params, runner[0].params, told

    return jax.jit(train)


@pytest.mark.slow
def test_recurrent_ppo_trains_in_one_program():
    with jax.enable_x64(False):
        before, after, told = recurrent_ppo(3)(jax.random.key(0))
    losses, ratios, dones = told
    assert dones.dtype == jnp.float32
    assert np.isfinite(losses).all()
    assert 0 < dones.mean() < 1
    # What was seen step by step is what the sequence says: episodes end in between.
    np.testing.assert_allclose(ratios, 1, atol=1e-5)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, after)
    assert min(jax.tree.leaves(moved)) > 1e-4
