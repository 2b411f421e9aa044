"""The faults, by module, and the tests that each module's faults must meet first.

No tool draws these: most of what one would draw in jitted code changes shapes and dies at
once, and proves nothing. These are what people get wrong, above all what keeps every
shape. `tests.mutants.planting` says what a fault is.
"""

from typing import NamedTuple

from tests.museum.__main__ import hung
from tests.mutants.planting import Fault


class Module(NamedTuple):
    """Fields:
    path: of the source.
    tests: pytest's arguments: what the faults meet first.
    faults: in the order of the source.
    """

    path: str
    tests: tuple[str, ...]
    faults: tuple[Fault, ...]


def module(path: str, tests: str, *faults: tuple[str, str, str, str]) -> Module:
    """Each fault: its name, its function, the pattern and what stands there instead."""
    files, _, names = tests.partition(" -k ")
    chosen = ("-k", names) if names else ()
    return Module(path, (*files.split(), *chosen), tuple(Fault(*f) for f in faults))


# fmt: off
PLANTED = (
    module(
        "jaxrnn/cells/lstm.py",
        "tests/laws/test_oracle.py tests/laws/test_gates.py"
        " tests/laws/test_parameters.py -k lstm or counts or per_gate or biases or"
        " bias or apart",
        ("wx and wh swapped", "project", "x @ params.wx + aligned(params.b, x)", "x @ params.wh + aligned(params.b, x)"),
        ("no bias", "project", "x @ params.wx + aligned(params.b, x)", "x @ params.wx"),
        ("bias twice", "project", "aligned(params.b, x)", "2 * aligned(params.b, x)"),
        ("bias taken away", "project", "x @ params.wx + aligned(params.b, x)", "x @ params.wx - aligned(params.b, x)"),
        ("recurrent kernel turned", "recur", "carry.h @ params.wh", "carry.h @ params.wh[:, ::-1]"),
        ("the cell state is multiplied", "recur", "carry.h @ params.wh", "carry.c @ params.wh"),
        ("i and f swapped in h U", "recur", "(xi + hi, xf + hf, xg + hg, xo + ho)", "(xi + hf, xf + hi, xg + hg, xo + ho)"),
        ("g and o swapped in h U", "recur", "(xi + hi, xf + hf, xg + hg, xo + ho)", "(xi + hi, xf + hf, xg + ho, xo + hg)"),
        ("h U left out of o", "recur", "xo + ho", "xo"),
        ("gates packed i, g, f, o", "gates", "i, f, g, o = pre", "i, g, f, o = pre"),
        ("gates packed f, i, g, o", "gates", "i, f, g, o = pre", "f, i, g, o = pre"),
        ("the candidate squashed by σ", "gates", "LSTMGates(sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o))", "LSTMGates(sigmoid(i), sigmoid(f), sigmoid(g), sigmoid(o))"),
        ("the output gate squashed by tanh", "gates", "LSTMGates(sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o))", "LSTMGates(sigmoid(i), sigmoid(f), jnp.tanh(g), jnp.tanh(o))"),
        ("i and f swapped in c", "update", "f * carry.c + i * g", "i * carry.c + f * g"),
        ("forget and keep swapped", "update", "f * carry.c + i * g", "(1 - f) * carry.c + i * g"),
        ("coupled gates", "update", "f * carry.c + i * g", "f * carry.c + (1 - f) * g"),
        ("c is made of h", "update", "f * carry.c + i * g", "f * carry.h + i * g"),
        ("h is shown without tanh", "update", "o * jnp.tanh(c)", "o * c"),
        ("h shows the old c", "update", "o * jnp.tanh(c)", "o * jnp.tanh(carry.c)"),
        ("the carry's two halves swapped", "update", "LSTMCarry(h=o * jnp.tanh(c), c=c)", "LSTMCarry(c=o * jnp.tanh(c), h=c)"),
        ("the cell state is shown", "output", "return carry.h", "return carry.c"),
        ("forget bias 0", "lstm", "1.0 if forget_bias is None else forget_bias", "0.0 if forget_bias is None else forget_bias"),
        ("forget bias on the input gate", "lstm.init", "draw_bias('ifgo', bias_init, kb, hidden, dtype, f=open_by)", "draw_bias('ifgo', bias_init, kb, hidden, dtype, i=open_by)"),
        ("one key for both kernels", "lstm.init", "per_gate(recurrent_init, 4, kh, (hidden, hidden), dtype)", "per_gate(recurrent_init, 4, kx, (hidden, hidden), dtype)"),
        ("the kernels' initializers swapped", "lstm.init", "per_gate(kernel_init, 4, kx, (features, hidden), dtype)", "per_gate(recurrent_init, 4, kx, (features, hidden), dtype)"),
    ),
    module(
        "jaxrnn/cells/gru.py",
        "tests/laws/test_oracle.py tests/laws/test_gates.py"
        " tests/laws/test_parameters.py -k gru or counts or per_gate or biases or"
        " apart",
        ("no bias", "project", "x @ params.wx + aligned(params.b, x)", "x @ params.wx"),
        ("r and z swapped in h U", "recur", "(xr + hr, xz + hz, xn, hn + aligned(params.bn, hn))", "(xr + hz, xz + hr, xn, hn + aligned(params.bn, hn))"),
        ("bn left out", "recur", "n + aligned(params.bn, n)", "n"),
        ("bn outside of the reset", "recur", "(xr + hr, xz + hz, xn, hn + aligned(params.bn, hn))", "(xr + hr, xz + hz, xn + aligned(params.bn, hn), hn)"),
        ("gates packed z, r, n", "gates", "r, z, n, hn = pre", "z, r, n, hn = pre"),
        ("no reset gate", "gates", "jnp.tanh(n + r * hn)", "jnp.tanh(n + hn)"),
        ("the input is reset", "gates", "jnp.tanh(n + r * hn)", "jnp.tanh(r * n + hn)"),
        ("the reset gate turned", "gates", "jnp.tanh(n + r * hn)", "jnp.tanh(n + (1 - r) * hn)"),
        ("the keep gate scales the memory", "gates", "jnp.tanh(n + r * hn)", "jnp.tanh(n + sigmoid(z) * hn)"),
        ("z turned", "update", "(1 - z) * n + z * h", "z * n + (1 - z) * h"),
        ("nothing is let go", "update", "(1 - z) * n + z * h", "n + z * h"),
        ("the candidate is always let in", "update", "(1 - z) * n + z * h", "(1 - z) * n + h"),
        ("update bias 1", "gru", "0.0 if update_bias is None else update_bias", "1.0 if update_bias is None else update_bias"),
        ("update bias on the reset gate", "gru.init", "draw_bias('rzn', bias_init, kb, hidden, dtype, z=open_by)", "draw_bias('rzn', bias_init, kb, hidden, dtype, r=open_by)"),
        ("one key for both kernels", "gru.init", "per_gate(recurrent_init, 3, kh, (hidden, hidden), dtype)", "per_gate(recurrent_init, 3, kx, (hidden, hidden), dtype)"),
    ),
    module(
        "jaxrnn/cells/simple.py",
        "tests/laws/test_oracle.py tests/laws/test_parameters.py"
        " tests/laws/test_errors.py -k simple or counts or per_gate or identity or"
        " activation",
        ("no bias", "project", "x @ params.wx + aligned(params.b, x)", "x @ params.wx"),
        ("no memory", "recur", "z[0] + h @ params.wh", "z[0]"),
        ("memory taken away", "recur", "z[0] + h @ params.wh", "z[0] - h @ params.wh"),
        ("tanh where relu was asked for", "", "{'tanh': jnp.tanh, 'relu': jax.nn.relu}", "{'tanh': jnp.tanh, 'relu': jnp.tanh}"),
        ("relu where tanh was asked for", "", "{'tanh': jnp.tanh, 'relu': jax.nn.relu}", "{'tanh': jax.nn.relu, 'relu': jax.nn.relu}"),
        ("any activation is accepted", "simple_rnn", "not callable(activation) and activation not in ACTIVATIONS", "False"),
    ),
    module(
        "jaxrnn/cells/options.py",
        "tests/laws/test_parameters.py tests/laws/test_errors.py"
        " tests/laws/test_dtype.py -k (raises and not under_jit) or biases or"
        " params_are_drawn or chrono",
        ("hidden 0 is accepted", "check_hidden", "_integer('hidden', hidden, 1)", "_integer('hidden', hidden, 0)"),
        ("True is a width", "_integer", "isinstance(value, int | np.integer) and (not isinstance(value, bool))", "isinstance(value, int | np.integer)"),
        ("token ids are inputs", "zeros", "jnp.issubdtype(x.dtype, jnp.floating)", "jnp.issubdtype(x.dtype, jnp.number)"),
        ("a gate's bias starts at 1", "draw_bias", "start.get(g, 0)", "start.get(g, 1)"),
        ("a drawn bias of another length is accepted", "draw_bias", "b.shape != (len(gates) * hidden,)", "b.ndim != 1"),
        ("a drawn bias keeps its own dtype", "draw_bias", "b.astype(dtype)", "b"),
        ("both biases may be given", "check_gate_bias", "bias_init is not None", "False"),
        ("a gate's bias of any shape", "check_gate_bias", "np.shape(value) not in ((), (hidden,))", "np.ndim(value) > 1"),
    ),
    module(
        "jaxrnn/gated.py",
        "tests/laws/test_oracle.py tests/laws/test_dtype.py"
        " tests/laws/test_errors.py -k is_the_equation or fixed_point or raises or"
        " update_returns",
        ("the step shows the old carry", "gated.compose", "carry = move(params, carry, x)\nreturn carry, output(params, carry)", "return move(params, carry, x), output(params, carry)"),
        ("params are not checked", "gated.checked", "check_like('params', params, expected(n), remedy, dtypes=False)", "pass"),
        ("params must have the default dtype", "gated.checked", "check_like('params', params, expected(n), remedy, dtypes=False)", "check_like('params', params, expected(n), remedy)"),
        ("the carry is not checked", "gated.step", "check_like('carry', carry, jax.eval_shape(start, params, x), remedy)", "pass"),
        ("the carry's dtype is that of zeros", "gated.start", "retype(zeros, like)", "zeros"),
        ("what update returns is not checked", "gated.start", "check_like(name, like, zeros, remedy, dtypes=False)", "pass"),
    ),
    module(
        "jaxrnn/engine/__init__.py",
        "tests/laws/test_errors.py -k raises and gated",
        ("the engine asked for is not used", "_allowed", 'tuple(e for e in ENGINES if engine in ("auto", e.name))', "ENGINES[-1:]"),
    ),
    module(
        "jaxrnn/_tree.py",
        "tests/test_cell.py tests/laws/test_errors.py tests/laws/test_dtype.py -k"
        " shown or show_what or numpys_own or keeps_its_values or one_step or"
        " raises or fixed_point",
        ("structures are not compared", "check_like", "have != want", "False"),
        ("shapes are not compared", "check_like", "a.shape != e.shape or (dtypes and a.dtype != e.dtype)", "dtypes and a.dtype != e.dtype"),
        ("dtypes are not compared", "check_like", "a.shape != e.shape or (dtypes and a.dtype != e.dtype)", "a.shape != e.shape"),
        ("ranks are compared, not shapes", "check_like", "a.shape != e.shape", "a.ndim != len(e.shape)"),
        ("a value is retyped to zeros", "retype.one", "jnp.zeros_like(s) + jnp.asarray(v).astype(s.dtype)", "jnp.zeros_like(s)"),
        ("the last axes are dropped", "one_step.drop", "range(leading)", "range(-leading, 0)"),
        ("a sum widens the dtype", "one_step.drop", "jnp.sum(a, axis=tuple(range(leading)), dtype=a.dtype)", "jnp.sum(a, axis=tuple(range(leading)))"),
    ),
    module(
        "jaxrnn/_spec.py",
        "tests/test_cell.py tests/laws/test_errors.py tests/laws/test_dtype.py -k"
        " shown or show_what or numpys_own or keeps_its_values or one_step or"
        " raises or fixed_point",
        ("a function's name without brackets", "name_of", "f\"<{getattr(function, '__name__', type(function).__name__)}>\"", "getattr(function, '__name__', type(function).__name__)"),
        ("options with the value None are shown", "spec_of", "(entry(n, v) for n, v in options.items() if v is not None)", "(entry(n, v) for n, v in options.items())"),
    ),
    module(
        "jaxrnn/_tree.py",
        "tests/laws/test_time.py -k loop_of_step and lstm-forward",
        ("then and otherwise swapped", "select.one", "jnp.where(where.reshape(where.shape + (1,) * axes), a, b)", "jnp.where(where.reshape(where.shape + (1,) * axes), b, a)"),
        ("masks broadcast from the right", "select.one", "where.shape + (1,) * axes", "(1,) * axes + where.shape"),
    ),
    module(
        "jaxrnn/_time.py",
        "tests/laws/test_time.py -k (loop_of_step and lstm) or (padding and lstm)",
        ("lengths off by one, long", "valid_steps", "jnp.expand_dims(steps, range(1, ends.ndim)) < ends", "jnp.expand_dims(steps, range(1, ends.ndim)) <= ends"),
        ("lengths off by one, short", "valid_steps", "jnp.expand_dims(steps, range(1, ends.ndim)) < ends", "jnp.expand_dims(steps, range(1, ends.ndim)) < ends - 1"),
        ("lengths count from the end", "valid_steps", "jnp.expand_dims(steps, range(1, ends.ndim)) < ends", "jnp.expand_dims(steps, range(1, ends.ndim)) >= length - ends"),
        ("lengths beat the mask", "valid_steps", "inside if valid is None else valid & inside", "inside"),
        ("the mask beats lengths", "valid_steps", "valid & inside", "valid"),
        ("either of lengths and mask", "valid_steps", "valid & inside", "valid | inside"),
        ("a mask is no mask", "valid_steps", 'check_steps("mask", mask, length, batch)', 'None if mask is None else ~check_steps("mask", mask, length, batch)'),
    ),
    module(
        "jaxrnn/unroll.py",
        "tests/laws/test_time.py -k (loop_of_step and lstm) or (padding and lstm)",
        ("resets act beyond the lengths", "unroll", "resets is not None and lengths is not None", "False"),
        ("the padding reaches the cell", "unroll", "xs = select(valid, xs, 0)", "pass"),
        ("resets go to the carry that came in", "unroll", "None if resets is None else cell.initial_carry(params, x)", "None if resets is None else carry"),
        ("the given carry is forgotten", "unroll", "check_like('carry', carry, start, remedy)", "carry = cell.initial_carry(params, x)"),
    ),
    module(
        "jaxrnn/unroll.py",
        "tests/laws/test_errors.py -k raises or clipped",
        ("the given carry is not looked at", "unroll", "check_like('carry', carry, start, remedy)", "pass"),
        ("remat=0 is accepted", "_check_options", "whole and remat >= 1", "whole and remat >= 0"),
        ("remat=True is a number", "_check_options", "isinstance(remat, int | np.integer) and (not isinstance(remat, bool))", "isinstance(remat, int | np.integer)"),
        ("any engine", "_check_options", "engine not in engines.names()", "False"),
        ("a bare step starts from None", "_bare", "carry is None", "False"),
        ("a bare step resets to its carry", "_bare", "resets is not None", "False"),
    ),
    module(
        "jaxrnn/_time.py",
        "tests/laws/test_errors.py -k raises or clipped",
        ("reverse of any kind", "check_flag", "not isinstance(value, bool | np.bool_)", "False"),
        ("leaves of other lengths", "length_of", "a.shape[:1] != length", "False"),
        ("integer masks", "check_steps", "value.dtype != bool", "False"),
        ("a mask of another shape broadcasts", "check_steps", "value.shape != (length, *batch)", "value.ndim != 1 + len(batch)"),
        ("float lengths", "_lengths", "not jnp.issubdtype(value.dtype, jnp.integer)", "False"),
        ("negative lengths", "_lengths", "value.min() < 0 or value.max() > length", "value.max() > length"),
        ("lengths beyond the steps", "_lengths", "value.min() < 0 or value.max() > length", "value.min() < 0"),
        ("full lengths are refused", "_lengths", "value.max() > length", "value.max() >= length"),
    ),
    module(
        "jaxrnn/_time.py",
        "tests/test_unroll.py -k own or vectors or two_batch_shapes or begin_with",
        ("lengths of another shape than the mask", "_lengths", "value.shape != batch", "False"),
    ),
    module(
        "jaxrnn/unroll.py",
        "tests/test_unroll.py -k own or vectors or two_batch_shapes or begin_with",
        ("a batch shape that nothing has", "_batch", "leaf.shape[:len(shape)] != shape", "False"),
    ),
    module(
        "jaxrnn/engine/scan.py",
        "tests/laws/test_time.py -k loop_of_step and (bare or lstm-forward or"
        " lstm-reverse)",
        ("time always forwards", "unroll.run", "lax.scan(body, carry, steps, reverse=control.reverse)", "lax.scan(body, carry, steps)"),
        ("resets go nowhere", "controlled.body", "carry if reset is None else select(reset, fresh, carry)", "carry"),
        ("resets keep, and all else is fresh", "controlled.body", "select(reset, fresh, carry)", "select(reset, carry, fresh)"),
        ("the carry walks through the padding", "controlled.body", "select(valid, new, entered)", "new"),
        ("a reset at a masked step is lost", "controlled.body", "select(valid, new, entered)", "select(valid, new, carry)"),
        ("the padding's outputs are shown", "controlled.body", "select(valid, h, 0)", "h"),
        ("reversed resets act before their step", "resets_before", "resets is None or not control.reverse", "True"),
        ("reversed resets off by one", "resets_before", "jnp.concatenate([resets, jnp.zeros_like(resets[:1])])[1:]", "jnp.concatenate([jnp.zeros_like(resets[:1]), resets])[:-1]"),
        ("the reset at step 0 is lost under reverse", "last_reset", "select(control.resets[0], control.fresh, carry)", "carry"),
        ("the reset at step 0 acts forwards too", "last_reset", "control.resets is None or not control.reverse or _is(control.resets.shape[0], 0)", "control.resets is None or _is(control.resets.shape[0], 0)"),
        ("the last reset in place of the first", "last_reset", "control.resets[0]", "control.resets[-1]"),
    ),
    module(
        "jaxrnn/engine/scan.py",
        "tests/laws/test_time.py -k remat and simple_rnn",
        ("the rest of the chunks is lost", "in_chunks", "split == length", "True"),
        ("the rest runs first", "in_chunks", "if control.reverse:\n    carry, last = outer(carry, tail)\n    carry, first = all_whole(carry)\nelse:\n    carry, first = all_whole(carry)\n    carry, last = outer(carry, tail)", "if not control.reverse:\n    carry, last = outer(carry, tail)\n    carry, first = all_whole(carry)\nelse:\n    carry, first = all_whole(carry)\n    carry, last = outer(carry, tail)"),
        ("the rest starts from what came in", "in_chunks", "if control.reverse:\n    carry, last = outer(carry, tail)\n    carry, first = all_whole(carry)\nelse:\n    carry, first = all_whole(carry)\n    carry, last = outer(carry, tail)", "if control.reverse:\n    carry, last = outer(carry, tail)\n    carry, first = all_whole(carry)\nelse:\n    _, first = all_whole(carry)\n    carry, last = outer(carry, tail)"),
        ("chunks are joined in the wrong order", "in_chunks", "jnp.concatenate([a, b])", "jnp.concatenate([b, a])"),
        ("chunks run forwards under reverse", "in_chunks.all_whole", "control.reverse", "False"),
    ),
    module(
        "jaxrnn/engine/scan.py",
        "tests/test_unroll.py tests/laws/test_errors.py -k stores_less or"
        " changes_its_carry",
        ("a step may change its carry", "settle", "check_like('the carry that step returns', new, carry, remedy)", "pass"),
        ("nothing is stored less", "in_chunks", "(jax.checkpoint(run, prevent_cse=False), jax.checkpoint(run))", "(run, run)"),
    ),
    module(
        "jaxrnn/engine/scan.py",
        "tests/test_engine.py -k leave_no_rest or too_much",
        ("auto never stores less", "in_chunks", "isinstance(stored, int) and stored > AUTO_REMAT_BYTES", "False"),
        ("blocks run forwards under reverse", "in_blocks", "lax.scan(run, carry, jax.tree.map(cut, steps), reverse=reverse)", "lax.scan(run, carry, jax.tree.map(cut, steps))"),
        ("too few blocks are blocks", "in_blocks", "0 < least * size <= length", "0 < size <= length"),
        ("a block size that leaves a rest", "in_blocks", "[k for k in range(-(-size // 2), 2 * size + 1) if length % k == 0]", "[k for k in range(-(-size // 2), 2 * size + 1)]"),
    ),
    module(
        "jaxrnn/engine/gated/forward.py",
        "tests/laws/test_time.py -k loop_of_step and (lstm or own_gated)",
        ("the engine runs forwards alone", "forward.block", "lax.scan(body, carry, (xs, valid, resets), reverse=loop.reverse)", "lax.scan(body, carry, (xs, valid, resets))"),
        ("resets are forgotten", "forward.body", "carry if reset is None else select(reset, fresh, carry)", "carry"),
        ("gates see the carry before the reset", "forward.body", "over(rows, active.call, 2)(consts[2], params, entered, pre)", "over(rows, active.call, 2)(consts[2], params, carry, pre)"),
        ("the carry walks through the padding", "forward.body", "select(valid, new, entered)", "new"),
    ),
    module(
        "jaxrnn/engine/gated/tangent.py",
        "tests/laws/test_time.py -k loop_of_step and (lstm or own_gated)",
        ("under grad the padding's outputs are shown", "differentiable.rule", "select(valid, shown(consts[3], params, after), 0)", "shown(consts[3], params, after)"),
        ("the backward pass knows no resets", "_block.block", "if resets is not None:\n    before = select(resets, fresh, before)", ""),
        ("tangents go through resets", "_waits.tangent", "tangents.choose(c, reset, dfresh, dcarry)", "dcarry"),
        ("tangents of the initial carry are lost", "_waits.tangent", "tangents.choose(c, reset, dfresh, dcarry)", "tangents.choose(c, reset, None, dcarry)"),
        ("tangents of params in recur are lost", "_added_by_all", "(dconsts[:2], dparams, none(before), dxs)", "(dconsts[:2], none(params), none(before), dxs)"),
        ("tangents of the inputs are lost", "_added_by_all", "(dconsts[:2], dparams, none(before), dxs)", "(dconsts[:2], dparams, none(before), none(xs))"),
        ("tangents of params in gates are lost", "_added_by_all", "(dconsts[2], dparams, *dargs)", "(dconsts[2], none(params), *dargs)"),
        ("the kernel is not turned back", "_waits.tangent", "jax.tree.map(turn_back, turned)", "turned"),
        ("pre-activations add nothing to the tangent", "_waits.tangent", "tangents.add(pre, da, dpre)", "da"),
        ("gates add nothing to the tangent", "_waits.tangent", "tangents.add(new, dn, dnew)", "dn"),
        ("the carry has no way past the gates", "_waits.tangent", "tangents.jvp(step, (c, a), (dc, da))", "tangents.jvp(step, (c, a), (tangents.none(c), da))"),
        ("pre-activations have no tangent", "_waits.tangent", "tangents.jvp(step, (c, a), (dc, da))", "tangents.jvp(step, (c, a), (dc, tangents.none(a)))"),
        ("tangents walk through the padding", "_waits.tangent", "tangents.choose(new, valid, dn, dc)", "dn"),
        ("tangents die in the padding", "_waits.tangent", "tangents.choose(new, valid, dn, dc)", "tangents.choose(new, valid, dn, tangents.none(c))"),
        ("the tangent of the padding's outputs", "_waits.tangent", "tangents.choose(h, valid, ds, tangents.none(h))", "ds"),
        ("tangents run forwards under reverse", "_block.block", "lax.scan(waits, dcarry, inputs, reverse=loop.reverse)", "lax.scan(waits, dcarry, inputs)"),
        ("the carry after a step for the one before", "_shift", "a[1:] if reverse else a[:-1]", "a[:-1] if reverse else a[1:]"),
        ("the carry that came in at the wrong end", "_shift.one", "[cs, c[None]] if reverse else [c[None], cs]", "[c[None], cs]"),
        ("params that recur alone reads are not read", "_composed", "jax.tree.map(operator.or_, project.reads[1], recur.reads[1])", "project.reads[1]"),
    ),
    module(
        "jaxrnn/engine/gated/forward.py",
        "tests/laws/test_time.py -k blocks and own_gated",
        ("projected ahead in the wrong order", "forward", "scan.in_blocks(block, carry, steps, ahead, loop.reverse, least=2)", "scan.in_blocks(block, carry, steps, ahead, False, least=2)"),
    ),
    module(
        "jaxrnn/engine/gated/tangent.py",
        "tests/laws/test_time.py -k blocks and own_gated",
        ("a block leaves the carry that came in", "_block.block", "(left, dcarry)", "(carry, dcarry)"),
        ("blocks of tangents run forwards", "differentiable.rule", "scan.in_blocks(block, carries, steps, loop.block, loop.reverse, loop.least_blocks)", "scan.in_blocks(block, carries, steps, loop.block, False, loop.least_blocks)"),
        ("the first carry is what a block leaves", "_shift", "0 if reverse else -1", "-1 if reverse else 0"),
    ),
    module(
        "jaxrnn/engine/gated/tangent.py",
        "tests/laws/test_transform.py -k closed_over",
        ("tangents of hidden constants are lost", "_added_by_all", "(dconsts[:2], dparams, none(before), dxs)", "(none(consts[:2]), dparams, none(before), dxs)"),
        ("tangents of constants in gates are lost", "_added_by_all", "(dconsts[2], dparams, *dargs)", "(none(consts[2]), dparams, *dargs)"),
        ("tangents of constants in output are lost", "_added_by_all", "(dconsts[3], dparams, none(after))", "(none(consts[3]), dparams, none(after))"),
        ("outputs add nothing to the tangent", "_waits.tangent", "tangents.add(h, ds, dh)", "ds"),
        ("recur's constants go to project", "_composed.call", "project.call(consts[0], params, x)", "project.call(consts[1], params, x)"),
    ),
    module(
        "jaxrnn/engine/gated/rows.py",
        "tests/laws/test_transform.py -k closed_over_value",
        ("rows of a cell that knows its batch", "row_axes", "batch_ndim if shapes(one_step(whole, batch_ndim)) == shapes(row) else 0", "batch_ndim"),
    ),
    module(
        "jaxrnn/engine/gated/forward.py",
        "tests/museum/test_time.py -k junk_in_the_padding",
        ("the padding's outputs are shown", "forward.body", "select(valid, h, 0)", "h"),
    ),
    module(
        "jaxrnn/engine/tangents.py",
        "tests/laws/test_time.py -k loop_of_step and own_gated",
        ("a zero tangent is a number", "from_jax", "None if isinstance(d, SymbolicZero) else d", "d"),
        ("the first leaf alone is perturbed", "jvp", "[i for i, d in enumerate(dots) if d is not None]", "[i for i, d in enumerate(dots) if d is not None][:1]"),
        ("a sum loses its second", "add.one", "y if x is None else x + y", "y if x is None else x"),
        ("a sum is a difference", "add.one", "y if x is None else x + y", "y if x is None else x - y"),
        ("a missing tangent stays where it is chosen", "choose.one", "select(where, dense(a, x), dense(a, y))", "select(where, dense(a, y), dense(a, x))"),
    ),
    module(
        "jaxrnn/engine/hoist.py",
        "tests/test_engine.py tests/laws/test_transform.py tests/transformations"
        " tests/laws/test_time.py -k function_reads or handed_on or closed_over or"
        " forget_bias or (own_gated and leaks) or costs_less or (loop_of_step and"
        " own_gated)",
        ("constants are those of the trace", "hoist.call", "eval_jaxpr(jaxpr, (), *jax.tree.leaves((consts, *args)))", "eval_jaxpr(closed.jaxpr, closed.consts, *jax.tree.leaves(args))"),
        ("what is only returned is not read", "hoist", "read |= {v for v in jaxpr.outvars if not hasattr(v, 'val')}", ""),
        ("nothing is read", "hoist", "[v in read for v in jaxpr.invars]", "[False for v in jaxpr.invars]"),
        ("everything is read", "hoist", "[v in read for v in jaxpr.invars]", "[True for v in jaxpr.invars]"),
    ),
    module(
        "jaxrnn/compose.py",
        "tests/laws/test_oracle.py -k compositions or merges or learned_carry",
        ("each layer reads the inputs", "stack.step", "for cell, p, c in zip(cells, params, carry, strict=True):\n    c, x = cell.step(p, c, x)\n    new.append(c)\nreturn (tuple(new), x)", "for cell, p, c in zip(cells, params, carry, strict=True):\n    c, y = cell.step(p, c, x)\n    new.append(c)\nreturn (tuple(new), y)"),
        ("a step without its input", "residual.step", "(carry, add(h, x))", "(carry, h)"),
        ("the input taken away", "residual.add", "jax.tree.map(jnp.add, h, x)", "jax.tree.map(jnp.subtract, h, x)"),
        ("sum for mean", "", "lambda f, b: (f + b) / 2", "lambda f, b: f + b"),
        ("backward before forward", "", "jnp.concatenate([f, b], axis=-1)", "jnp.concatenate([b, f], axis=-1)"),
        ("product for sum", "", "{'concat': lambda f, b: jnp.concatenate([f, b], axis=-1), 'sum': jnp.add, 'mean': lambda f, b: (f + b) / 2, 'product': jnp.multiply}", "{'concat': lambda f, b: jnp.concatenate([f, b], axis=-1), 'sum': jnp.multiply, 'mean': lambda f, b: (f + b) / 2, 'product': jnp.multiply}"),
        ("both directions the same", "bidirectional.unroll", "control.part(1, fresh.backward)._replace(reverse=not control.reverse)", "control.part(1, fresh.backward)"),
        ("the forward cell both times", "bidirectional.unroll", "run(backward, params.backward, carry.backward, xs, back)", "run(forward, params.forward, carry.backward, xs, back)"),
        ("the learned carry is not used", "learned_carry.initial_carry.one", "jnp.zeros_like(zero) + aligned(learned.astype(zero.dtype), zero)", "zero"),
        ("a learned carry of another shape", "learned_carry.initial_carry.one", "zero.shape[zero.ndim - learned.ndim:] != learned.shape", "False"),
    ),
    module(
        "jaxrnn/compose.py",
        "tests/laws/test_time.py -k loop_of_step and (stack-forward or"
        " residual-forward)",
        ("layers reset to nothing", "stack.unroll", "control.part(n, f)", "control.part(n, c)"),
        ("an unroll without its inputs", "residual.unroll", "(carry, add(hs, xs))", "(carry, hs)"),
    ),
    module(
        "jaxrnn/compose.py",
        "tests/laws/test_time.py -k (loop_of_step and bidirectional) or each_direction",
        ("backwards whatever was asked", "bidirectional.unroll", "not control.reverse", "True"),
        ("directions reset to the other's carry", "bidirectional.unroll", "control.part(0, fresh.forward)", "control.part(0, fresh.backward)"),
        ("a merge shows the padding", "bidirectional.unroll", "select(control.valid, join(hf, hb), 0)", "join(hf, hb)"),
        ("carries in the wrong order", "bidirectional.unroll", "BidirectionalCarry(cf, cb)", "BidirectionalCarry(cb, cf)"),
    ),
    module(
        "jaxrnn/compose.py",
        "tests/laws/test_parameters.py -k layers or last_layer",
        ("one key for all layers", "stack.init", "jax.random.split(key, len(cells))", "[key] * len(cells)"),
        ("one key for both directions", "bidirectional.init", "backward.init(kb, features)", "backward.init(kf, features)"),
        ("the output is the carry twice", "_showing", "(output(params, carry), carry)", "(carry, carry)"),
    ),
    module(
        "jaxrnn/compose.py",
        "tests/laws/test_errors.py -k raises and (stack or residual or learned)",
        ("any number of layers", "stack._check_layers", "not isinstance(value, tuple) or len(value) != len(cells)", "not isinstance(value, tuple)"),
        ("no cells are a stack", "stack", "if not cells:\n    raise ValueError('stack: expected at least one cell, got none.')", "if False:\n    raise ValueError('stack: expected at least one cell, got none.')"),
        ("inputs of another width broadcast", "residual.add", "check_like('h', h, x, remedy, dtypes=False)", "pass"),
    ),
    module(
        "jaxrnn/initializers.py",
        "tests/laws/test_parameters.py tests/laws/test_errors.py"
        " tests/laws/test_dtype.py -k orthogonal or glorot or chrono or torch or"
        " identity or raises or draws or params_are_drawn or population",
        ("one draw for all gates", "per_gate", "[init(k, shape, wide(dtype)) for k in jax.random.split(key, gates)]", "[init(key, shape, wide(dtype))] * gates"),
        ("one draw over the fused kernel", "per_gate", "[init(k, shape, wide(dtype)) for k in jax.random.split(key, gates)]", "[init(key, (*shape[:-1], gates * shape[-1]), wide(dtype))]"),
        ("drawn in the narrow dtype", "per_gate", "init(k, shape, wide(dtype))", "init(k, shape, dtype)"),
        ("the identity loses its scale", "identity.init", "scale * jnp.eye(shape[0], dtype=dtype)", "jnp.eye(shape[0], dtype=dtype)"),
        ("the identity of a kernel that is not square", "identity.init", "len(shape) != 2 or shape[0] != shape[1]", "False"),
        ("bound by the inputs", "torch_uniform", "shape[-1] ** (-0.5)", "shape[0] ** (-0.5)"),
        ("bound squared", "torch_uniform", "shape[-1] ** (-0.5)", "shape[-1] ** (-1.0)"),
        ("one of torch's two biases", "torch_bias.init", "jnp.where(summed, ours + theirs, ours)", "ours"),
        ("torch's biases twice the same", "torch_bias.init", "jax.random.split(key)", "(key, key)"),
        ("n has both of torch's biases", "torch_bias.init", "[[gate != 'n'] for gate in gates]", "[[True] for gate in gates]"),
        ("chrono without the log", "chrono.init", "jnp.log(jax.random.uniform(key, (hidden,), dtype, 1, longest - 1))", "jax.random.uniform(key, (hidden,), dtype, 1, longest - 1)"),
        ("chrono from 0", "chrono.init", "jax.random.uniform(key, (hidden,), dtype, 1, longest - 1)", "jax.random.uniform(key, (hidden,), dtype, 0.001, longest - 1)"),
        ("chrono twice as long", "chrono.init", "jax.random.uniform(key, (hidden,), dtype, 1, longest - 1)", "jax.random.uniform(key, (hidden,), dtype, 1, 2 * longest)"),
        ("the input gate opens too", "chrono.init", "{'f': 1, 'z': 1, 'i': -1}", "{'f': 1, 'z': 1, 'i': 1}"),
        ("chrono of a memory too short", "chrono", "not isinstance(longest, jax.Array) and longest <= 2", "not isinstance(longest, jax.Array) and longest < 1"),
    ),
    module(
        "jaxrnn/sigmoid.py",
        "tests/test_sigmoid.py",
        ("the lesser is what the greater leaves", "_parts", "jnp.abs(signed)", "1 - jax.nn.sigmoid(jnp.abs(x))"),
        ("zero has no sign", "_parts", "shuts = bits < 0", "shuts = signed < 0"),
        ("rounded three times", "_derivative", "x.astype(wide(x.dtype))", "x"),
        ("a second derivative of another sign", "_derivatives", "closed - opened", "opened - closed"),
    ),
    module(
        "jaxrnn/sequence.py",
        "tests/test_sequence.py",
        ("the last step of all", "last_output", "length - 1 - first(valid[::-1])", "length - 1 + 0 * first(valid)"),
        ("the first valid step, forwards", "last_output", "first(valid) if reverse else length - 1 - first(valid[::-1])", "first(valid) if not reverse else length - 1 - first(valid[::-1])"),
        ("a row without steps shows its padding", "last_output", "select(found, taken, 0)", "taken"),
        ("all steps change places", "flip", "lambda a: _taken(a, at)", "lambda a: jnp.flip(a, 0)"),
        ("one length for all rows", "_batch", "not batch and len(leaves) == 1 and (leaf.ndim > 2)", "False and len(leaves) == 1 and (leaf.ndim > 2)"),
    ),
    module(
        "jaxrnn/cell.py",
        "tests/test_pickle.py -k replaced",
        ("a replaced field is forgotten", "call_of", "cell == made", "made is not None"),
    ),
    module(
        "jaxrnn/probe/recording.py",
        "tests/probe/test_recording.py -k gates",
        ("gates of the carry after", "gates.watch.step", "now, carry = opened(cell, params, carry, x)", "_, carry = opened(cell, params, carry, x)\nnow, _ = opened(cell, params, carry, x)"),
    ),
    module(
        "jaxrnn/probe/recording.py",
        "tests/probe/test_recording.py -k gradient_flow and lstm or errors",
        ("the nudge comes before the step", "gradient_flow.push.step", "carry = _nudged(opened(cell, params, carry, x)[1], nudge)\nreturn carry, cell.parts.output(params, carry)", "carry = opened(cell, params, carry, x)[1]\nreturn _nudged(carry, nudge), cell.parts.output(params, carry)"),
        ("any loss", "gradient_flow.nudged_loss", "jnp.shape(value) != ()", "False"),
        ("a nudge is doubled", "_nudged", "c + n if is_float(c) else c", "c + 2 * n if is_float(c) else c"),
    ),
    module(
        "jaxrnn/probe/through.py",
        "tests/probe/test_recording.py -k gates and stack",
        ("a step's gates read the carry after it", "opened", "return gates, update(params, carry, gates)", "new = update(params, carry, gates)\nreturn activate(params, new, recur(params, new, project(params, x))), new"),
    ),
    module(
        "jaxrnn/probe/through.py",
        "tests/probe/test_recording.py -k errors or both_directions",
        ("a bidirectional cell is probed", "through.run", "composed(cell)", "False"),
    ),
    module(
        "jaxrnn/probe/through.py",
        "tests/probe/test_recording.py -k gradient_flow and (lstm or small)",
        ("a norm without its scale", "norm", "scale[..., 0] * jnp.linalg.norm(g / scale, axis=-1)", "jnp.linalg.norm(g / scale, axis=-1)"),
        ("a norm that flushes to zero", "norm", "scale[..., 0] * jnp.linalg.norm(g / scale, axis=-1)", "jnp.linalg.norm(g, axis=-1)"),
    ),
    module(
        "jaxrnn/probe/dynamics.py",
        "tests/probe/test_dynamics.py -k spectrum or exponents",
        ("the Jacobian turned", "jacobian_spectrum.step", "jax.vmap(lambda e: push(jnp.broadcast_to(e, flat.shape)), 0, -1)", "jax.vmap(lambda e: push(jnp.broadcast_to(e, flat.shape)), 0, 0)"),
        ("the carry stands still", "jacobian_spectrum.step", "cell.step(params, carry, x)[0]", "carry"),
        ("the warmup is counted", "lyapunov", "jnp.arange(length) >= warmup", "jnp.arange(length) >= 0"),
        ("divided by all steps", "lyapunov", "length - warmup", "length"),
        ("changes are not made orthonormal", "lyapunov.step", "changes, triangle = jnp.linalg.qr(jax.vmap(push, -1, -1)(changes))", "_, triangle = jnp.linalg.qr(jax.vmap(push, -1, -1)(changes))"),
        ("leaves in one another's place", "_pushing.push", "parts.append(np.zeros(leaf.shape, jax.dtypes.float0) if part is None else part.astype(leaf.dtype))\nat += size", "parts.append(np.zeros(leaf.shape, jax.dtypes.float0) if part is None else part.astype(leaf.dtype))\nat += 0 * size"),
    ),
    module(
        "jaxrnn/probe/dynamics.py",
        "tests/probe/test_dynamics.py -k time_scales",
        ("the padding is a step", "timescale.watch", "_decay(t, count)", "_decay(t, count * 0 + len(hs))"),
        ("the gates of the next step", "_keeper.of_gates", "now, new = opened(cell, params, carry, x)", "now, new = opened(cell, params, carry, x)\nnow, _ = opened(cell, params, new, x)"),
        ("a mean of decays", "timescale.watch.step", "t + jnp.log(jnp.abs(k))", "t + jnp.abs(k) - 1"),
        ("units mix in the diagonal", "_diagonal", "elementwise(of_leaf, leaf)", "True"),
    ),
    module(
        "jaxrnn/probe/dynamics.py",
        "tests/probe/test_dynamics.py -k errors",
        ("any warmup", "lyapunov", "not 0 <= warmup < length", "False"),
        ("any count", "lyapunov", "not 1 <= count <= flat.shape[-1]", "False"),
    ),
    module(
        "jaxrnn/probe/influence.py",
        "tests/probe/test_influence.py -k span",
        ("lags off by one", "memory_span", "length - 1 - lag", "length - lag"),
        ("all later inputs are changed", "memory_span.step.one", "select(t == at, other, x)", "select(t >= at, other, x)"),
        ("compared with the next lag", "memory_span", "h[:-1] - h[-1:]", "h[:-1] - h[1:]"),
    ),
    module(
        "jaxrnn/probe/influence.py",
        "tests/probe/test_influence.py -k silenced",
        ("a silenced unit starts as it was", "_silent.step", "opened(cell, params, quiet(carry), x)", "opened(cell, params, carry, x)"),
        ("a silenced unit is shown", "_silent.step", "carry = quiet(opened(cell, params, quiet(carry), x)[1])\nreturn carry, cell.parts.output(params, carry)", "carry = opened(cell, params, quiet(carry), x)[1]\nreturn quiet(carry), cell.parts.output(params, carry)"),
        ("all others are silenced", "ablation.without", "[*all_on[:n], ~unit, *all_on[n + 1:]]", "[*all_on[:n], unit, *all_on[n + 1:]]"),
        ("other layers are silenced", "ablation.without", "[*all_on[:n], ~unit, *all_on[n + 1:]]", "[*(~a for a in all_on[:n]), ~unit, *all_on[n + 1:]]"),
        ("a step without gates is not silenced", "_silent.step", "cell.step(params, quiet(carry), x)", "cell.step(params, carry, x)"),
    ),
    module(
        "jaxrnn/probe/influence.py",
        "tests/probe/test_influence.py -k errors",
        ("any lags", "memory_span", "not len(lags) or min(lags) < 0 or max(lags) >= length", "False"),
        ("any others", "memory_span", "types(xs) != types(others)", "False"),
        ("widths are not compared", "ablation.measure", "len(widths) != 1", "False"),
    ),
    module(
        "jaxrnn/train/step.py",
        "tests/train/test_shared.py tests/train/test_population.py -k not sweep",
        ("an empty batch is an update", "make_step.step", "flowed & ~empty", "flowed"),
        ("an empty batch ends a row of failures", "make_step.step", "jnp.where(taken, 0, state.in_a_row + count(failed))", "jnp.where(flowed, 0, state.in_a_row + count(failed))"),
        ("an empty batch keeps the carry", "make_step.step", "_select(flowed, carry, state.carry)", "_select(taken, carry, state.carry)"),
        ("shared state is not kept from a failure", "make_step.step", "_select(flowed, shared, state.shared)", "shared"),
        ("update_shared is not told of failures", "make_step.step", "update_shared(new, means, good)", "update_shared(new, means, running)"),
    ),
    module(
        "jaxrnn/train/gradient.py",
        "tests/train/test_shared.py tests/train/test_population.py -k not sweep",
        ("each part has denominators of its own", "_accumulated.objective", "term.total / weight", "term.total / divisor(term.weight)"),
        ("shared state is a sum over parts", "_moved", "jnp.where(moves, new - _base(old), 0) / parts", "jnp.where(moves, new - _base(old), 0)"),
        ("every part moves what is not floating", "_moved", "jnp.where(first, new - old, jnp.zeros_like(new))", "new - old"),
    ),
    module(
        "jaxrnn/train/run.py",
        "tests/train/test_population.py tests/train/test_identity.py",
        ("the best are those of all members", "Run.validate", "_chosen(better, new, self.best)", "_chosen(better | True, new, self.best)"),
        ("no best, and the first params", "Run._settle", "~np.isfinite(self.record.best.get('loss', np.float64(np.nan)))", "False & ~np.isfinite(self.record.best.get('loss', np.float64(np.nan)))"),
        ("one call too many after a stop", "Run.over", "(self.stopped | self.halted).all()", "self.halted.all()"),
    ),
    module(
        "jaxrnn/train/population.py",
        "tests/train/test_population.py",
        ("a stopped member goes on", "programs.call", "_unless(stopped, step)", "_unless(stopped & False, step)"),
        ("a legacy key is one number", "programs.whole", "(len(state.step), *state.key.shape)", "len(state.step)"),
    ),
    module(
        "jaxrnn/train/identity.py",
        "tests/train/test_identity.py",
        ("another key is the same run", "", "('data', 'loss', 'key', 'params', 'opt_state', 'carry', 'shared', 'hypers')", "('data', 'loss', 'params', 'opt_state', 'carry', 'shared', 'hypers')"),
        ("nothing trained is a run too", "claim", "home.steps() not in ([], [0])", "home.steps() != []"),
        ("the learning rate is no part of it", "_warn_of_optimizer", "comparable and old != new", "comparable and not old"),
    ),
    module(
        "jaxrnn/train/same.py",
        "tests/train/test_same.py",
        ("globals are read once", "_key_of_function", "(code, each(cells), given, tuple(names), each((outside[n] for n in names)))", "(code, each(cells), given, tuple(names))"),
        ("what may change is a constant", "_key", "raise _Changes", "return _Is(value)"),
    ),
    module(
        "jaxrnn/train/axes.py",
        "tests/train/test_axes.py",
        ("the first choice will do", "_inferred", "len(choices) == 1", "choices"),
        ("rows before time", "_inferred", "[1] * len(leaves)", "[0] * len(leaves)"),
    ),
)
# fmt: on

# The museum's exhibits, each with its own test.
MUSEUM = tuple(
    Module(
        test.exhibit.path,
        (f"{test.__module__.replace('.', '/')}.py::{test.__name__}",),
        (test.exhibit.fault,),
    )
    for test in hung()
)
MODULES = (*PLANTED, *MUSEUM)
