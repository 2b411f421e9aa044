"""Law 14, errors: what is wrong raises a ValueError that says what, and how to mend it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import initializers
from tests.laws.cases import B, F, H, T, bare_step, example
from tests.laws.test_dtype import MAKES

lstm = jaxrnn.lstm(H)
params, carry, xs = example("lstm")
gru_params, h, _ = example("gru")
bare_params, bare_carry, _ = example("bare")
deep = jaxrnn.stack(lstm, jaxrnn.gru(3))
deep_params, deep_carry = example("stack")[0][::2], example("stack")[1][::2]
both = jaxrnn.bidirectional(jaxrnn.gru(H))


def run(cell=lstm, p=params, c=None, x=xs, **options):
    return jaxrnn.unroll(cell, p, c, x, **options)


ERRORS = {
    # features, params
    "wrong feature size": (
        lambda: run(x=xs[..., :3]),
        r"params\.wx.*\[3, 20\].*\[4, 20\]",
    ),
    "wrong feature size, step": (
        lambda: lstm.step(params, carry, xs[0, :, :3]),
        r"params\.wx",
    ),
    "no feature": (
        lambda: run(x=xs[..., :0]),
        r"params\.wx: expected \[0, 20\].*feature size than 0",
    ),
    "no inputs": (lambda: run(x=None), r"xs: .*got none.*jnp.zeros\(\(T, batch, 0\)\)"),
    "params and carry swapped": (
        lambda: run(p=carry, c=params),
        r"params and carry are swapped: unroll\(cell, params, carry, xs\)",
    ),
    "params and carry as one": (
        lambda: run(p=(params, carry)),
        "params: expected the params alone, got a pair",
    ),
    "Flax's variables": (
        lambda: run(p={"params": {"cell": params._asdict()}}),
        r"params: expected.*Flax's variables.*from_tree",
    ),
    "lengths as floats": (
        lambda: run(lengths=[5.0, 2.0, 1.0]),
        r"lengths: expected integers, got float64. Use np.asarray\(lengths\)",
    ),
    "text": (lambda: run(x="text"), "xs: expected an array, got 'text'"),
    "a text in the carry": (
        lambda: run(c=carry._replace(h="text")),
        r"carry\.h: expected an array, got 'text'",
    ),
    "params of another cell": (
        lambda: run(p=gru_params),
        "params: expected.*LSTMParams",
    ),
    "params of another width": (
        lambda: run(p=jaxrnn.lstm(3).init(jax.random.key(0), F)),
        r"params\.wx: expected \[4, 20\], got \[4, 12\]",
    ),
    "params as a plain tuple": (lambda: run(p=tuple(params)), "params: expected"),
    "a stack's params, too few": (
        lambda: run(deep, deep_params[:1]),
        "params.*2 layers, got 1",
    ),
    "a stack's params, a list": (
        lambda: run(deep, list(deep_params)),
        "2 layers, got list",
    ),
    # axes
    "time and batch swapped": (
        lambda: run(c=carry, x=xs.swapaxes(0, 1)),
        "carry.*Time is axis 0",
    ),
    "mask swapped": (
        lambda: run(mask=np.ones((B, T), bool)),
        r"mask.*\[5, 3\].*Time is axis 0",
    ),
    "xs a scalar": (lambda: run(x=jnp.array(1.0)), "xs: expected.*scalar"),
    "xs without features": (lambda: run(x=jnp.ones(T)), "x: expected.*scalar"),
    "xs of two lengths": (
        lambda: run(bare_step, bare_params, bare_carry, (xs, xs[1:])),
        r"xs\[1\]: expected 5 steps",
    ),
    # carry
    "carry of batch 1": (
        lambda: run(c=jax.tree.map(lambda a: a[:1], carry)),
        r"carry\.h: expected float64 \[3, 5\], got float64 \[1, 5\]",
    ),
    "carry of batch 1, step": (
        lambda: lstm.step(params, jax.tree.map(lambda a: a[:1], carry), xs[0]),
        r"carry\.h: expected",
    ),
    "carry without batch, step": (
        lambda: jaxrnn.gru(H).step(gru_params, h[0], xs[0]),
        r"carry: expected float64 \[3, 5\]",
    ),
    "carry of another dtype": (
        lambda: run(c=jax.tree.map(lambda a: a.astype(jnp.float32), carry)),
        r"carry\.h: expected float64.*got float32",
    ),
    "carry of another cell": (lambda: run(c=h), "carry: expected.*LSTMCarry"),
    "params that are no arrays, step": (
        lambda: lstm.step(params._replace(b="text"), carry, xs[0]),
        r"params\.b: expected an array, got 'text'",
    ),
    "a carry that is no array, step": (
        lambda: lstm.step(params, "text", xs[0]),
        "carry: expected an array, got 'text'",
    ),
    "inputs that are no array, step": (
        lambda: lstm.step(params, carry, "text"),
        "x: expected an array, got 'text'",
    ),
    "params of the cell inside": (
        lambda: run(jaxrnn.learned_carry(lstm), params),
        "params: expected LearnedCarryParams, got LSTMParams",
    ),
    "params of the cell inside, step": (
        lambda: jaxrnn.learned_carry(lstm).step(params, carry, xs[0]),
        "params: expected LearnedCarryParams, got LSTMParams",
    ),
    "params of one direction": (
        lambda: run(jaxrnn.bidirectional(lstm), params),
        "params: expected BidirectionalParams, got LSTMParams",
    ),
    "a stack's carry, too short": (
        lambda: deep.step(deep_params, deep_carry[:1], xs[0]),
        "carry.*2 layers, got 1",
    ),
    # lengths, mask, resets
    "float lengths": (
        lambda: run(lengths=jnp.ones(B)),
        r"lengths.*integers.*\.astype\(int\)",
    ),
    "bool lengths": (lambda: run(lengths=np.ones(B, bool)), "lengths.*integers"),
    "lengths of the wrong shape": (
        lambda: run(lengths=[1, 2]),
        r"lengths.*\[3\].*\[2\]",
    ),
    "one length for all": (lambda: run(lengths=3), r"lengths.*\[3\].*\[\]"),
    "lengths beyond T": (
        lambda: run(lengths=np.array([1, 2, T + 1])),
        "lengths.*0 to 5.*6",
    ),
    "negative lengths": (lambda: run(lengths=[1, -1, 2]), "lengths.*0 to 5.*-1"),
    "int mask": (
        lambda: run(mask=np.ones((T, B), int)),
        r"mask.*bool.*\.astype\(bool\)",
    ),
    "mask that would broadcast": (
        lambda: run(mask=np.ones((T, 1), bool)),
        r"mask.*\[5, 3\]",
    ),
    "mask of too few steps": (
        lambda: run(mask=np.ones((T - 1, B), bool)),
        r"mask: expected \[5, 3\]",
    ),
    "float resets": (
        lambda: run(resets=jnp.zeros((T, B))),
        r"resets.*bool.*\.astype\(bool\)",
    ),
    "resets with a bare step": (
        lambda: run(bare_step, bare_params, bare_carry, resets=np.zeros((T, B), bool)),
        r"resets: a bare step.*Cell",
    ),
    "no carry for a bare step": (
        lambda: run(bare_step, bare_params),
        "carry: a bare step",
    ),
    # dtypes
    "integer inputs": (
        lambda: run(x=jnp.ones((T, B, F), int)),
        r"floating.*\.astype\(float\)",
    ),
    "integer inputs, step": (
        lambda: lstm.step(params, carry, jnp.ones((B, F), int)),
        "floating",
    ),
    # options
    "remat 0": (lambda: run(remat=0), "remat.*from 1, got 0"),
    "remat True": (lambda: run(remat=True), "remat"),
    "remat 1.5": (lambda: run(remat=1.5), "remat"),
    "unknown remat": (lambda: run(remat="sqrt"), "remat.*'auto'.*'sqrt'"),
    "unknown engine": (
        lambda: run(engine="fast"),
        "engine.*'auto', 'gated', 'scan'.*'fast'",
    ),
    "gated engine for a bare step": (
        lambda: run(bare_step, bare_params, bare_carry, engine="gated"),
        "engine.*jaxrnn.gated",
    ),
    "reverse as a number": (lambda: run(reverse=1), "reverse: expected True or False"),
    "not a cell": (lambda: run(3), "cell: expected a Cell or a step"),
    "empty xs": (lambda: run(x=()), "xs: expected arrays"),
    # factories
    "hidden 0": (lambda: jaxrnn.lstm(0), "hidden: expected a positive integer, got 0"),
    "hidden 2.0": (lambda: jaxrnn.gru(2.0), "hidden"),
    "hidden True": (lambda: jaxrnn.gru(True), "hidden"),
    "features -1": (lambda: lstm.init(jax.random.key(0), -1), "features"),
    "forget bias of the wrong shape": (
        lambda: jaxrnn.lstm(4, forget_bias=np.ones(3)),
        r"forget_bias.*\[4\].*\[3\]",
    ),
    "two biases": (
        lambda: jaxrnn.lstm(4, forget_bias=1.0, bias_init=initializers.chrono(9)),
        "forget_bias.*one of the two",
    ),
    "the LSTM's chrono in a GRU": (
        lambda: jaxrnn.gru(4, bias_init=initializers.chrono(9)).init(
            jax.random.key(0), 3
        ),
        r"bias_init.*\[12\].*\[16\]",
    ),
    "chrono of 2": (lambda: initializers.chrono(2), "longest"),
    "identity for inputs": (
        lambda: jaxrnn.gru(4, kernel_init=initializers.identity()).init(
            jax.random.key(0), 3
        ),
        "square kernel",
    ),
    "unknown activation": (
        lambda: jaxrnn.simple_rnn(3, activation="gelu"),
        "activation.*relu",
    ),
    # compositions
    "a stack of nothing": (lambda: jaxrnn.stack(), "stack: expected at least one cell"),
    "a stack of functions": (
        lambda: jaxrnn.stack(bare_step),
        "stack: expected a jaxrnn.Cell",
    ),
    "a stack of a list": (
        lambda: jaxrnn.stack([lstm, lstm]),
        r"stack: expected a jaxrnn.Cell, got a list of 2. Unpack it: stack\(\*cells\)",
    ),
    "a stack of factories": (
        lambda: jaxrnn.stack(jaxrnn.lstm),
        r"stack: expected a jaxrnn.Cell.*Call it: lstm\(hidden=128\)",
    ),
    "update without params": (
        lambda: jaxrnn.gated(
            init=lstm.init,
            initial_carry=lstm.initial_carry,
            **lstm.parts._replace(update=lambda c, g: c)._asdict(),
        ),
        r"update: expected a function of \(params, carry, gates\), got one of \(c, g\)",
    ),
    "another carry from update": (
        lambda: run(
            jaxrnn.gated(
                init=lstm.init,
                initial_carry=lstm.initial_carry,
                **lstm.parts._replace(update=lambda p, c, g: (c.c, c.h))._asdict(),
            )
        ),
        r"the carry that update\(params, carry, gates\) returns: expected.*LSTMCarry.*got.*"
        r"initial_carry\(params, x\)",
    ),
    "stepping a bidirectional cell": (
        lambda: both.step(both.init(jax.random.key(0), F), None, xs[0]),
        "step.*cannot see the future.*unroll",
    ),
    "unknown merge": (
        lambda: jaxrnn.bidirectional(lstm, merge="add"),
        "merge.*'sum'.*'add'",
    ),
    "a skip of nothing": (lambda: jaxrnn.skip(), "skip: expected at least one cell"),
    "a skip of a list": (lambda: jaxrnn.skip([lstm]), "skip: expected.*Unpack it"),
    "a skip around images that shrink": (
        lambda: jaxrnn.skip(
            jaxrnn.conv_lstm(2, (3, 3), strides=2), jaxrnn.conv_gru(2, (3, 3))
        ).init(jax.random.key(0), F),
        "skip: expected inputs and outputs that differ in their last axis alone",
    ),
    "a skip's carry of two": (
        lambda: jaxrnn.skip(lstm, lstm, lstm).step((params,) * 3, (carry,) * 2, xs[0]),
        "carry: expected a tuple of 3 layers, got 2",
    ),
    "pointwise without x": (
        lambda: jaxrnn.pointwise(lambda: 0),
        r"f: expected a function of \(x\)",
    ),
    "pointwise without params": (
        lambda: jaxrnn.pointwise(jnp.tanh, init=lambda key, features: ()),
        r"f: expected a function of \(params, x\)",
    ),
    "pointwise drawn without features": (
        lambda: jaxrnn.pointwise(lambda p, x: x, init=lambda key: ()),
        r"init: expected a function of \(key, features\)",
    ),
    "pointwise of a negative rank": (
        lambda: jaxrnn.pointwise(jnp.tanh, event_ndim=-1),
        "event_ndim: expected an integer from 0, got -1",
    ),
    "pointwise that mixes time": (
        lambda: jaxrnn.unroll(jaxrnn.pointwise(lambda x: x.sum(0)), (), None, xs),
        "what f returns: expected.*for all steps at once",
    ),
    "a residual of another width": (
        lambda: run(jaxrnn.residual(lstm)),
        r"h: expected.*as wide as its inputs",
    ),
    "a residual that would broadcast": (
        lambda: run(
            jaxrnn.residual(jaxrnn.gru(1)), jaxrnn.gru(1).init(jax.random.key(0), F)
        ),
        "as wide as its inputs",
    ),
    # precision
    "no dtype": (lambda: jaxrnn.precision(lstm), "compute, carry and accum, got none"),
    "an integer to compute in": (
        lambda: jaxrnn.precision(lstm, compute=int),
        r"compute: expected one of.*'bfloat16'.*got <class 'int'>.*\"float32\"",
    ),
    "no such dtype": (
        lambda: jaxrnn.precision(lstm, carry="float17"),
        "carry: expected one of.*got 'float17'",
    ),
    "no dtype at all": (lambda: jaxrnn.precision(lstm, accum=16), "accum.*got 16"),
    "sums narrower than their terms": (
        lambda: jaxrnn.precision(lstm, compute="float32", accum="float16"),
        "accum: expected a float at least as wide as compute=float32, got float16",
    ),
    "sums in the other half precision": (
        lambda: jaxrnn.precision(lstm, compute="bfloat16", accum="float16"),
        "accum: expected.*at least as wide as compute=bfloat16, got float16",
    ),
    "precision of a composition": (
        lambda: jaxrnn.precision(deep, compute="bfloat16"),
        r"got stack\(lstm.*Wrap the cells inside: jaxrnn\.stack\(jaxrnn\.precision",
    ),
    "precision of both ways": (
        lambda: jaxrnn.precision(both, compute="bfloat16"),
        "Wrap the cells inside",
    ),
    "precision of a function": (
        lambda: jaxrnn.precision(bare_step, compute="bfloat16"),
        "precision: expected a jaxrnn.Cell",
    ),
    "a carry of another dtype than asked for": (
        lambda: run(jaxrnn.precision(lstm, compute="bfloat16"), c=carry),
        r"carry\.h: expected float32.*got float64",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_raises(case):
    call, message = ERRORS[case]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        call()


def test_float64_without_x64():
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"carry.*without x64"):
        jaxrnn.precision(lstm, compute="bfloat16", carry="float64")


@pytest.mark.parametrize(
    "case", ["wrong feature size", "carry of batch 1", "integer inputs"]
)
def test_raises_under_jit_and_vmap_too(case):
    call, message = ERRORS[case]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        jax.jit(lambda: call())()
    with pytest.raises(ValueError, match=f"(?s){message}"):
        jax.vmap(lambda i: (call(), i)[1])(jnp.arange(2))


def test_a_step_that_changes_its_carry():
    for wrong in (
        lambda c: c.astype(jnp.float32),
        lambda c: c[:, :1],
        lambda c: (c, c),
    ):
        step = lambda p, c, x, wrong=wrong: (wrong(c), x)
        with pytest.raises(ValueError, match="carry that step returns"):
            jaxrnn.unroll(step, (), h, xs)


def test_a_gated_cell_whose_update_returns_another_shape():
    cell = jaxrnn.gated(
        init=lambda key, features: (),
        initial_carry=lambda p, x: jnp.zeros(x.shape),
        project=lambda p, x: (x,),
        recur=lambda p, c, z: z,
        gates=lambda p, c, a: a,
        update=lambda p, c, g: g[0][..., :1],
        output=lambda p, c: c,
    )
    with pytest.raises(
        ValueError, match=r"update\(params, carry, gates\).*initial_carry\(params, x\)"
    ):
        jaxrnn.unroll(cell, (), None, xs)


def test_lengths_in_a_jax_array_act_as_if_clipped():
    wild = jnp.array([T + 3, -2, 2])
    got = run(lengths=wild)
    want = run(lengths=np.clip(wild, 0, T))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(a, b)


def test_numpy_and_python_inputs_are_welcome():
    np_params, np_carry, np_xs = jax.tree.map(np.asarray, (params, carry, xs))
    got = run(p=np_params, c=np_carry, x=np_xs, lengths=[5, 2, 0])
    want = run(c=carry, lengths=jnp.array([5, 2, 0]))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


GATE_BIAS = {
    name: "update_bias" if name.endswith(("gru", "ugrnn")) else "forget_bias"
    for name in MAKES
    if name.endswith(("gru", "ugrnn", "lstm", "mgu", "janet"))
}


@pytest.mark.parametrize("name", MAKES)
def test_every_factory_checks_its_options(name):
    make = MAKES[name]
    for hidden in (0, -1, 1.5, True, "4", None):
        with pytest.raises(ValueError, match=r"hidden: expected .*integer"):
            make(hidden)
    with pytest.raises(ValueError, match="features: expected an integer from 0"):
        make(4).init(jax.random.key(0), -1)
    wrong = lambda key, hidden, dtype: jnp.zeros(hidden + 1)
    with pytest.raises(ValueError, match="bias_init: expected a bias"):
        make(4, bias_init=wrong).init(jax.random.key(0), F)
    with pytest.raises(ValueError, match="x: expected"):
        make(4).initial_carry(make(4).init(jax.random.key(0), F), jnp.ones((B, F), int))
    if name in GATE_BIAS:
        option = GATE_BIAS[name]
        with pytest.raises(
            ValueError, match=f"{option}: expected a number or an array"
        ):
            make(4, **{option: np.ones(3)})
        ramp = lambda key, hidden, dtype: jnp.zeros(hidden)
        with pytest.raises(ValueError, match=f"{option}: bias_init draws"):
            make(4, **{option: 1.0}, bias_init=ramp)


def small(x):
    """The initial carry of a cell of images for this x."""
    cell = jaxrnn.conv_lstm(2, (3, 5), padding="VALID")
    return cell.initial_carry(cell.init(jax.random.key(0), F), x)


OPTIONS = {
    "gru of a number": (
        lambda: jaxrnn.gru(4, reset_after=1),
        "reset_after: expected True",
    ),
    "mgu of a text": (lambda: jaxrnn.mgu(4, reset_after="no"), "reset_after: expected"),
    "no projection": (
        lambda: jaxrnn.projected_lstm(4, 0),
        "projection: expected a positive integer, got 0",
    ),
    "beta of another width": (
        lambda: jaxrnn.janet(4, beta=np.ones(3)),
        r"beta: expected a number or an array \[4\]",
    ),
    "dt of another width": (
        lambda: jaxrnn.cornn(4, dt=np.ones(3)),
        r"dt: expected a number or an array \[4\]",
    ),
    "a text for dt": (lambda: jaxrnn.lem(4, dt="fast"), "dt: expected a number"),
    "epsilon of each unit": (
        lambda: jaxrnn.antisymmetric_rnn(4, epsilon=np.ones(4)),
        "epsilon: expected a number, got",
    ),
    "one antisymmetric unit": (
        lambda: jaxrnn.antisymmetric_rnn(1),
        "hidden: expected an integer from 2, got 1",
    ),
    "gate as a number": (
        lambda: jaxrnn.antisymmetric_rnn(4, gate=1),
        "gate: expected True or False",
    ),
    "activation": (
        lambda: jaxrnn.ind_rnn(4, activation="sin"),
        "activation: expected one",
    ),
    "activation of rates": (
        lambda: jaxrnn.leaky_rnn(4, activation=None),
        "activation: expected one",
    ),
    "τ below dt": (
        lambda: jaxrnn.leaky_rnn(4, tau=1, dt=2),
        "tau: expected more than dt",
    ),
    "dt of 0": (lambda: jaxrnn.leaky_rnn(4, tau=1, dt=0), "tau: expected more than dt"),
    "signs of 0": (
        lambda: jaxrnn.leaky_rnn(3, signs=[1, 0, -1]),
        r"signs: expected \[3\] of 1 and -1",
    ),
    "signs of another width": (
        lambda: jaxrnn.leaky_rnn(3, signs=[1, -1]),
        r"signs: expected \[3\] of 1 and -1, got int64 \[2\]",
    ),
    "a mask of numbers": (
        lambda: jaxrnn.leaky_rnn(3, mask=np.ones((3, 3))),
        r"mask: expected bool \[3, 3\], got float64",
    ),
    "heads": (
        lambda: jaxrnn.slstm(6, heads=4),
        "heads: expected a divisor of hidden, 6, got 4",
    ),
    "forget": (lambda: jaxrnn.slstm(6, forget="tanh"), "forget: expected one of"),
    "a kernel of 4 dimensions": (
        lambda: jaxrnn.conv_lstm(2, (3, 3, 3, 3)),
        "kernel: expected 1 to 3 dimensions",
    ),
    "an empty kernel": (
        lambda: jaxrnn.conv_lstm(2, (3, 0)),
        "kernel: expected a positive integer, got 0",
    ),
    "strides of another dimension": (
        lambda: jaxrnn.conv_lstm(2, (3, 3), strides=(1, 1, 1)),
        "strides: expected an integer or 2",
    ),
    "a recurrent kernel of another dimension": (
        lambda: jaxrnn.conv_gru(2, 3, recurrent_kernel=(3, 3)),
        "recurrent_kernel: expected an integer or 1",
    ),
    "padding": (
        lambda: jaxrnn.conv_lstm(2, 3, padding="LEFT"),
        'padding: expected "SAME", "VALID" or 1 pairs',
    ),
    "padding of another dimension": (
        lambda: jaxrnn.conv_lstm(2, (3, 3), padding=[(1, 1)]),
        "padding: expected",
    ),
    "an image too small for its kernel": (
        lambda: small(jnp.ones((B, 3, 4, F))),
        r"x: expected images that a kernel \[3, 5\] fits into, got \[3, 4\]",
    ),
    "epsilon as a text": (
        lambda: jaxrnn.layer_norm_lstm(4, epsilon="small"),
        "epsilon: expected a number, got 'small'",
    ),
    "epsilon of each unit, GRU": (
        lambda: jaxrnn.layer_norm_gru(4, epsilon=np.ones(4)),
        "epsilon: expected a number",
    ),
    "epsilon of each unit, Dreamer": (
        lambda: jaxrnn.dreamer_gru(4, epsilon=np.ones(4)),
        "epsilon: expected a number",
    ),
    "vectors for images": (
        lambda: small(jnp.ones((B, F))),
        r"x: expected \[\*batch, H, W, C\] for a kernel of 2 dimensions",
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_cells(name):
    call, message = OPTIONS[name]
    with pytest.raises(ValueError, match=message):
        call()
