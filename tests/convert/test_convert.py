"""Conversions without the libraries: against the maps of tests/peers, and what they
refuse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn as cudnn

import jaxrnn
from jaxrnn import convert
from tests.laws import cases
from tests.peers import maps

F, H = 3, 4
LSTM, GRU = jaxrnn.lstm(H), jaxrnn.gru(H)
RNN, RELU = jaxrnn.simple_rnn(H), jaxrnn.simple_rnn(H, activation="relu")
CELLS = {"simple_tanh": RNN, "simple_relu": RELU, "lstm": LSTM, "gru": GRU}


@functools.cache
def params_of(cell, seed=1):
    return cases.randomise(seed, cell.init(jax.random.key(0), F))


def forms(cell):
    """One layer, two, both ways, and two both ways."""
    both = jaxrnn.bidirectional(cell)
    return cell, jaxrnn.stack(cell, cell), both, jaxrnn.stack(both, both)


TAKE = {
    "torch": lambda weights, **options: convert.from_torch(
        {f"{name}_l0": a for name, a in weights.items()}, **options
    ),
    "keras": lambda weights, **options: convert.from_keras(
        list(weights.values()), **options
    ),
    "linen": convert.from_linen,
    "linen_optimized": convert.from_linen,
    "nnx": convert.from_nnx,
    "nnx_optimized": convert.from_nnx,
    "haiku": lambda weights, **_: convert.from_haiku(weights),
    "equinox": lambda weights, **_: convert.from_equinox(weights),
}


@pytest.mark.parametrize(("library", "kind"), maps.PAIRS)
def test_takes_what_the_maps_give(library, kind):
    """The maps are those by which values and gradients equal the library's own."""
    cell = CELLS[kind.removesuffix("_bn0")]
    params = params_of(cell)
    if kind == "gru_bn0":
        params = params._replace(bn=0 * params.bn)
    options = {"activation": kind.removeprefix("simple_")} if "simple" in kind else {}
    made, ours = TAKE[library](maps.MAPS[library][kind](params), **options)
    assert repr(made) == repr(cell)
    cases.assert_close(ours, params)


BACK = {
    "torch": (convert.to_torch, convert.from_torch, (RNN, LSTM, GRU)),
    "keras": (convert.to_keras, convert.from_keras, (RNN, LSTM, GRU)),
    "linen": (convert.to_linen, convert.from_linen, (RNN, LSTM, GRU)),
    "nnx": (convert.to_nnx, convert.from_nnx, (RNN, LSTM)),
    "nnx optimized": (
        functools.partial(convert.to_nnx, optimized=True),
        convert.from_nnx,
        (RNN, LSTM),
    ),
    "equinox": (convert.to_equinox, convert.from_equinox, (LSTM, GRU)),
}


@pytest.mark.parametrize("library", BACK)
def test_there_and_back_is_bit_for_bit(library):
    give, take, kinds = BACK[library]
    for cell in (form for kind in kinds for form in forms(kind)):
        params = params_of(cell)
        weights = give(cell, params)
        made, back = take(weights)
        assert repr(made) == repr(cell)
        assert jax.tree.structure(back) == jax.tree.structure(params)
        cases.assert_same_bits(back, params)
        for a in jax.tree.leaves(weights):
            assert isinstance(a, np.ndarray)
            assert a.flags.c_contiguous
            a += 1  # it is the taker's own, and changes nothing here
        cases.assert_same_bits(back, params)
        cases.assert_same_bits(params, params_of.__wrapped__(cell))


def test_haiku_there_and_back():
    for cell in (*forms(LSTM), *forms(RELU)):
        params, both = params_of(cell), "bidirectional" in repr(cell)
        weights = convert.to_haiku(cell, params)
        made, back = convert.from_haiku(weights, bidirectional=both)
        assert repr(made) == repr(cell)
        cases.assert_close(back, params)  # 1 is taken off and added again
    single = convert.to_haiku(RELU, params_of(RELU), double_bias=False)
    assert set(single["vanilla_rnn/linear_1"]) == {"w"}
    cases.assert_same_bits(convert.from_haiku(single)[1], params_of(RELU))


