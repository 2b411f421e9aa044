"""The faults of noise; `tests.mutants.faults` has the rest."""

from tests.mutants.planting import Module, module


def of(file: str, tests: str, *faults: tuple[str, str, str, str]) -> Module:
    """The faults of a file of `jaxrnn.noise`, which these tests of law 16 must find."""
    laws = "tests/laws/test_noise.py tests/laws/test_noise_inside.py"
    return module(f"jaxrnn/noise/{file}.py", f"{laws} -k {tests}", *faults)


# fmt: off
OF_NOISE = (
    module(
        "jaxrnn/_keys.py",
        "tests/laws/test_noise_inside.py tests/laws/test_sharding.py -k share_with or noise_is",
        ("what all share is a row's", "noise_key", "NoiseKey(_fold_in(key, SHARED), _split(rows, spec))", "NoiseKey(key, _split(rows, spec))"),
        ("keys are nowhere", "noise_key", "_split(rows, spec)", "rows"),
        ("keys a row stay where they are", "noise_key", "_split(key, spec)", "key"),
        ("without a batch too", "noise_key", "NoiseKey(shared=_fold_in(key, SHARED), rows=key)", "NoiseKey(shared=key, rows=key)"),
    ),
    of(
        "_draws",
        "masks or rates or dropped or normal or reset or neighbours or kept or row or of_step or no_option or raises or apart or integers or learned",
        ("a rate is rounded down", "levels_of", "jnp.round(within(rate, jnp.float32) * LEVELS)", "jnp.floor(within(rate, jnp.float32) * LEVELS)"),
        ("all may be dropped", "within", "1 - 1 / LEVELS", "1"),
        ("more than all is dropped", "within", "jnp.where(rate > most, most, rate)", "rate"),
        ("less than nothing is dropped", "within", "rate < 0", "False"),
        ("kept and dropped swapped", "kept", "draws >= levels_of(rate).astype(jnp.uint32)", "draws < levels_of(rate).astype(jnp.uint32)"),
        ("one too many is kept", "kept", "draws >= levels_of(rate).astype(jnp.uint32)", "draws > levels_of(rate).astype(jnp.uint32)"),
        ("not scaled", "drop", "a / (1 - levels_of(rate) / LEVELS).astype(a.dtype)", "a"),
        ("scaled by the rate", "drop", "(1 - levels_of(rate) / LEVELS)", "(levels_of(rate) / LEVELS)"),
        ("two units share a draw", "bits.of_row", "words >> 16", "words & 0xFFFF"),
        ("rows share their draws", "_each_row", "draw(key.rows)", "draw(jnp.broadcast_to(key.rows.reshape(-1)[:1], key.rows.shape))"),
        ("rows and steps swapped", "_each_row", "jax.vmap(draw, out_axes=1)", "jax.vmap(draw, out_axes=0)"),
        ("Gaussian noise is uniform", "normals", "math.sqrt(2) * lax.erf_inv(middles)", "math.sqrt(3) * middles"),
        ("a variance of 1/2", "normals", "math.sqrt(2) * lax.erf_inv(middles)", "lax.erf_inv(middles)"),
        ("Gaussian noise is skewed", "normals", "2 * bits(key, control, shape).astype(wide) + 1", "bits(key, control, shape).astype(wide) + 1"),
        ("a reset keeps the mask", "bits_of_sequences", "control.resets is None", "True"),
        ("a new mask at each step", "bits_of_sequences", "lax.cummax(jnp.where(resets, steps, 0))", "jnp.where(resets, steps, steps)"),
        ("a mask of the reset before", "bits_of_sequences", "jnp.where(resets, steps, 0)", "jnp.where(resets, steps - 1, 0)"),
        ("one mask for the rows of a batch", "bits_of_sequences", "lax.cummax(jnp.where(resets, steps, 0))", "lax.cummax(jnp.where(resets[:, :1], steps, 0) + 0 * resets)"),
        ("leaves share their draws", "each_float", "f(key.part(n), *leaf)", "f(key.part(0), *leaf)"),
        ("integers are dropped", "either", "b if a is None else a", "0 * b if a is None else a"),
        ("a negative deviation is one", "check_deviation", "0 <= known < math.inf", "known < math.inf"),
    ),
    of(
        "_riding",
        "masks or loop_with or own or plain_cell or expectation",
        ("noise is drawn without its key", "noisy.unroll", "control.key is None", "control.key is not None"),
        ("nested noise is one", "noisy.unroll.inner_run", "control.part(0, control.fresh)", "control"),
        ("resets go nowhere", "noisy.unroll.inner_run", "control.part(0, control.fresh)", "control.part(0, carry)"),
        ("the noise inside is forgotten", "noisy.unroll", "cell.unroll is None", "True"),
        ("the evaluation is the cell inside", "noisy.unroll", "run(plain, params, carry, xs, control)", "run(cell, params, carry, xs, control)"),
        ("a step is the cell inside's", "noisy.step", "plain.step(params, carry, x)", "cell.step(params, carry, x)"),
        ("inputs are not disturbed", "riding.project", "disturbed(parts, x.noise).project(params, x.value)", "parts.project(params, x.value)"),
        ("what is read is not disturbed", "riding.recur", "disturbed(parts, z.noise).recur(params, carry, z.value)", "parts.recur(params, carry, z.value)"),
        ("gates read undisturbed", "riding.gates", "disturbed(parts, pre.noise).gates(params, carry, pre.value)", "parts.gates(params, carry, pre.value)"),
        ("the memory is not disturbed", "riding.update", "disturbed(parts, gates.noise).update(params, carry, gates.value)", "parts.update(params, carry, gates.value)"),
    ),
    of(
        "_variational",
        "masks or loop_with or own or plain_cell or sequence or reset or rate or raises or integers",
        ("a variational mask anew each step", "variational.run_noisy.mask.one", "bits_of_sequences(key, control, shape)", "bits_of_sequences(key, control._replace(resets=jax.numpy.ones(shape[:1 + key.rows.ndim], bool)), shape)"),
        ("the state equation reads h dropped", "variational.disturbed", "equations._replace(project=project, recur=recur, gates=gates)", "equations._replace(project=project, recur=recur, gates=gates, update=lambda p, c, g: equations.update(p, read(c), g))"),
        ("c is dropped too", "_with_h", "carry._replace(h=h)", "carry._replace(h=h, c=carry.c * (h != 0))"),
        ("only recur reads h dropped", "variational.disturbed.gates", "equations.gates(params, read(carry), pre)", "equations.gates(params, carry, pre)"),
        ("inputs by the rate of h", "variational.disturbed.project", "less(x, of_x, inputs)", "less(x, of_x, recurrent)"),
        ("inputs and outputs share a mask", "variational.run_noisy", "each_float(mask(outputs), key.part(2), at_once)", "each_float(mask(outputs), key.part(0), at_once)"),
        ("any matmul reads the carry", "_check_read", "spec[:1] == ('leaky_rnn',) and activation != 'relu'", "False"),
        ("outputs are not dropped", "variational.run_noisy", "hs = less(hs, shown, outputs)", "hs = hs"),
    ),
    of(
        "_recurrent_dropout",
        "masks or loop_with or own or plain_cell or sequence or reset or rate or raises or integers",
        ("the candidate is not scaled", "recurrent_dropout.disturbed.enter", "drop(getattr(gates, name), mask, rate)", "mask * getattr(gates, name)"),
        ("one mask of candidates for all steps", "recurrent_dropout.run_noisy", "kept(bits(key, control, shape), rate)", "kept(0 * bits(key, control, shape) + bits(key, control, (1, *shape[1:])), rate)"),
        ("the first gate is the candidate", "_candidate", "found[0]", "names[0]"),
    ),
    of(
        "_zoneout",
        "masks or loop_with or expectation or plain_cell or apart or raises or learned",
        ("held and new swapped", "zoneout.disturbed.update", "jnp.where(h, old, new)", "jnp.where(h, new, old)"),
        ("held with the other rate", "zoneout.run_noisy.one", "~kept(bits(key, control, types.over_time(like)), rate)", "kept(bits(key, control, types.over_time(like)), rate)"),
        ("h and c are held as one", "zoneout.run_noisy", "each_float(one, key, like, _rates(rate, like))", "jax.tree.map(lambda l, r: one(key, l, r), like, _rates(rate, like))"),
        ("a held unit is 0", "zoneout.disturbed.update", "jnp.where(h, old, new)", "jnp.where(h, 0, new)"),
        ("the expectation weighs the other way", "zoneout.expected.one", "new + within(rate, new.dtype) * (old - new)", "old + within(rate, new.dtype) * (new - old)"),
        ("without a key there is no zoneout", "zoneout.expected.one", "new + within(rate, new.dtype) * (old - new)", "new"),
        ("rates of h and c swapped", "_rates", "return rate", "return type(rate)(*rate[::-1]) if isinstance(rate, tuple) else rate"),
        ("any carry will do", "_rates", "set(fields) == {'h', 'c'}", "True"),
    ),
    of(
        "_weight_drop",
        "weights or params or loop_with or plain_cell or own or raises",
        ("every kernel is dropped", "weight_drop.run_noisy.one", "jax.tree_util.keystr(path[-1:], simple=True) not in names", "w.ndim < 2"),
        ("weights are not scaled", "weight_drop.run_noisy.one", "drop(w, kept(drawn, rate), rate)", "jax.numpy.where(kept(drawn, rate), w, 0)"),
        ("whole columns are dropped", "weight_drop.run_noisy.one", "jax.random.bits(key.part(count).shared, w.shape, 'uint16')", "jax.random.bits(key.part(count).shared, w.shape[-1:], 'uint16')"),
        ("kernels share their draws", "weight_drop.run_noisy.one", "key.part(count).shared", "key.shared"),
        ("the key of the first row", "weight_drop.run_noisy", "key.shared is None", "False"),
        ("no such params are no error", "weight_drop.run_noisy", "not count", "False"),
    ),
    of(
        "_gaussian",
        "normal or loop_with or plain_cell or own or raises or traced or learned",
        ("inputs by the deviation of the carry", "gaussian.disturbed.project", "_plus(x, on_x, of_inputs)", "_plus(x, on_x, of_carry)"),
        ("no noise on pre-activations", "gaussian.disturbed.project", "_plus(z, on_z, of_pre)", "z"),
        ("no noise on the carry", "gaussian.disturbed.update", "_plus(new, on_carry, of_carry)", "new"),
        ("on the old carry", "gaussian.disturbed.update", "equations.update(params, carry, gates)", "equations.update(params, _plus(carry, on_carry, of_carry), gates)"),
        ("inputs, pre and carry share draws", "gaussian.run_noisy", "each_float(one, key.part(n), getattr(types, of))", "each_float(one, key, getattr(types, of))"),
        ("a variance, not a deviation", "_plus.one", "jnp.asarray(std, a.dtype) * noise", "jnp.asarray(std, a.dtype) ** 2 * noise"),
        ("at 0 nothing is learned", "_plus.one", "jnp.asarray(std, a.dtype) * noise", "jnp.where(jnp.asarray(std) == 0, 0, jnp.asarray(std, a.dtype) * noise)"),
    ),
)
# fmt: on
