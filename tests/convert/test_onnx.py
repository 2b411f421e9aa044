"""ONNX's recurrent nodes here: the cases of its own suite, and onnxruntime's values."""

import importlib
import warnings

import jax
import numpy as np
import pytest

import jaxrnn
from jaxrnn import convert
from jaxrnn.cells import LSTMCarry
from tests.installed import need

T, B, F, H = 5, 3, 2, 4
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
NAMES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
pytestmark = pytest.mark.slow


def carry_of(cell, h, c):
    """The carry of ONNX's states ``[directions, B, H]``."""
    ways = list(h) if c is None else list(map(LSTMCarry, h, c))
    return ways[0] if len(ways) == 1 else jaxrnn.BidirectionalCarry(*ways)


def states_of(carry):
    """ONNX's states of a carry: h, and c if there is one."""
    ways = carry if isinstance(carry, jaxrnn.BidirectionalCarry) else (carry,)
    both = [way if isinstance(way, LSTMCarry) else (way,) for way in ways]
    return [np.stack(each) for each in zip(*both, strict=True)]


def run(rnn, given):
    """Y, Y_h and Y_c of a node, by what `from_onnx` made of it."""
    turn = lambda a: a.swapaxes(0, 1) if rnn.batch_first and a is not None else a
    xs, h, c = (given.get(n) for n in ("X", "initial_h", "initial_c"))
    xs, h, c = turn(xs), turn(h), turn(c)
    carry = rnn.carry if h is None else carry_of(rnn.cell, h, c)
    options = dict(lengths=given.get("sequence_lens"), reverse=rnn.reverse)
    last, hs = jaxrnn.unroll(rnn.cell, rnn.params, carry, xs, **options)
    last = states_of(last)
    ys = np.asarray(hs).reshape(*hs.shape[:2], len(last[0]), -1)
    if rnn.batch_first:
        return [ys.swapaxes(0, 1), *(state.swapaxes(0, 1) for state in last)]
    return [ys.swapaxes(1, 2), *last]


def close(got, want):
    assert np.shape(got) == np.shape(want)
    np.testing.assert_allclose(
        got, want, rtol=0, atol=1e-6 * max(1, np.abs(want).max())
    )


def suite():
    """The suite's cases of recurrent nodes by their names."""
    need("onnx")
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        every = collect_testcases(None)
    return {case.name: case for case in every if is_recurrent(case.model)}


def is_recurrent(model):
    return model.graph.node[0].op_type in GATES


def test_the_suites_own_cases():
    cases = suite()
    assert len(cases) >= 18
    for case in cases.values():
        model, (inputs, outputs) = case.model, case.data_sets[0]
        node = model.graph.node[0]
        given = dict(zip([n for n in node.input if n], inputs, strict=True))
        rnn = convert.from_onnx(model, weights=given)
        assert (rnn.lengths is None) == ("sequence_lens" not in given)
        found = dict(zip(("Y", "Y_h", "Y_c"), run(rnn, given), strict=False))
        for name, want in zip([n for n in node.output if n], outputs, strict=True):
            close(found[name], want)


OPTIONS = {
    "RNN": ({}, {"activations": ["Relu"]}, {"activations": ["Softsign"]}),
    "GRU": ({}, {"linear_before_reset": 1}),
    "LSTM": ({}, {"peepholes": True}, {"input_forget": 1}),
}
CASES = [
    (op, direction, n, whole)
    for op, options in OPTIONS.items()
    for direction in ("forward", "reverse", "bidirectional")
    for n in range(len(options))
    for whole in (True, False)
]


def made(op, direction, options, whole, random):
    """``(model, given)``: a model of one node, and the arrays that it takes."""
    helper = pytest.importorskip("onnx.helper")
    count, options = 2 if direction == "bidirectional" else 1, dict(options)
    draw = lambda *shape: np.float32(0.7 * random.randn(*shape))
    width = GATES[op] * H
    given = {"X": draw(T, B, F), "W": draw(count, width, F), "R": draw(count, width, H)}
    if whole:
        given |= {"B": draw(count, 2 * width)}
        given |= {"sequence_lens": np.array([T, 2, 3], np.int32)}
        given |= {"initial_h": draw(count, B, H)}
        given |= {"initial_c": draw(count, B, H)} if op == "LSTM" else {}
    if options.pop("peepholes", False):
        given |= {"P": draw(count, 3 * H)}
    if "activations" in options:
        options["activations"] = options["activations"] * count
    names = [name if name in given else "" for name in NAMES]
    while not names[-1]:
        names.pop()
    outputs = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    options = {"hidden_size": H, "direction": direction} | options
    node = helper.make_node(op, names, outputs, name="the node", **options)
    kind = lambda a: helper.np_dtype_to_tensor_dtype(a.dtype)
    take = [
        helper.make_tensor_value_info(n, kind(a), a.shape) for n, a in given.items()
    ]
    show = [helper.make_tensor_value_info(n, 1, None) for n in outputs]
    graph = helper.make_graph([node], "graph", take, show)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8), given