def test_haiku_orders_layers_by_number_or_by_name():
    cell = jaxrnn.stack(*[LSTM] * 12)
    params = params_of(cell)
    weights = convert.to_haiku(cell, params)
    shuffled = dict(sorted(weights.items(), key=lambda item: item[0][::-1]))
    assert list(shuffled) != list(weights)
    cases.assert_close(convert.from_haiku(shuffled)[1], params)
    two = jaxrnn.stack(LSTM, LSTM)
    named = convert.to_haiku(two, params_of(two), names=("net/~/top", "net/~/base"))
    _, back = convert.from_haiku(named, names=("net/~/top", "net/~/base"))
    cases.assert_close(back, params_of(two))
    with pytest.raises(ValueError, match="names= in the order"):
        convert.from_haiku(named)


def test_lists_of_layers_of_any_width():
    """Where a library builds layer by layer, each may be of another kind."""
    cell = jaxrnn.stack(
        jaxrnn.bidirectional(jaxrnn.lstm(5), jaxrnn.gru(2)), jaxrnn.gru(3)
    )
    params = params_of(cell)
    for give, take, kinds in BACK.values():
        if GRU in kinds and give is not convert.to_torch:
            made, back = take(give(cell, params))
            assert repr(made) == repr(cell)
            cases.assert_same_bits(back, params)


@pytest.mark.parametrize("merge", ["sum", "mean", "product"])
def test_merges_are_kept(merge):
    cell = jaxrnn.stack(jaxrnn.bidirectional(GRU, merge=merge), LSTM)
    params = params_of(cell)
    for give, take in (
        (convert.to_keras, convert.from_keras),
        (convert.to_linen, convert.from_linen),
        (convert.to_equinox, convert.from_equinox),
    ):
        made, back = take(give(cell, params), merge=merge)
        assert repr(made) == repr(cell)
        cases.assert_same_bits(back, params)
    with pytest.raises(ValueError, match="torch has no merge"):
        convert.to_torch(cell, params)
    with pytest.raises(ValueError, match="layer 1: expected an input kernel for the 8"):
        convert.from_keras(convert.to_keras(cell, params))


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_cudnn_is_jax_experimental_rnn(layers, both):
    """Its reference for the cuDNN call, which is plain JAX."""
    T, B = 6, 3
    sizes = dict(input_size=F, hidden_size=H, num_layers=layers, bidirectional=both)
    random = np.random.RandomState(layers)
    count = cudnn.get_num_params_in_lstm(*sizes.values())
    weights = jnp.asarray(0.6 * random.randn(count))
    xs = jnp.asarray(random.randn(B, T, F))
    zeros = jnp.zeros((layers * (1 + both), B, H))
    theirs, h, c = cudnn.lstm_ref(
        xs,
        zeros,
        zeros,
        *cudnn.unpack_lstm_weights(weights, *sizes.values()),
        seq_lengths=jnp.full(B, T, jnp.int32),
        dropout=0.0,
        **sizes,
    )
    made, params = convert.from_cudnn(weights, **sizes)
    assert repr(made) == repr(forms(LSTM)[(layers - 1) + 2 * both])
    _, ours = jaxrnn.unroll(made, params, None, xs.swapaxes(0, 1))
    cases.assert_close(ours.swapaxes(0, 1), theirs)
    flat = convert.to_cudnn(made, params)
    assert flat.shape == weights.shape
    cases.assert_same_bits(convert.from_cudnn(flat, **sizes)[1], params)


def test_torch_reads_what_names_and_shapes_say():
    params = params_of(GRU)
    state = convert.to_torch(GRU, params)
    cell = {name.removesuffix("_l0"): a for name, a in state.items()}  # a GRUCell's
    cases.assert_same_bits(convert.from_torch(cell)[1], params)
    model = {f"net.gru.{name}": a for name, a in state.items()} | {
        "out.bias": np.ones(1)
    }
    cases.assert_same_bits(convert.from_torch(model, prefix="net.gru.")[1], params)
    assert set(convert.to_torch(GRU, params, prefix="net.gru.")) < set(model)
    bare = {name: a for name, a in state.items() if "bias" not in name}
    made, unbiased = convert.from_torch(bare)
    assert not unbiased.b.any()
    assert not unbiased.bn.any()
    assert set(convert.to_torch(made, unbiased, bias=False)) == set(bare)
    with pytest.raises(ValueError, match="bias: torch would drop"):
        convert.to_torch(GRU, params, bias=False)
    ten = jaxrnn.stack(*[LSTM] * 11)  # l10 comes after l9
    shuffled = dict(sorted(convert.to_torch(ten, params_of(ten)).items()))
    cases.assert_same_bits(convert.from_torch(shuffled)[1], params_of(ten))


