"""Dropout: of what a cell shows, of what its matmuls read, of its candidate."""

from typing import Any

import jax

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.gated import Gated
from jaxrnn.noise._draws import (
    bits,
    bits_of_sequences,
    check_rate,
    drop,
    each_float,
    is_float,
    kept,
)
from jaxrnn.noise._riding import WithNoise, check_gated, inside, noisy, riding


@factory
def dropout(cell: Cell, rate: Any) -> Cell:
    """The cell with dropout on what it shows: each unit of h is 0, or ``h / (1 - rate)``.

    Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html; between the
    layers of a `stack` as in Zaremba et al. 2014, arXiv:1409.2329. The memory is as it is
    without noise.

    Args:
        cell: any cell.
        rate: how likely a unit is dropped, from 0 to 1 without 1: a number, or a traced
            value. Rounded to a multiple of 2⁻¹⁶.

    Returns:
        A cell with the params and the carry of `cell`. `jaxrnn.unroll` draws its noise
        from ``key``; without one, and in a step, it is `cell` itself. Rate 0 is `cell`
        itself too.

    Raises:
        ValueError: for what is no cell, a rate that is none, and under a key a cell of
            which nobody knows what its batch is.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.noise.dropout(jaxrnn.gru(100), rate=0.25)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> _, hs = jaxrnn.unroll(cell, params, None, xs, key=jax.random.key(2))
        >>> bool(0.2 < (hs == 0).mean() < 0.3)
        True
    """
    if not isinstance(cell, Cell):
        raise ValueError(f"dropout: expected a jaxrnn.Cell, got {cell!r}.")
    check_rate(rate)

    def step(params, carry, x):
        return cell.step(params, carry, x)

    def unroll(params, carry, xs, control, run):
        if control.key is None:
            return run(cell, params, carry, xs, control)
        carry, hs = run(cell, params, carry, xs, control.part(0, control.fresh))

        def one(key, a):
            return drop(a, kept(bits(key, control, a.shape), rate), rate)

        dropped = each_float(one, control.key.part(1), hs)
        return carry, _either(dropped, hs)

    # of a gated cell a gated one, around which other noise may be put
    parts: Any = cell.parts if isinstance(cell.parts, Gated) else (cell,)
    spec = spec_of("dropout", cells=(cell.spec,), rate=rate)
    return cell._replace(step=step, unroll=unroll, parts=parts, spec=spec)


@factory
def variational(
    cell: Cell, *, inputs: Any = None, recurrent: Any = None, outputs: Any = None
) -> Cell:
    """The cell with dropout whose mask stays the same over a whole sequence.

    Gal and Ghahramani 2016, arXiv:1512.05287, with one mask for all gates; Keras's
    ``dropout`` and ``recurrent_dropout`` are `inputs` and `recurrent`. A reset begins a
    sequence, so it brings a new mask.

    Args:
        cell: a gated cell, with noise of its own or without.
        inputs: how likely a feature of x is dropped.
        recurrent: how likely a unit of h is, where the matmuls read it; the state
            equation reads it whole. It is the carry's ``h``, or the carry if that is one
            array.
        outputs: how likely a unit is of what the cell shows. Each rate is from 0 to 1
            without 1, a number, or a traced value; rounded to a multiple of 2⁻¹⁶. None:
            no mask.

    Returns:
        A cell with the params and the carry of `cell`. `jaxrnn.unroll` draws its noise
        from ``key``; without one, and in a step, it is `cell` itself, and so it is where
        all rates are 0.

    Raises:
        ValueError: for what is no gated cell, without a rate, for a rate that is none,
            and under a key for `recurrent` if there is no such h.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.noise.variational(jaxrnn.lstm(4), inputs=0.2, recurrent=0.2)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> carry, hs = jaxrnn.unroll(cell, params, None, xs, key=jax.random.key(2))
        >>> hs.shape
        (6, 2, 4)
    """
    check_gated("variational", cell)
    rates = dict(inputs=inputs, recurrent=recurrent, outputs=outputs)
    if all(rate is None for rate in rates.values()):
        raise ValueError(
            "variational: expected inputs, recurrent or outputs, got none. Name one: "
            "recurrent=0.2."
        )
    for name, rate in rates.items():
        if rate is not None:
            check_rate(rate, name)

    def disturbed(equations: Gated, noise) -> Gated:
        of_x, of_h = noise

        def project(params, x):
            return equations.project(params, inside(lambda x: less(x, of_x, inputs), x))

        def recur(params, carry, z):
            return equations.recur(params, read(carry), z)

        def gates(params, carry, pre):
            return equations.gates(params, read(carry), pre)

        def read(carry):
            if of_h is None:
                return carry
            return _with_h(carry, drop(_h_of(carry), of_h, recurrent))

        return equations._replace(project=project, recur=recur, gates=gates)

    def less(tree, masks, rate):
        if masks is None:
            return tree
        return _either(
            jax.tree.map(
                lambda a, m: drop(a, m, rate) if is_float(a) else None, tree, masks
            ),
            tree,
        )

    def run_noisy(key, types, inner, params, carry, xs, control, run):
        def mask(rate):
            def one(key, like):
                shape = types.over_time(like)
                return kept(bits_of_sequences(key, control, shape), rate)

            return one

        of_x = of_h = None
        if inputs is not None:
            of_x = each_float(mask(inputs), key.part(0), types.x)
        if recurrent is not None:
            of_h = mask(recurrent)(key.part(1), _h_of(types.carry))
        xs = WithNoise(xs, (of_x, of_h))
        carry, hs = run(riding(inner, disturbed), params, carry, xs, control)
        if outputs is not None:
            at_once = jax.tree.map(
                lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), hs
            )
            shown = each_float(mask(outputs), key.part(2), at_once)
            hs = less(hs, shown, outputs)
        return carry, hs

    spec = spec_of("variational", cells=(cell.spec,), **rates)
    return noisy(cell, spec, run_noisy, plain=cell)