def values(model, given):
    need("onnxruntime")
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, given)


@pytest.mark.parametrize(("op", "direction", "n", "whole"), CASES)
def test_values_are_onnxruntimes(op, direction, n, whole):
    need("onnx")
    random = np.random.RandomState(list(f"{op}{direction}{n}{whole}".encode()))
    model, given = made(op, direction, OPTIONS[op][n], whole, random)
    rnn = convert.from_onnx(model, weights=given)
    want = values(model, given)
    assert np.abs(want[0]).max() > 0.1
    for got, theirs in zip(run(rnn, given), want, strict=True):
        close(got, theirs)


def stored(model, given, names):
    """The model with these arrays in it."""
    numpy_helper = pytest.importorskip("onnx.numpy_helper")
    for name in names:
        model.graph.initializer.append(numpy_helper.from_array(given[name], name))
    return model


@pytest.mark.parametrize("op", GATES)
def test_a_model_holds_weights_and_states(op):
    need("onnx")
    random = np.random.RandomState(3)
    model, given = made(op, "bidirectional", {}, True, random)
    rnn = convert.from_onnx(stored(model, given, set(given) - {"X"}))
    np.testing.assert_array_equal(rnn.lengths, given["sequence_lens"])
    want = values(model, given)
    held = {"X": given["X"], "sequence_lens": rnn.lengths}
    for got, theirs in zip(run(rnn, held), want, strict=True):
        close(got, theirs)
    double = convert.from_onnx(model, node="the node", dtype="float64")
    leaves = jax.tree.leaves((double.params, double.carry))
    assert {a.dtype.name for a in leaves} == {"float64"}
    close(run(double, held)[0], want[0])
    half = {n: np.float16(a) for n, a in given.items() if a.dtype == np.float32}
    single = convert.from_onnx(model.graph.node[0], weights=half, dtype="float32")
    leaves = jax.tree.leaves((single.params, single.carry))
    assert {a.dtype.name for a in leaves} == {"float32"}


def test_only_a_state_c_is_held():
    need("onnx")
    model, given = made("LSTM", "forward", {}, True, np.random.RandomState(4))
    model.graph.node[0].input[5] = ""
    rnn = convert.from_onnx(stored(model, given, set(given) - {"X", "initial_h"}))
    np.testing.assert_array_equal(rnn.carry.h, 0 * given["initial_h"][0])
    np.testing.assert_array_equal(rnn.carry.c, given["initial_c"][0])


def changed(op="LSTM", direction="forward", options=None, name=None, **arrays):
    """What `from_onnx` is called with, with some arrays replaced."""
    model, given = made(op, direction, options or {}, True, np.random.RandomState(5))
    given |= arrays
    return lambda: convert.from_onnx(
        model, node=name, weights={n: a for n, a in given.items() if a is not None}
    )


def alone(op):
    return pytest.importorskip("onnx.helper").make_node(op, ["X"], ["Y"])


def without(what):
    """A node that leaves out this input."""
    model, given = made("LSTM", "forward", {}, True, np.random.RandomState(5))
    model.graph.node[0].input[NAMES.index(what)] = ""
    return lambda: convert.from_onnx(model, weights=given)


def computed(what):
    """A model in which another node makes this input."""
    model, given = made("GRU", "forward", {}, True, np.random.RandomState(5))
    (value,) = [value for value in model.graph.input if value.name == what]
    model.graph.input.remove(value)
    weights = {n: a for n, a in given.items() if n != what}
    return lambda: convert.from_onnx(model, weights=weights)