def test_without_biases():
    for cell in (LSTM, GRU):
        params = jax.tree.map(lambda a: a if a.ndim == 2 else 0 * a, params_of(cell))
        for give, take in (
            (convert.to_keras, convert.from_keras),
            (convert.to_equinox, convert.from_equinox),
        ):
            weights = give(cell, params, bias=False)
            assert len(weights) == 2
            cases.assert_same_bits(take(weights)[1], params)
            with pytest.raises(ValueError, match="would drop biases"):
                give(cell, params_of(cell), bias=False)
        both = jaxrnn.bidirectional(cell)
        params = jaxrnn.BidirectionalParams(params, params)
        weights = convert.to_keras(both, params, bias=False)
        assert len(weights) == 4
        assert repr(convert.from_keras(weights)[0]) == repr(both)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes_are_kept(dtype):
    params = jax.tree.map(lambda a: a.astype(dtype), params_of(GRU))
    weights = convert.to_keras(GRU, params)
    assert {a.dtype.name for a in weights} == {dtype}
    cases.assert_same_bits(convert.from_keras(weights)[1], params)


def test_float64_becomes_float32_without_x64():
    weights = convert.to_keras(GRU, params_of(GRU))
    with jax.enable_x64(False):
        with pytest.warns(UserWarning, match="float64 weights become float32"):
            _, params = convert.from_keras(weights)
        single = [a.astype(np.float32) for a in weights]
        cases.assert_same_bits(convert.from_keras(single)[1], params)


def test_what_is_taken_is_a_copy():
    weights = [np.array(a) for a in convert.to_keras(LSTM, params_of(LSTM))]
    _, params = convert.from_keras(weights)
    for a in weights:
        a *= 2
    cases.assert_same_bits(params, params_of(LSTM))


def own(params, carry, x):
    return carry, x


