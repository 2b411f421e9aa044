"""The faults, by module, and the tests that each module's faults must meet first.

A fault is a piece of source and what stands there instead. No tool draws these: most of
what one would draw in jitted code changes shapes and dies at once, and proves nothing.
These are what people get wrong, above all what keeps every shape.
"""

from typing import NamedTuple

from tests.museum.__main__ import hung


class Fault(NamedTuple):
    """Fields:
    name: what is wrong.
    old: a piece of the module's source that occurs once.
    new: what stands there instead.
    """

    name: str
    old: str
    new: str


class Module(NamedTuple):
    """Fields:
    path: of the source.
    tests: pytest's arguments: what the faults meet first.
    faults: in the order of the source.
    """

    path: str
    tests: tuple[str, ...]
    faults: tuple[Fault, ...]


def module(path: str, tests: str, *faults: tuple[str, str, str]) -> Module:
    files, _, names = tests.partition(" -k ")
    chosen = ("-k", names) if names else ()
    return Module(path, (*files.split(), *chosen), tuple(Fault(*f) for f in faults))


# fmt: off
LSTM = module(
    "jaxrnn/cells/lstm.py",
    "tests/laws/test_oracle.py tests/laws/test_gates.py tests/laws/test_parameters.py"
    " -k lstm or counts or per_gate or biases or bias or apart",
    ("wx and wh swapped", "x @ params.wx + aligned", "x @ params.wh + aligned"),
    ("no bias", " + aligned(params.b, x)", ""),
    ("bias twice", "x @ params.wx + aligned", "x @ params.wx + 2 * aligned"),
    ("bias taken away", "x @ params.wx + aligned", "x @ params.wx - aligned"),
    ("recurrent kernel turned", "carry.h @ params.wh", "carry.h @ params.wh[:, ::-1]"),
    ("the cell state is multiplied", "carry.h @ params.wh", "carry.c @ params.wh"),
    ("i and f swapped in h U", "z[0] + i, z[1] + f", "z[0] + f, z[1] + i"),
    ("g and o swapped in h U", "z[2] + g, z[3] + o", "z[2] + o, z[3] + g"),
    ("h U left out of o", "z[3] + o", "z[3]"),
    ("gates packed i, g, f, o", "i, f, g, o = pre", "i, g, f, o = pre"),
    ("gates packed f, i, g, o", "i, f, g, o = pre", "f, i, g, o = pre"),
    ("the candidate squashed by σ", "jnp.tanh(g)", "sigmoid(g)"),
    ("the output gate squashed by tanh", "sigmoid(o))", "jnp.tanh(o))"),
    ("i and f swapped in c", "f * carry.c + i * g", "i * carry.c + f * g"),
    ("forget and keep swapped", "f * carry.c + i * g", "(1 - f) * carry.c + i * g"),
    ("coupled gates", "f * carry.c + i * g", "f * carry.c + (1 - f) * g"),
    ("c is made of h", "f * carry.c + i * g", "f * carry.h + i * g"),
    ("h is shown without tanh", "o * jnp.tanh(c)", "o * c"),
    ("h shows the old c", "jnp.tanh(c), c=c", "jnp.tanh(carry.c), c=c"),
    ("the carry's two halves swapped", "h=o * jnp.tanh(c), c=c", "c=o * jnp.tanh(c), h=c"),
    ("the cell state is shown", "return carry.h", "return carry.c"),
    ("forget bias 0", "open_by = 1.0 if", "open_by = 0.0 if"),
    ("forget bias on the input gate", "dtype, f=open_by", "dtype, i=open_by"),
    ("one key for both kernels", "wh=per_gate(recurrent_init, 4, kh", "wh=per_gate(recurrent_init, 4, kx"),
    ("the kernels' initializers swapped", "wx=per_gate(kernel_init", "wx=per_gate(recurrent_init"),
)
GRU = module(
    "jaxrnn/cells/gru.py",
    "tests/laws/test_oracle.py tests/laws/test_gates.py tests/laws/test_parameters.py"
    " -k gru or counts or per_gate or biases or apart",
    ("no bias", " + aligned(params.b, x)", ""),
    ("r and z swapped in h U", "z[0] + r, z[1] + k", "z[0] + k, z[1] + r"),
    ("bn left out", "n + aligned(params.bn, n)", "n"),
    ("bn outside of the reset", "z[2], n + aligned(params.bn, n)", "z[2] + aligned(params.bn, n), n"),
    ("gates packed z, r, n", "r, z, n, hn = pre", "z, r, n, hn = pre"),
    ("no reset gate", "jnp.tanh(n + r * hn)", "jnp.tanh(n + hn)"),
    ("the input is reset", "jnp.tanh(n + r * hn)", "jnp.tanh(r * n + hn)"),
    ("the reset gate turned", "jnp.tanh(n + r * hn)", "jnp.tanh(n + (1 - r) * hn)"),
    ("the keep gate scales the memory", "jnp.tanh(n + r * hn)", "jnp.tanh(n + sigmoid(z) * hn)"),
    ("z turned", "(1 - z) * n + z * h", "z * n + (1 - z) * h"),
    ("nothing is let go", "(1 - z) * n + z * h", "n + z * h"),
    ("the candidate is always let in", "(1 - z) * n + z * h", "(1 - z) * n + h"),
    ("update bias 1", "open_by = 0.0 if", "open_by = 1.0 if"),
    ("update bias on the reset gate", "dtype, z=open_by", "dtype, r=open_by"),
    ("one key for both kernels", "wh=per_gate(recurrent_init, 3, kh", "wh=per_gate(recurrent_init, 3, kx"),
)
SIMPLE = module(
    "jaxrnn/cells/simple.py",
    "tests/laws/test_oracle.py tests/laws/test_parameters.py tests/laws/test_errors.py"
    " -k simple or counts or per_gate or identity or activation",
    ("no bias", " + aligned(params.b, x)", ""),
    ("no memory", "z[0] + h @ params.wh", "z[0]"),
    ("memory taken away", "z[0] + h @ params.wh", "z[0] - h @ params.wh"),
    ("tanh where relu was asked for", '"relu": jax.nn.relu', '"relu": jnp.tanh'),
    ("relu where tanh was asked for", '"tanh": jnp.tanh', '"tanh": jax.nn.relu'),
    ("any activation is accepted", "if not callable(activation) and activation not in ACTIVATIONS", "if False"),
)
OPTIONS = module(
    "jaxrnn/cells/options.py",
    "tests/laws/test_parameters.py tests/laws/test_errors.py tests/laws/test_dtype.py"
    " -k (raises and not under_jit) or biases or params_are_drawn or chrono",
    ("hidden 0 is accepted", '"hidden", hidden, 1', '"hidden", hidden, 0'),
    ("True is a width", " and not isinstance(value, bool)", ""),
    ("token ids are inputs", "not jnp.issubdtype(x.dtype, jnp.floating)", "not jnp.issubdtype(x.dtype, jnp.number)"),
    ("a gate's bias starts at 1", "start.get(g, 0)", "start.get(g, 1)"),
    ("a drawn bias of another length is accepted", "if b.shape != (len(gates) * hidden,):", "if b.ndim != 1:"),
    ("a drawn bias keeps its own dtype", "return b.astype(dtype)", "return b"),
    ("both biases may be given", "if bias_init is not None:", "if False:"),
    ("a gate's bias of any shape", "np.shape(value) not in ((), (hidden,))", "np.ndim(value) > 1"),
)
GATED = module(
    "jaxrnn/gated.py",
    "tests/laws/test_oracle.py tests/laws/test_dtype.py tests/laws/test_errors.py"
    " -k is_the_equation or fixed_point or raises or update_returns",
    ("the step shows the old carry", "        carry = move(params, carry, x)\n        return carry, output(carry)", "        return move(params, carry, x), output(carry)"),
    ("params are not checked", 'check_like("params", params, expected(n), remedy, dtypes=False)', "pass"),
    ("params must have the default dtype", "expected(n), remedy, dtypes=False)", "expected(n), remedy)"),
    ("the carry is not checked", 'check_like("carry", carry, jax.eval_shape(start, params, x), remedy)', "pass"),
    ("the carry's dtype is that of zeros", "return retype(zeros, like)", "return zeros"),
    ("what update returns is not checked", 'check_like(name, like, zeros, remedy, dtypes=False)', "pass"),
)
GATED_ENGINE = module(
    "jaxrnn/gated.py",
    "tests/laws/test_transform.py -k closed_over",
    ("the engine asked for is not used", 'how = engine.scan if control.engine == "scan" else engine.deferred', "how = engine.scan"),
)
CELL = module(
    "jaxrnn/cell.py",
    "tests/test_cell.py tests/laws/test_errors.py tests/laws/test_dtype.py"
    " -k shown or show_what or numpys_own or keeps_its_values or one_step or raises or fixed_point",
    ("structures are not compared", "if have != want:", "if False:"),
    ("shapes are not compared", "if a.shape != e.shape or (dtypes and a.dtype != e.dtype)", "if dtypes and a.dtype != e.dtype"),
    ("dtypes are not compared", "if a.shape != e.shape or (dtypes and a.dtype != e.dtype)", "if a.shape != e.shape"),
    ("ranks are compared, not shapes", "if a.shape != e.shape or", "if a.ndim != len(e.shape) or"),
    ("a value is retyped to zeros", "jnp.zeros_like(s) + jnp.asarray(v).astype(s.dtype)", "jnp.zeros_like(s)"),
    ("the last axes are dropped", "axis=tuple(range(leading))", "axis=tuple(range(-leading, 0))"),
    ("a sum widens the dtype", "axis=tuple(range(leading)), dtype=a.dtype)", "axis=tuple(range(leading)))"),
    ("a function's name without brackets", "return f\"<{getattr(function, '__name__', type(function).__name__)}>\"", "return getattr(function, '__name__', type(function).__name__)"),
    ("options with the value None are shown", "if v is not None))", "))"),
)
CELL_MASKS = module(
    "jaxrnn/cell.py",
    "tests/laws/test_time.py -k loop_of_step and forward-lstm",
    ("then and otherwise swapped", "(1,) * axes), a, b)", "(1,) * axes), b, a)"),
    ("masks broadcast from the right", "where.reshape(where.shape + (1,) * axes)", "where.reshape((1,) * axes + where.shape)"),
)
UNROLL = module(
    "jaxrnn/unroll.py",
    "tests/laws/test_time.py -k (loop_of_step and lstm) or (padding and lstm)",
    ("lengths off by one, long", "ends.ndim)) < ends", "ends.ndim)) <= ends"),
    ("lengths off by one, short", "ends.ndim)) < ends", "ends.ndim)) < ends - 1"),
    ("lengths count from the end", "ends.ndim)) < ends", "ends.ndim)) >= length - ends"),
    ("lengths beat the mask", "inside if valid is None else valid & inside", "inside"),
    ("the mask beats lengths", "inside if valid is None else valid & inside", "inside if valid is None else valid"),
    ("either of lengths and mask", "else valid & inside", "else valid | inside"),
    ("resets act beyond the lengths", "if resets is not None and lengths is not None:", "if False:"),
    ("the padding reaches the cell", "xs = select(valid, xs, 0)\n", "pass\n"),
    ("resets go to the carry that came in", "fresh = None if resets is None else cell.initial_carry(params, x)", "fresh = None if resets is None else carry"),
    ("a mask is no mask", 'valid = _steps("mask", mask, length, batch)', 'valid = None if mask is None else ~_steps("mask", mask, length, batch)'),
    ("the given carry is forgotten", '        check_like("carry", carry, start, remedy)\n', "        carry = cell.initial_carry(params, x)\n"),
)
UNROLL_DOOR = module(
    "jaxrnn/unroll.py",
    "tests/laws/test_errors.py -k raises or clipped",
    ("the given carry is not looked at", 'check_like("carry", carry, start, remedy)\n', "pass\n"),
    ("reverse of any kind", "if not isinstance(value, bool | np.bool_):", "if False:"),
    ("remat=0 is accepted", "remat >= 1", "remat >= 0"),
    ("remat=True is a number", "and not isinstance(remat, bool)\n", "\n"),
    ("any engine", "if engine not in ENGINES:", "if False:"),
    ("leaves of other lengths", "if a.shape[:1] != length:", "if False:"),
    ("integer masks", "if value.dtype != bool:", "if False:"),
    ("a mask of another shape broadcasts", "if value.shape != (length, *batch):", "if value.ndim != 1 + len(batch):"),
    ("float lengths", "if not jnp.issubdtype(value.dtype, jnp.integer):", "if False:"),
    ("negative lengths", "if value.min() < 0 or value.max() > length:", "if value.max() > length:"),
    ("lengths beyond the steps", "if value.min() < 0 or value.max() > length:", "if value.min() < 0:"),
    ("full lengths are refused", "value.max() > length:", "value.max() >= length:"),
    ("a bare step starts from None", "    if carry is None:\n        raise", "    if False:\n        raise"),
    ("a bare step resets to its carry", "    if resets is not None:\n        raise", "    if False:\n        raise"),
)
UNROLL_SHAPES = module(
    "jaxrnn/unroll.py",
    "tests/test_unroll.py -k own or vectors or two_batch_shapes",
    ("lengths of another shape than the mask", "    if value.shape != batch:\n", "    if False:\n"),
    ("a batch shape that nothing has", "if leaf.shape[: len(shape)] != shape:", "if False:"),
)
SCAN = module(
    "jaxrnn/engine/scan.py",
    "tests/laws/test_time.py -k loop_of_step and (bare or forward-lstm or reverse-lstm)",
    ("time always forwards", "return lax.scan(body, carry, steps, reverse=control.reverse)", "return lax.scan(body, carry, steps)"),
    ("resets go nowhere", "entered = carry if reset is None else select(reset, fresh, carry)", "entered = carry"),
    ("resets keep, and all else is fresh", "select(reset, fresh, carry)", "select(reset, carry, fresh)"),
    ("the carry walks through the padding", "return select(valid, new, entered), select(valid, h, 0)", "return new, select(valid, h, 0)"),
    ("a reset at a masked step is lost", "return select(valid, new, entered)", "return select(valid, new, carry)"),
    ("the padding's outputs are shown", "entered), select(valid, h, 0)", "entered), h"),
    ("reversed resets act before their step", "if resets is None or not control.reverse:\n        return resets", "if True:\n        return resets"),
    ("reversed resets off by one", "jnp.concatenate([resets, jnp.zeros_like(resets[:1])])[1:]", "jnp.concatenate([jnp.zeros_like(resets[:1]), resets])[:-1]"),
    ("the reset at step 0 is lost under reverse", "return select(control.resets[0], control.fresh, carry)", "return carry"),
    ("the reset at step 0 acts forwards too", "control.resets is None or not control.reverse or", "control.resets is None or"),
    ("the last reset in place of the first", "select(control.resets[0]", "select(control.resets[-1]"),
)
REMAT = module(
    "jaxrnn/engine/scan.py",
    "tests/laws/test_time.py -k remat and simple_rnn",
    ("the rest of the chunks is lost", "if split == length:", "if True:"),
    ("the rest runs first", "    if control.reverse:\n        carry, last = outer(carry, tail)", "    if not control.reverse:\n        carry, last = outer(carry, tail)"),
    ("the rest starts from what came in", "        carry, first = all_whole(carry)\n        carry, last = outer(carry, tail)\n", "        _, first = all_whole(carry)\n        carry, last = outer(carry, tail)\n"),
    ("chunks are joined in the wrong order", "jnp.concatenate([a, b]), first, last)", "jnp.concatenate([b, a]), first, last)"),
    ("chunks run forwards under reverse", "return in_blocks(inner, carry, whole, size, control.reverse)", "return in_blocks(inner, carry, whole, size, False)"),
)
SCAN_LESS = module(
    "jaxrnn/engine/scan.py",
    "tests/test_unroll.py tests/laws/test_errors.py -k stores_less or changes_its_carry",
    ("a step may change its carry", 'check_like("the carry that step returns", new, carry, remedy)', "pass"),
    ("nothing is stored less", "inner, outer = jax.checkpoint(run, prevent_cse=False), jax.checkpoint(run)", "inner, outer = run, run"),
)
BLOCKS = module(
    "jaxrnn/engine/scan.py",
    "tests/test_engine.py -k leave_no_rest or too_much",
    ("auto never stores less", "large = isinstance(stored, int) and stored > AUTO_REMAT_BYTES", "large = False"),
    ("blocks run forwards under reverse", "jax.tree.map(cut, steps), reverse=reverse)", "jax.tree.map(cut, steps))"),
    ("too few blocks are blocks", "not 0 < least * size <= length", "not 0 < size <= length"),
    ("a block size that leaves a rest", "if length % k == 0]", "]"),
)
DEFERRED = module(
    "jaxrnn/engine/deferred.py",
    "tests/laws/test_time.py -k loop_of_step and (lstm or own_gated)",
    ("the engine runs forwards alone", "lax.scan(body, carry, (xs, valid, resets), reverse=reverse)", "lax.scan(body, carry, (xs, valid, resets))"),
    ("resets are forgotten", "entered = carry if reset is None else select(reset, fresh, carry)", "entered = carry"),
    ("gates see the carry before the reset", "active.call, 2)(consts[2], params, entered, pre)\n            left", "active.call, 2)(consts[2], params, carry, pre)\n            left"),
    ("the carry walks through the padding", "left = select(valid, new, entered)", "left = new"),
    ("under grad the padding's outputs are shown", "hs = select(valid, _over(1 + rows, shown.call, 1)(consts[3], after), 0)", "hs = _over(1 + rows, shown.call, 1)(consts[3], after)"),
    ("the backward pass knows no resets", "            if resets is not None:\n                before = select(resets, fresh, before)\n", ""),
    ("tangents go through resets", "dc = tangents.choose(c, reset, dfresh, dcarry)", "dc = dcarry"),
    ("tangents of the initial carry are lost", "tangents.choose(c, reset, dfresh, dcarry)", "tangents.choose(c, reset, None, dcarry)"),
    ("tangents of params in recur are lost", "(dconsts[:2], dparams, held[0], dxs)", "(dconsts[:2], tangents.none(params), held[0], dxs)"),
    ("tangents of the inputs are lost", "(dconsts[:2], dparams, held[0], dxs)", "(dconsts[:2], dparams, held[0], tangents.none(xs))"),
    ("tangents of params in gates are lost", "(dconsts[2], dparams, *held)", "(dconsts[2], tangents.none(params), *held)"),
    ("the kernel is not turned back", "k, p = jax.tree.map(turn_back, turned)", "k, p = turned"),
    ("pre-activations add nothing to the tangent", "da = tangents.add(pre, da, dpre)", "da = da"),
    ("gates add nothing to the tangent", "dn = tangents.add(new, dn, dnew)", "dn = dn"),
    ("the carry has no way past the gates", "tangents.jvp(step, (c, a), (dc, da))", "tangents.jvp(step, (c, a), (tangents.none(c), da))"),
    ("pre-activations have no tangent", "tangents.jvp(step, (c, a), (dc, da))", "tangents.jvp(step, (c, a), (dc, tangents.none(a)))"),
    ("tangents walk through the padding", "return tangents.choose(new, valid, dn, dc), tangents", "return dn, tangents"),
    ("tangents die in the padding", "tangents.choose(new, valid, dn, dc), tangents", "tangents.choose(new, valid, dn, tangents.none(c)), tangents"),
    ("the tangent of the padding's outputs", "tangents.choose(\n                    h, valid, ds, tangents.none(h)\n                )", "ds"),
    ("tangents run forwards under reverse", "lax.scan(tangent, dcarry, inputs, reverse=reverse)", "lax.scan(tangent, dcarry, inputs)"),
    ("the carry after a step for the one before", "before = jax.tree.map(lambda a: a[1:] if reverse else a[:-1], every)", "before = jax.tree.map(lambda a: a[:-1] if reverse else a[1:], every)"),
    ("the carry that came in at the wrong end", "jnp.concatenate([cs, c[None]] if reverse else [c[None], cs])", "jnp.concatenate([c[None], cs])"),
    ("params that recur alone reads are not read", "params = jax.tree.map(operator.or_, project.reads[1], recur.reads[1])", "params = project.reads[1]"),
)
DEFERRED_BLOCKS = module(
    "jaxrnn/engine/deferred.py",
    "tests/laws/test_time.py -k blocks and own_gated",
    ("projected ahead in the wrong order", "return scan.in_blocks(block, carry, steps, ahead, reverse, least=2)", "return scan.in_blocks(block, carry, steps, ahead, False, least=2)"),
    ("a block leaves the carry that came in", "return (left, dcarry), dhs", "return (carry, dcarry), dhs"),
    ("blocks of tangents run forwards", "block, carries, steps, size, reverse, least=BLOCKS", "block, carries, steps, size, False, least=BLOCKS"),
    ("the first carry is what a block leaves", "a[0 if reverse else -1], every)", "a[-1 if reverse else 0], every)"),
)
DEFERRED_CLOSED = module(
    "jaxrnn/engine/deferred.py",
    "tests/laws/test_transform.py -k closed_over",
    ("tangents of hidden constants are lost", "(dconsts[:2], dparams, held[0], dxs)", "(tangents.none(consts[:2]), dparams, held[0], dxs)"),
    ("tangents of constants in gates are lost", "(dconsts[2], dparams, *held)", "(tangents.none(consts[2]), dparams, *held)"),
    ("tangents of constants in output are lost", "(dconsts[3], held[0]))", "(tangents.none(consts[3]), held[0]))"),
    ("outputs add nothing to the tangent", "ds = tangents.add(h, ds, dh)", "ds = ds"),
    ("recur's constants go to project", "carry, project.call(consts[0], params, x))", "carry, project.call(consts[1], params, x))"),
)
DEFERRED_ROWS = module(
    "jaxrnn/engine/deferred.py",
    "tests/laws/test_transform.py -k closed_over_value",
    ("rows of a cell that knows its batch", "return axes if shapes(one_step(whole, axes)) == shapes(row) else 0", "return axes"),
)
DEFERRED_PADDING = module(
    "jaxrnn/engine/deferred.py",
    "tests/museum/test_time.py -k junk_in_the_padding",
    ("the padding's outputs are shown", "return left, select(valid, _over(rows, shown.call, 1)(consts[3], new), 0)", "return left, _over(rows, shown.call, 1)(consts[3], new)"),
)
TANGENTS = module(
    "jaxrnn/engine/tangents.py",
    "tests/laws/test_time.py -k loop_of_step and own_gated",
    ("a zero tangent is a number", "None if isinstance(d, SymbolicZero) else d", "d"),
    ("the first leaf alone is perturbed", "live = [i for i, d in enumerate(dots) if d is not None]", "live = [i for i, d in enumerate(dots) if d is not None][:1]"),
    ("a sum loses its second", "return x if y is None else y if x is None else x + y", "return x if y is None else y if x is None else x"),
    ("a sum is a difference", "y if x is None else x + y", "y if x is None else x - y"),
    ("a missing tangent stays where it is chosen", "return select(where, dense(a, x), dense(a, y))", "return select(where, dense(a, y), dense(a, x))"),
)
HOIST = module(
    "jaxrnn/engine/hoist.py",
    "tests/test_engine.py tests/laws/test_transform.py tests/transformations tests/laws/test_time.py"
    " -k function_reads or handed_on or closed_over or forget_bias or (own_gated and leaks)"
    " or costs_less or (loop_of_step and own_gated)",
    ("constants are those of the trace", "outs = eval_jaxpr(jaxpr, (), *jax.tree.leaves((consts, *args)))", "outs = eval_jaxpr(closed.jaxpr, closed.consts, *jax.tree.leaves(args))"),
    ("what is only returned is not read", '    read |= {v for v in jaxpr.outvars if not hasattr(v, "val")}\n', ""),
    ("nothing is read", "[v in read for v in jaxpr.invars]", "[False for v in jaxpr.invars]"),
    ("everything is read", "[v in read for v in jaxpr.invars]", "[True for v in jaxpr.invars]"),
)
COMPOSE = module(
    "jaxrnn/compose.py",
    "tests/laws/test_oracle.py -k compositions or merges or learned_carry",
    ("each layer reads the inputs", "            c, x = cell.step(p, c, x)\n            new.append(c)\n        return tuple(new), x", "            c, y = cell.step(p, c, x)\n            new.append(c)\n        return tuple(new), y"),
    ("a step without its input", "        return carry, add(h, x)\n", "        return carry, h\n"),
    ("the input taken away", "return jax.tree.map(jnp.add, h, x)", "return jax.tree.map(jnp.subtract, h, x)"),
    ("sum for mean", '"mean": lambda f, b: (f + b) / 2', '"mean": lambda f, b: f + b'),
    ("backward before forward", "jnp.concatenate([f, b], axis=-1)", "jnp.concatenate([b, f], axis=-1)"),
    ("product for sum", '"sum": jnp.add', '"sum": jnp.multiply'),
    ("both directions the same", "fresh=fresh.backward, reverse=not control.reverse)", "fresh=fresh.backward)"),
    ("the forward cell both times", "engine.run(backward, params.backward", "engine.run(forward, params.forward"),
    ("the learned carry is not used", "return jnp.zeros_like(zero) + aligned(learned.astype(zero.dtype), zero)", "return zero"),
    ("a learned carry of another shape", "if zero.shape[zero.ndim - learned.ndim :] != learned.shape:", "if False:"),
)
COMPOSE_TIME = module(
    "jaxrnn/compose.py",
    "tests/laws/test_time.py -k loop_of_step and (forward-stack or forward-residual)",
    ("layers reset to nothing", "control._replace(fresh=f))\n            new.append(c)", "control._replace(fresh=c))\n            new.append(c)"),
    ("an unroll without its inputs", "return carry, add(hs, xs)", "return carry, hs"),
)
DIRECTIONS = module(
    "jaxrnn/compose.py",
    "tests/laws/test_time.py -k loop_of_step and bidirectional",
    ("backwards whatever was asked", "reverse=not control.reverse)", "reverse=True)"),
    ("directions reset to the other's carry", "there = control._replace(fresh=fresh.forward)", "there = control._replace(fresh=fresh.backward)"),
    ("a merge shows the padding", "select(control.valid, join(hf, hb), 0)", "join(hf, hb)"),
    ("carries in the wrong order", "return BidirectionalCarry(cf, cb),", "return BidirectionalCarry(cb, cf),"),
)
COMPOSE_PARAMS = module(
    "jaxrnn/compose.py",
    "tests/laws/test_parameters.py -k layers or last_layer",
    ("one key for all layers", "zip(cells, jax.random.split(key, len(cells)), strict=True)", "zip(cells, [key] * len(cells), strict=True)"),
    ("one key for both directions", "backward.init(kb, features)", "backward.init(kf, features)"),
    ("the output is the carry twice", "(show(carry), carry))", "(carry, carry))"),
)
COMPOSE_DOOR = module(
    "jaxrnn/compose.py",
    "tests/laws/test_errors.py -k raises and (stack or residual or learned)",
    ("any number of layers", "if not isinstance(value, tuple) or len(value) != len(cells):", "if not isinstance(value, tuple):"),
    ("no cells are a stack", "    if not cells:\n        raise", "    if False:\n        raise"),
    ("inputs of another width broadcast", 'check_like("h", h, x, remedy, dtypes=False)', "pass"),
)
INITIALIZERS = module(
    "jaxrnn/initializers.py",
    "tests/laws/test_parameters.py tests/laws/test_errors.py tests/laws/test_dtype.py"
    " -k orthogonal or glorot or chrono or torch or identity or raises or draws"
    " or params_are_drawn or population",
    ("one draw for all gates", "[init(k, shape, wide(dtype)) for k in jax.random.split(key, gates)]", "[init(key, shape, wide(dtype))] * gates"),
    ("one draw over the fused kernel", "draws = [init(k, shape, wide(dtype)) for k in jax.random.split(key, gates)]", "draws = [init(key, (*shape[:-1], gates * shape[-1]), wide(dtype))]"),
    ("drawn in the narrow dtype", "init(k, shape, wide(dtype))", "init(k, shape, dtype)"),
    ("the identity loses its scale", "return scale * jnp.eye", "return jnp.eye"),
    ("the identity of a kernel that is not square", "if len(shape) != 2 or shape[0] != shape[1]:", "if False:"),
    ("bound by the inputs", "bound = shape[-1] ** -0.5", "bound = shape[0] ** -0.5"),
    ("bound squared", "bound = shape[-1] ** -0.5", "bound = shape[-1] ** -1.0"),
    ("one of torch's two biases", "jnp.where(summed, ours + theirs, ours)", "ours"),
    ("torch's biases twice the same", "for key in jax.random.split(key)\n", "for key in (key, key)\n"),
    ("n has both of torch's biases", '[[gate != "n"] for gate in gates]', "[[True] for gate in gates]"),
    ("chrono without the log", "keep = jnp.log(jax.random.uniform(key, (hidden,), dtype, 1, longest - 1))", "keep = jax.random.uniform(key, (hidden,), dtype, 1, longest - 1)"),
    ("chrono from 0", "dtype, 1, longest - 1)", "dtype, 0.001, longest - 1)"),
    ("chrono twice as long", "dtype, 1, longest - 1)", "dtype, 1, 2 * longest)"),
    ("the input gate opens too", '"i": -1}', '"i": 1}'),
    ("chrono of a memory too short", "longest <= 2:", "longest < 1:"),
)
PROBE = module(
    "jaxrnn/probe/recording.py",
    "tests/probe/test_recording.py -k gates",
    ("gates of the carry after", "            now, carry = opened(cell, params, carry, x)\n", "            _, carry = opened(cell, params, carry, x)\n            now, _ = opened(cell, params, carry, x)\n"),
)
FLOW = module(
    "jaxrnn/probe/recording.py",
    "tests/probe/test_recording.py -k gradient_flow and lstm or errors",
    ("the nudge comes before the step", "            carry = _nudged(opened(cell, params, carry, x)[1], nudge)\n            return carry, cell.parts.output(carry)", "            carry = opened(cell, params, carry, x)[1]\n            return _nudged(carry, nudge), cell.parts.output(carry)"),
    ("any loss", "if jnp.shape(value) != ():", "if False:"),
    ("a nudge is doubled", "c + n if is_float(c) else c", "c + 2 * n if is_float(c) else c"),
)
THROUGH = module(
    "jaxrnn/probe/through.py",
    "tests/probe/test_recording.py -k gates and stack",
    ("a layer's gates read the inputs", "            c, xs, seen = through(leaf, part, p, c, xs, control._replace(fresh=f), g)", "            c, ys, seen = through(leaf, part, p, c, xs, control._replace(fresh=f), g)"),
    ("residuals are forgotten", "return carry, jax.tree.map(jnp.add, hs, xs), seen", "return carry, hs, seen"),
    ("a step's gates read the carry after it", "    return gates, update(carry, gates)", "    new = update(carry, gates)\n    return activate(params, new, recur(params, new, project(params, x))), new"),
)
THROUGH_BOTH = module(
    "jaxrnn/probe/through.py",
    "tests/probe/test_recording.py -k errors or both_directions",
    ("the backward cell's gates run forwards", "back = control._replace(fresh=fresh[1], reverse=not control.reverse)", "back = control._replace(fresh=fresh[1])"),
    ("a bidirectional cell is probed", 'if cell.spec[:1] == ("bidirectional",):', "if False:"),
)
NORMS = module(
    "jaxrnn/probe/through.py",
    "tests/probe/test_recording.py -k gradient_flow and (lstm or small)",
    ("a norm without its scale", "return scale[..., 0] * jnp.linalg.norm(g / scale, axis=-1)", "return jnp.linalg.norm(g / scale, axis=-1)"),
    ("a norm that flushes to zero", "return scale[..., 0] * jnp.linalg.norm(g / scale, axis=-1)", "return jnp.linalg.norm(g, axis=-1)"),
)
DYNAMICS = module(
    "jaxrnn/probe/dynamics.py",
    "tests/probe/test_dynamics.py -k spectrum or exponents",
    ("the Jacobian turned", "jax.vmap(lambda e: push(jnp.broadcast_to(e, flat.shape)), 0, -1)", "jax.vmap(lambda e: push(jnp.broadcast_to(e, flat.shape)), 0, 0)"),
    ("the carry stands still", "        return cell.step(params, carry, x)[0], values", "        return carry, values"),
    ("the warmup is counted", "counts = jnp.arange(length) >= warmup", "counts = jnp.arange(length) >= 0"),
    ("divided by all steps", "return total / (length - warmup)", "return total / length"),
    ("changes are not made orthonormal", "changes, triangle = jnp.linalg.qr(", "_, triangle = jnp.linalg.qr("),
    ("leaves in one another's place", "            at += size\n", "            at += 0 * size\n"),
)
TIMESCALES = module(
    "jaxrnn/probe/dynamics.py",
    "tests/probe/test_dynamics.py -k time_scales",
    ("the padding is a step", "return carry, hs, jax.tree.map(lambda t: _decay(t, count), total)", "return carry, hs, jax.tree.map(lambda t: _decay(t, count * 0 + len(hs)), total)"),
    ("the gates of the next step", "        keep = _diagonal(lambda c: parts.update(c, now), carry, once=True)", "        now, _ = opened(cell, params, new, x)\n        keep = _diagonal(lambda c: parts.update(c, now), carry, once=True)"),
    ("a mean of decays", "t + jnp.log(jnp.abs(k))", "t + jnp.abs(k) - 1"),
    ("units mix in the diagonal", "keep = _diagonal(lambda c: cell.step(params, c, x)[0], carry, once=False)", "keep = _diagonal(lambda c: cell.step(params, c, x)[0], carry, once=True)"),
)
DYNAMICS_DOOR = module(
    "jaxrnn/probe/dynamics.py",
    "tests/probe/test_dynamics.py -k errors",
    ("any warmup", "if not 0 <= warmup < length:", "if False:"),
    ("any count", "if not 1 <= count <= flat.shape[-1]:", "if False:"),
)
INFLUENCE = module(
    "jaxrnn/probe/influence.py",
    "tests/probe/test_influence.py -k span",
    ("lags off by one", "[length - 1 - lag for lag in lags]", "[length - lag for lag in lags]"),
    ("all later inputs are changed", "select(t == at, other, x)", "select(t >= at, other, x)"),
    ("compared with the next lag", "norm(h[:-1] - h[-1:])", "norm(h[:-1] - h[1:])"),
)
ABLATION = module(
    "jaxrnn/probe/influence.py",
    "tests/probe/test_influence.py -k silenced",
    ("a silenced unit starts as it was", "quiet(opened(cell, params, quiet(carry), x)[1])", "quiet(opened(cell, params, carry, x)[1])"),
    ("a silenced unit is shown", "            carry = quiet(opened(cell, params, quiet(carry), x)[1])\n            return carry, cell.parts.output(carry)", "            carry = opened(cell, params, quiet(carry), x)[1]\n            return quiet(carry), cell.parts.output(carry)"),
    ("all others are silenced", "[*all_on[:n], ~unit, *all_on[n + 1 :]]", "[*all_on[:n], unit, *all_on[n + 1 :]]"),
    ("other layers are silenced", "[*all_on[:n], ~unit, *all_on[n + 1 :]]", "[*(~a for a in all_on[:n]), ~unit, *all_on[n + 1 :]]"),
    ("a step without gates is not silenced", "cell.step(params, quiet(carry), x)", "cell.step(params, carry, x)"),
)
INFLUENCE_DOOR = module(
    "jaxrnn/probe/influence.py",
    "tests/probe/test_influence.py -k errors",
    ("any lags", "if not len(lags) or min(lags) < 0 or max(lags) >= length:", "if False:"),
    ("any others", "if types(xs) != types(others):", "if False:"),
    ("widths are not compared", "if len(widths) != 1:", "if False:"),
)
SIGMOID = module(
    "jaxrnn/sigmoid.py",
    "tests/test_sigmoid.py",
    ("the lesser is what the greater leaves", "less = jnp.abs(signed)", "less = 1 - jax.nn.sigmoid(jnp.abs(x))"),
    ("zero has no sign", "shuts = bits < 0", "shuts = signed < 0"),
    ("rounded three times", "_parts(x.astype(wide(x.dtype)))", "_parts(x)"),
    ("a second derivative of another sign", "d * (closed - opened)", "d * (opened - closed)"),
)
SEQUENCE = module(
    "jaxrnn/sequence.py",
    "tests/test_sequence.py",
    ("the last step of all", "length - 1 - first(valid[::-1])", "length - 1 + 0 * first(valid)"),
    ("the first valid step, forwards", "first(valid) if reverse else", "first(valid) if not reverse else"),
    ("a row without steps shows its padding", "return select(found, taken, 0)", "return taken"),
    ("all steps change places", "return select(valid, jax.tree.map(lambda a: _taken(a, at), xs), 0)", "return select(valid, jax.tree.map(lambda a: jnp.flip(a, 0), xs), 0)"),
    ("one length for all rows", "alone = not batch and", "alone = False and"),
)
SAME_CALL = module(
    "jaxrnn/cell.py",
    "tests/test_pickle.py -k replaced",
    ("a replaced field is forgotten", "as_made = made is not None and all(map(operator.is_, cell, made))", "as_made = made is not None"),
)
# fmt: on