def _h_of(carry: Any) -> jax.Array:
    """What the matmuls of a gated cell read of its carry."""
    h = getattr(carry, "h", carry)
    if not hasattr(h, "dtype"):
        raise ValueError(
            "recurrent: expected a carry that is one array or has a field h, got "
            f"{type(carry).__name__}. Leave it out."
        )
    return h


def _with_h(carry: Any, h: jax.Array) -> Any:
    return carry._replace(h=h) if hasattr(carry, "h") else h


def _either(some: Any, others: Any) -> Any:
    """A tree with the leaves of `others` where `some` has None."""
    pick = lambda a, b: b if a is None else a
    return jax.tree.map(pick, some, others, is_leaf=lambda a: a is None)


CANDIDATES = ("g", "n")


@factory
def recurrent_dropout(cell: Cell, rate: Any, *, candidate: str | None = None) -> Cell:
    """The cell with dropout on the candidate, which is what enters its memory.

    Semeniuta et al. 2016, arXiv:1603.05118: c' = f c + i d(g), and for a GRU
    h' = z h + (1 - z) d(n), with a mask for each step. What the memory holds is never
    dropped, so it lasts.

    Args:
        cell: a gated cell, with noise of its own or without.
        rate: how likely a unit is dropped, from 0 to 1 without 1: a number, or a traced
            value. Rounded to a multiple of 2⁻¹⁶.
        candidate: the name of the gate that is the candidate; None: ``g`` or ``n``,
            whichever the cell's gates have.

    Returns:
        A cell with the params and the carry of `cell`. `jaxrnn.unroll` draws its noise
        from ``key``; without one, and in a step, it is `cell` itself, and so it is at
        rate 0.

    Raises:
        ValueError: for what is no gated cell, a rate that is none, and under a key for a
            cell without such a gate.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.noise.recurrent_dropout(jaxrnn.lstm(4), rate=0.25)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> carry, hs = jaxrnn.unroll(cell, params, None, xs, key=jax.random.key(2))
        >>> hs.shape
        (6, 2, 4)
    """
    check_gated("recurrent_dropout", cell)
    check_rate(rate)
    if candidate is not None and not isinstance(candidate, str):
        raise ValueError(f"candidate: expected the name of a gate, got {candidate!r}.")

    def disturbed(equations: Gated, mask) -> Gated:
        def enter(gates):
            name = _candidate(gates, candidate)
            return gates._replace(**{name: drop(getattr(gates, name), mask, rate)})

        def update(params, carry, gates):
            return equations.update(params, carry, inside(enter, gates))

        return equations._replace(update=update)

    def run_noisy(key, types, inner, params, carry, xs, control, run):
        gates = types.gates
        shape = types.over_time(getattr(gates, _candidate(gates, candidate)))
        xs = WithNoise(xs, kept(bits(key, control, shape), rate))
        return run(riding(inner, disturbed), params, carry, xs, control)

    spec = spec_of(
        "recurrent_dropout", cells=(cell.spec,), rate=rate, candidate=candidate
    )
    return noisy(cell, spec, run_noisy, plain=cell)


def _candidate(gates: Any, candidate: str | None) -> str:
    """The name of the gate that is the candidate."""
    names = getattr(gates, "_fields", ())
    among = CANDIDATES if candidate is None else (candidate,)
    found = [name for name in among if name in names]
    if len(found) != 1:
        wanted = f"one gate named {' or '.join(map(repr, among))}"
        raise ValueError(
            f"candidate: expected {wanted}, got the gates {list(names)} of "
            f"{type(gates).__name__}. Name the one that enters the memory."
        )
    return found[0]