REFUSED = {
    "no cell": (own, "expected a jaxrnn.Cell"),
    "a cell of one's own": (cases.own_gated(H), "without a spec has no counterpart"),
    "one's own inside": (
        jaxrnn.stack(cases.own_gated(H), GRU),
        "without a spec has no",
    ),
    "dropout": (
        jaxrnn.noise.dropout(GRU, 0.5),
        "keep noise beside.*with the same params",
    ),
    "residual": (jaxrnn.residual(jaxrnn.gru(F)), "no peer adds.*cell.parts"),
    "learned_carry": (jaxrnn.learned_carry(LSTM), "with params.cell"),
    "with_carries": (jaxrnn.with_carries(LSTM), "convert the cell inside"),
    "precision": (
        jaxrnn.precision(LSTM, compute="bfloat16"),
        "convert the cell inside, with the same params",
    ),
    "inside": (jaxrnn.stack(LSTM, jaxrnn.residual(GRU)), r"residual\(gru"),
    "a stack both ways": (
        jaxrnn.bidirectional(jaxrnn.stack(LSTM, LSTM)),
        "not a whole stack",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_cells_without_counterpart_are_refused(name):
    cell, message = REFUSED[name]
    params = cell.init(jax.random.key(0), F) if isinstance(cell, jaxrnn.Cell) else ()
    for give in (
        convert.to_torch,
        convert.to_keras,
        convert.to_linen,
        convert.to_nnx,
        convert.to_haiku,
        convert.to_equinox,
        convert.to_cudnn,
    ):
        with pytest.raises(ValueError, match=message):
            give(cell, params)


def relu(x):  # a user's, of that name: not torch's
    return jnp.maximum(x, 0.1 * x)


@pytest.mark.parametrize(
    ("give", "cell", "message"),
    [
        (
            convert.to_torch,
            jaxrnn.simple_rnn(H, activation=relu),
            "no activation '<relu>'",
        ),
        (convert.to_torch, jaxrnn.stack(RNN, RELU), "one kind of cell"),
        (convert.to_torch, jaxrnn.stack(LSTM, GRU), "one kind of cell"),
        (convert.to_torch, jaxrnn.stack(LSTM, jaxrnn.lstm(5)), "one width"),
        (convert.to_torch, jaxrnn.bidirectional(LSTM, jaxrnn.lstm(5)), "one width"),
        (
            convert.to_torch,
            jaxrnn.stack(jaxrnn.bidirectional(LSTM), LSTM),
            "directions",
        ),
        (
            convert.to_torch,
            jaxrnn.bidirectional(LSTM, merge=jnp.add),
            "no merge '<add>'",
        ),
        (
            convert.to_keras,
            jaxrnn.bidirectional(LSTM, merge=jnp.add),
            "no merge '<add>'",
        ),
        (convert.to_nnx, GRU, "params.bn: expected zeros"),
        (convert.to_haiku, GRU, "resets the memory before"),
        (convert.to_haiku, RNN, "relu alone"),
        (convert.to_haiku, jaxrnn.simple_rnn(H, activation=relu), "relu alone"),
        (convert.to_equinox, RNN, "no simple RNN"),
        (convert.to_cudnn, GRU, "LSTMs of one width"),
        (convert.to_cudnn, jaxrnn.stack(LSTM, jaxrnn.lstm(5)), "LSTMs of one width"),
        (convert.to_cudnn, RNN, "no activation"),
    ],
)
def test_what_a_library_lacks_is_refused(give, cell, message):
    with pytest.raises(ValueError, match=message):
        give(cell, params_of(cell))


def test_a_gru_resets_before_the_matmul_or_after_it():
    """As its library does; params of the other kind are refused, as unroll does."""
    before = jaxrnn.gru(H, reset_after=False)
    for give in (convert.to_torch, convert.to_linen, convert.to_nnx):
        with pytest.raises(
            ValueError, match=r"resets the memory after.*reset_after=True"
        ):
            give(before, params_of(before))
    with pytest.raises(
        ValueError, match=r"resets the memory before.*reset_after=False"
    ):
        convert.to_haiku(GRU, params_of(GRU))
    for give in (convert.to_torch, convert.to_keras, convert.to_haiku):
        for cell, params in ((before, params_of(GRU)), (GRU, params_of(before))):
            with pytest.raises(ValueError, match=r"params: expected.*GRUParams"):
                give(cell, params)


def test_without_biases_an_option_tells_which_gru_it_is():
    before = jaxrnn.gru(H, reset_after=False)
    for cell, option in ((GRU, True), (before, False)):
        params = jax.tree.map(lambda a: a * (a.ndim == 2), params_of(cell))
        weights = convert.to_keras(cell, params, bias=False)
        again, back = convert.from_keras(weights, reset_after=option)
        assert repr(again) == repr(cell)
        cases.assert_same_bits(back, params)
    with pytest.raises(ValueError, match="reset_after: expected True or False, got 1"):
        convert.from_keras(weights, reset_after=1)


def test_torchs_projection_is_narrower_than_the_memory():
    """Torch has no other, and a projected LSTM here may be of any width."""
    for hidden, projection in ((4, 4), (3, 5)):
        cell = jaxrnn.projected_lstm(hidden, projection)
        with pytest.raises(ValueError, match="proj_size is less than its hidden_size"):
            convert.to_torch(cell, params_of(cell))


def test_functions_of_jax_are_the_named_activations():
    state = convert.to_torch(
        jaxrnn.simple_rnn(H, activation=jax.nn.relu), params_of(RNN)
    )
    assert state["weight_ih_l0"].shape == (H, F)


@pytest.mark.parametrize(
    ("cell", "params", "message"),
    [
        (LSTM, params_of(GRU), "expected LSTMParams"),
        (jaxrnn.lstm(5), params_of(LSTM), r"expected those of lstm\(hidden=5\)"),
        (jaxrnn.stack(LSTM, LSTM), params_of(LSTM), "a tuple of 2 layers"),
        (jaxrnn.bidirectional(LSTM), params_of(LSTM), "BidirectionalParams"),
        (LSTM, params_of(LSTM)._replace(b=jnp.ones(3)), "expected a bias \\[16\\]"),
        (LSTM, params_of(LSTM)._replace(wx=jnp.ones((3, 8))), "input kernel"),
        (
            jaxrnn.stack(LSTM, LSTM),
            (params_of(LSTM), params_of(LSTM)),
            "layer 1: expected an input kernel for the 4 outputs",
        ),
    ],
)
def test_params_of_another_cell_are_refused(cell, params, message):
    with pytest.raises(ValueError, match=message):
        convert.to_keras(cell, params)


def torch_state(**changes):
    cell = jaxrnn.stack(*[jaxrnn.bidirectional(LSTM)] * 2)
    state = convert.to_torch(cell, params_of(cell)) | changes
    return {name: a for name, a in state.items() if a is not None}


LINEN = convert.to_linen(LSTM, params_of(LSTM))
KERAS = convert.to_keras(GRU, params_of(GRU))
HAIKU = convert.to_haiku(LSTM, params_of(LSTM))["lstm/linear"]
BAD = {
    "torch other names": (
        convert.from_torch,
        torch_state(**{"head.weight": np.ones(2)}),
        "expected weight_ih_l0.*'head.weight'.*prefix",
    ),
    "torch nothing": (convert.from_torch, {}, "expected names that begin"),
    "torch lost layer": (
        convert.from_torch,
        {n: a for n, a in torch_state().items() if "l0" not in n},
        "expected 1 layers of 2 directions",
    ),
    "torch lost direction": (
        convert.from_torch,
        {n: a for n, a in torch_state().items() if n[-10:] != "l1_reverse"},
        "expected 2 layers of 2 directions",
    ),
    "torch lost bias": (convert.from_torch, torch_state(bias_hh_l1=None), "same names"),
    "torch one bias": (
        convert.from_torch,
        {
            "weight_ih": np.ones((4, 3)),
            "weight_hh": np.ones((4, 4)),
            "bias_ih": np.ones(4),
        },
        "both biases or none",
    ),
    "torch biases": (
        convert.from_torch,
        torch_state(bias_hh_l1=np.ones(1)),
        "biases of one shape",
    ),
    "torch width": (
        convert.from_torch,
        torch_state(
            weight_ih_l1=np.ones((16, 7)), weight_ih_l1_reverse=np.ones((16, 7))
        ),
        "layer 1: expected an input kernel for the 8 outputs",
    ),
    "torch directions": (
        convert.from_torch,
        torch_state(weight_ih_l0=np.ones((16, 7))),
        "both directions to read the same",
    ),
    "torch integers": (
        convert.from_torch,
        torch_state(weight_ih_l0=np.ones((16, 3), int)),
        "weight_ih_l0: expected an array of floats, got int64",
    ),
    "torch dtypes": (
        convert.from_torch,
        torch_state(weight_ih_l0=np.ones((16, 3), np.float32)),
        "weights of one dtype",
    ),
    "five gates": (
        convert.from_torch,
        {"weight_ih_l0": np.ones((20, 3)), "weight_hh_l0": np.ones((20, 4))},
        "1, 2, 3 or 4 gates",
    ),
    "keras gru bias": (
        convert.from_keras,
        [*KERAS[:2], np.ones((3, 12))],
        "a GRU \\[2",
    ),
    "keras count": (convert.from_keras, [*KERAS, *KERAS[:2]], "2 or 3 arrays"),
    "keras none": (convert.from_keras, [], "expected layer.get_weights"),
    "keras kernel": (convert.from_keras, [np.ones((3, 8)), *KERAS[1:]], "input kernel"),
    "linen names": (
        convert.from_linen,
        LINEN | {"ix": LINEN["ii"]},
        "names of a Simple",
    ),
    "linen two layers": (
        convert.from_linen,
        {"LSTMCell_0": LINEN, "LSTMCell_1": LINEN},
        "a list for several layers",
    ),
    "linen an array": (convert.from_linen, np.ones(3), "mapping of names"),
    "linen pair": (
        convert.from_linen,
        (LINEN, LINEN, LINEN),
        "\\(forward, backward\\)",
    ),
    "linen no layers": (convert.from_linen, [], "at least one layer"),
    "nnx two biases": (
        convert.from_nnx,
        {
            "dense_i": {"kernel": np.ones((3, 16)), "bias": np.ones(16)},
            "dense_h": {"kernel": np.ones((4, 16)), "bias": np.ones(16)},
        },
        "got two",
    ),
    "haiku gru": (
        convert.from_haiku,
        {"gru": {"w_i": np.ones((3, 12)), "w_h": np.ones((4, 12)), "b": np.ones(11)}},
        r"gru.*bias \[12\], got \[11\]",
    ),
    "haiku other": (convert.from_haiku, {"lstm/linear_2": HAIKU}, "linear layers of"),
    "haiku mlp": (
        convert.from_haiku,
        {"mlp/linear": HAIKU},
        "lstm, gru or vanilla_rnn",
    ),
    "haiku a linear too": (
        convert.from_haiku,
        {"lstm/linear": HAIKU, "linear": HAIKU},
        r"\['linear', 'lstm'\]. Give names=",
    ),
    "haiku no bias": (
        convert.from_haiku,
        {"lstm/linear": {"w": HAIKU["w"]}},
        r"expected \['w', 'b'\], got \['w'\]",
    ),
    "haiku biases": (
        convert.from_haiku,
        {
            "vanilla_rnn/linear": {"w": np.ones((3, 4)), "b": np.ones(4)},
            "vanilla_rnn/linear_1": {"w": np.ones((4, 4)), "b": np.ones(1)},
        },
        "biases of one shape",
    ),
    "haiku an object": (convert.from_haiku, object(), "module names and their params"),
    "torch a module": (convert.from_torch, object(), "such as module.state_dict"),
    "torch no names": (convert.from_torch, {0: np.ones(3)}, "expected names, got 0"),
    "linen a bias too many": (
        convert.from_linen,
        LINEN | {"ii": LINEN["ii"] | {"bias": np.ones(H)}},
        r"params\['ii'\]: expected \['kernel'\], got \['bias', 'kernel'\]",
    ),
    "linen gates of two widths": (
        convert.from_linen,
        LINEN | {"ii": {"kernel": np.ones((F, 5))}, "if": {"kernel": np.ones((F, 3))}},
        "kernels of one shape on i",
    ),
    "linen no kernel": (
        convert.from_linen,
        LINEN | {"ii": {}},
        r"params\['ii'\]: expected \['kernel'\]",
    ),
    "linen one direction": (
        convert.from_linen,
        {"forward_rnn": {"cell": LINEN}},
        "'backward_rnn'",
    ),
    "nnx a module": (convert.from_nnx, object(), "give nnx.state"),
    "equinox torch's names": (
        convert.from_equinox,
        {"weight_ih": np.ones((16, 3)), "weight_hh": np.ones((16, 4)), "bias_ih": 1},
        "expected .*'weight_hh'.* perhaps .*got .*'bias_ih'",
    ),
    "equinox one gate": (
        convert.from_equinox,
        {"weight_ih": np.ones((4, 3)), "weight_hh": np.ones((4, 4))},
        "no simple RNN",
    ),
    "equinox bias of n": (
        convert.from_equinox,
        convert.to_equinox(LSTM, params_of(LSTM)) | {"bias_n": np.ones(H)},
        "no bias of n",
    ),
    "cudnn sizes": (
        lambda w: convert.from_cudnn(w, 3, 4, 0),
        np.ones(144),
        "num_layers: expected a positive integer, got 0",
    ),
    "haiku shape": (
        convert.from_haiku,
        {"lstm/linear": HAIKU | {"b": np.ones(15)}},
        "expected w \\[F \\+ H",
    ),
    "equinox nothing": (convert.from_equinox, object(), "its fields weight_ih"),
    "cudnn length": (
        lambda w: convert.from_cudnn(w, 3, 4),
        np.ones(7),
        "expected \\[144\\]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_weights_that_do_not_fit_are_refused(name):
    take, weights, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        take(weights)


def test_names_that_haiku_lacks():
    with pytest.raises(ValueError, match="names: expected some of"):
        convert.from_haiku({"lstm/linear": HAIKU}, names=["lstm_1"])
    with pytest.raises(ValueError, match="even number of modules"):
        convert.from_haiku({"lstm/linear": HAIKU}, bidirectional=True)
    with pytest.raises(ValueError, match="names: expected each once"):
        convert.from_haiku({"lstm/linear": HAIKU}, names=["lstm", "lstm"])
    with pytest.raises(ValueError, match="names: expected 1 different"):
        convert.to_haiku(LSTM, params_of(LSTM), names=["a", "b"])


def test_a_state_with_random_numbers_in_it():
    """As nnx.state gives it for a cell that keeps its rngs."""
    tree = convert.to_nnx(LSTM, params_of(LSTM)) | {"rngs": {"count": np.zeros(())}}
    cases.assert_same_bits(convert.from_nnx({"cell": tree})[1], params_of(LSTM))