def _hung(test) -> Module:
    """An exhibit: its fault must be found by its own test."""
    number, _, path, old, new = test.exhibit
    file = f"tests/museum/{test.__module__.rpartition('.')[2]}.py"
    name = f"museum {number}: {test.__name__[5:].replace('_', ' ')}"
    return Module(path, (f"{file}::{test.__name__}",), (Fault(name, old, new),))


MUSEUM = tuple(map(_hung, hung()))
MODULES = (
    LSTM,
    GRU,
    SIMPLE,
    OPTIONS,
    GATED,
    GATED_ENGINE,
    CELL,
    CELL_MASKS,
    UNROLL,
    UNROLL_DOOR,
    UNROLL_SHAPES,
    SCAN,
    REMAT,
    SCAN_LESS,
    BLOCKS,
    DEFERRED,
    DEFERRED_BLOCKS,
    DEFERRED_CLOSED,
    DEFERRED_ROWS,
    DEFERRED_PADDING,
    TANGENTS,
    HOIST,
    COMPOSE,
    COMPOSE_TIME,
    DIRECTIONS,
    COMPOSE_PARAMS,
    COMPOSE_DOOR,
    INITIALIZERS,
    SIGMOID,
    SEQUENCE,
    SAME_CALL,
    PROBE,
    FLOW,
    THROUGH,
    THROUGH_BOTH,
    NORMS,
    DYNAMICS,
    TIMESCALES,
    DYNAMICS_DOOR,
    INFLUENCE,
    ABLATION,
    INFLUENCE_DOOR,
    *MUSEUM,
    module(
        "jaxrnn/train/step.py",
        "tests/train/test_shared.py tests/train/test_population.py -k not sweep",
        ("an empty batch is an update", "taken = flowed & ~empty", "taken = flowed"),
        (
            "an empty batch ends a row of failures",
            "in_a_row=jnp.where(taken, 0,",
            "in_a_row=jnp.where(flowed, 0,",
        ),
        (
            "an empty batch keeps the carry",
            "carry=_select(flowed, carry",
            "carry=_select(taken, carry",
        ),
        (
            "shared state is not kept from a failure",
            "shared=_select(flowed, shared, state.shared)",
            "shared=shared",
        ),
        (
            "update_shared is not told of failures",
            "update_shared(new, means, good)",
            "update_shared(new, means, running)",
        ),
        (
            "each part has denominators of its own",
            "total = sum(term.total / weight for term, weight in pairs)",
            "total = sum(term.total / _divisor(term.weight) for term, weight in pairs)",
        ),
        (
            "shared state is a sum over parts",
            "return jnp.where(moves, new - _base(old), 0) / parts",
            "return jnp.where(moves, new - _base(old), 0)",
        ),
        (
            "every part moves what is not floating",
            "return jnp.where(first, new - old, jnp.zeros_like(new))",
            "return new - old",
        ),
    ),
    module(
        "jaxrnn/train/loop.py",
        "tests/train/test_population.py tests/train/test_identity.py",
        (
            "the best are those of all members",
            "self.best = _chosen(better, new, self.best)",
            "self.best = _chosen(better | True, new, self.best)",
        ),
        (
            "no best, and the first params",
            "never = ~np.isfinite(self.record.best",
            "never = False & ~np.isfinite(self.record.best",
        ),
        (
            "one call too many after a stop",
            "told = parallel.agree(terminated()) or self.over",
            "told = parallel.agree(terminated()) or self.at >= self.plan.steps",
        ),
    ),
    module(
        "jaxrnn/train/sweep.py",
        "tests/train/test_population.py",
        (
            "a stopped member goes on",
            "step = _unless(stopped, step)",
            "step = _unless(stopped & False, step)",
        ),
        (
            "a legacy key is one number",
            "count = (len(state.step), *state.key.shape)",
            "count = len(state.step)",
        ),
    ),
    module(
        "jaxrnn/train/identity.py",
        "tests/train/test_identity.py",
        ("another key is the same run", '"data", "loss", "key",', '"data", "loss",'),
        (
            "nothing trained is a run too",
            "home.steps() not in ([], [0])",
            "home.steps() != []",
        ),
        (
            "the learning rate is no part of it",
            "comparable and old != new",
            "comparable and not old",
        ),
    ),
    module(
        "jaxrnn/train/same.py",
        "tests/train/test_same.py",
        (
            "globals are read once",
            "tuple(names), each(outside[n] for n in names)",
            "tuple(names)",
        ),
        (
            "what may change is a constant",
            "    raise _Changes\n\n\ndef _is_fixed",
            "    return _Is(value)\n\n\ndef _is_fixed",
        ),
    ),
    module(
        "jaxrnn/train/parallel.py",
        "tests/train/test_axes.py",
        ("the first choice will do", "if len(choices) == 1:", "if choices:"),
        (
            "rows before time",
            "return tree.unflatten([1] * len(leaves))",
            "return tree.unflatten([0] * len(leaves))",
        ),
    ),
)