WRONG = {
    "no weights": (
        lambda: changed(R=None),
        "weights: expected 'R', the input R of the LSTM",
    ),
    "no bias": (lambda: changed(B=None), "weights: expected 'B'"),
    "clip": (
        lambda: changed(options={"clip": 1.0}),
        "LSTM the node: expected no clip, got 1",
    ),
    "another activation": (
        lambda: changed(options={"activations": ["Sigmoid", "Tanh", "Relu"]}),
        r"expected activations \['Sigmoid', 'Tanh', 'Tanh'\], got.*'Relu'",
    ),
    "an activation that nobody has": (
        lambda: changed("RNN", options={"activations": ["HardSigmoid"]}),
        r"expected activations among \['Relu', .*\], got \['HardSigmoid'\]",
    ),
    "coupled gates with peepholes": (
        lambda: changed(options={"input_forget": 1, "peepholes": True}),
        "expected no peepholes where input and forget gates are coupled",
    ),
    "no kernel": (lambda: without("W"), "LSTM: expected an input W, got none"),
    "one of two states": (
        lambda: changed(initial_c=None),
        r"weights: expected 'initial_c'.*Give weights=\{'initial_c'",
    ),
    "a state that is computed": (lambda: computed("initial_h"), "expected 'initial_h'"),
    "lengths that are computed": (
        lambda: computed("sequence_lens"),
        "weights: expected 'sequence_lens', the input sequence_lens of the GRU",
    ),
    "states of two directions": (
        lambda: changed("GRU", initial_h=np.ones((2, B, H))),
        r"GRU the node: expected initial_h \[1, 3, 4\], got \[2, 3, 4\]",
    ),
    "states of one direction": (
        lambda: changed("GRU", "bidirectional", initial_h=np.ones((1, B, H))),
        r"expected initial_h \[2, 3, 4\], got \[1, 3, 4\]",
    ),
    "a state of another batch": (
        lambda: changed(initial_c=np.ones((1, B + 1, H))),
        r"expected initial_c \[1, 3, 4\], got \[1, 4, 4\]",
    ),
    "states of other batches": (
        lambda: changed(initial_c=np.ones((1, B + 1, H)), sequence_lens=None),
        r"expected initial_c \[1, 3, 4\], got \[1, 4, 4\]",
    ),
    "lengths that are no integers": (
        lambda: changed(sequence_lens=np.ones(B)),
        r"expected sequence_lens int \[B\], got float64 \[3\]",
    ),
    "another direction": (
        lambda: changed(direction="Reverse"),
        r"direction: expected \['forward', 'reverse', 'bidirectional'\], got 'Reverse'",
    ),
    "another width than the node's": (
        lambda: changed(options={"hidden_size": 5}),
        r"expected W \[1, 20, F\], got \[1, 16, 2\]",
    ),
    "weights without names": (
        lambda: lambda: convert.from_onnx(alone("GRU"), weights=[1]),
        r"weights: expected a dict of arrays by name, got \[1\]",
    ),
    "kernels of one direction": (
        lambda: changed(direction="bidirectional", W=np.ones((1, 16, 2))),
        r"expected W \[2, 16, F\], got \[1, 16, 2\]",
    ),
    "a transposed kernel": (
        lambda: changed(R=np.ones((1, 4, 16))),
        r"expected R \[1, 16, 4\], got \[1, 4, 16\]",
    ),
    "a kernel of another width": (
        lambda: changed(W=np.ones((1, 12, 2))),
        r"expected W \[1, 16, F\], got \[1, 12, 2\]",
    ),
    "half a bias": (
        lambda: changed(B=np.ones((1, 16))),
        r"expected B \[1, 32\], got \[1, 16\]",
    ),
    "another node": (
        lambda: changed(name="other"),
        r"node: expected one RNN, GRU or LSTM 'other', got .*LSTM the node or Y",
    ),
    "a node of another kind": (
        lambda: lambda: convert.from_onnx(alone("Relu")),
        "model: expected an onnx.ModelProto or the NodeProto.*got Relu",
    ),
    "no model": (lambda: lambda: convert.from_onnx({}), "model: expected.*got dict"),
}


@pytest.mark.parametrize("case", WRONG)
def test_raises(case):
    need("onnx")
    call, message = WRONG[case]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        call()()


def test_several_nodes_are_named():
    need("onnx")
    one, given = made("GRU", "forward", {}, True, np.random.RandomState(6))
    two, _ = made("LSTM", "forward", {}, True, np.random.RandomState(7))
    two.graph.node[0].name = "another"
    two.graph.node[0].output[0] = "Z"
    two.graph.node[0].output[1] = "Z_h"
    one.graph.node.append(two.graph.node[0])
    with pytest.raises(
        ValueError, match=r"GRU the node or Y.*LSTM another or Z.*Name one"
    ):
        convert.from_onnx(one, weights=given)
    rnn = convert.from_onnx(one, node="the node", weights=given)
    assert repr(rnn.cell) == "gru(hidden=4, reset_after=False)"
    for node in one.graph.node:
        node.name = ""
    rnn = convert.from_onnx(one, node="Y_h", weights=given)
    assert repr(rnn.cell) == "gru(hidden=4, reset_after=False)"
