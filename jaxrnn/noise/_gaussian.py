"""Gaussian noise, added to inputs, pre-activations or the memory."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn._factory import factory
from jaxrnn._spec import spec_of
from jaxrnn.cell import Cell
from jaxrnn.gated import Gated
from jaxrnn.noise._draws import check_deviation, each_float, normals
from jaxrnn.noise._riding import WithNoise, check_gated, inside, noisy, riding


@factory
def gaussian(
    cell: Cell, *, inputs: Any = None, pre: Any = None, carry: Any = None
) -> Cell:
    """The cell with Gaussian noise of its own for each row, step and unit.

    On the weighted inputs of a rate network it is the recurrent noise of Song et al.
    2016, https://doi.org/10.1371/journal.pcbi.1004792: with leak α and noise σ,
    ``gaussian(leaky_rnn(128), pre=(2 / α) ** 0.5 * σ)``.

    Standard deviations are numbers from 0, or traced values; None is no noise there.

    Args:
        cell: a gated cell, with noise of its own or without.
        inputs: the standard deviation of what is added to x.
        pre: that of what is added to each array that `project` returns, which is what
            the input says to each gate, and so to the pre-activations.
        carry: that of what is added to each float of the carry after a step, before the
            cell shows it.

    Returns:
        A cell with the params and the carry of `cell`. `jaxrnn.unroll` draws its noise
        from ``key``; without one, and in a step, it is `cell` itself, and so it is where
        all are 0.

    Raises:
        ValueError: for what is no gated cell, without a standard deviation, and for one
            that is none.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> cell = jaxrnn.noise.gaussian(jaxrnn.leaky_rnn(4), pre=0.1)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> xs = jax.random.normal(jax.random.key(1), (6, 2, 3))
        >>> carry, hs = jaxrnn.unroll(cell, params, None, xs, key=jax.random.key(2))
        >>> hs.shape
        (6, 2, 4)
    """
    check_gated("gaussian", cell)
    stds = dict(inputs=inputs, pre=pre, carry=carry)
    if all(std is None for std in stds.values()):
        raise ValueError(
            "gaussian: expected inputs, pre or carry, got none. Name one: carry=0.1."
        )
    for name, std in stds.items():
        if std is not None:
            check_deviation(name, std)
    of_inputs, of_pre, of_carry = inputs, pre, carry

    def disturbed(equations: Gated, noise) -> Gated:
        on_x, on_z, on_carry = noise

        def project(params, x):
            x = inside(lambda x: _plus(x, on_x, of_inputs), x)
            return inside(
                lambda z: _plus(z, on_z, of_pre), equations.project(params, x)
            )

        def update(params, carry, gates):
            new = equations.update(params, carry, gates)
            return _plus(new, on_carry, of_carry)

        return equations._replace(project=project, update=update)

    def run_noisy(key, types, inner, params, carry, xs, control, run):
        def one(key, like):
            return normals(key, control, types.over_time(like), like.dtype)

        likes = dict(inputs="x", pre="z", carry="carry")
        noise = tuple(
            None
            if stds[name] is None
            else each_float(one, key.part(n), getattr(types, of))
            for n, (name, of) in enumerate(likes.items())
        )
        xs = WithNoise(xs, noise)
        return run(riding(inner, disturbed), params, carry, xs, control)

    spec = spec_of("gaussian", cells=(cell.spec,), **stds)
    return noisy(cell, spec, run_noisy, plain=cell)


def _plus(tree: Any, noise: Any, std: Any) -> Any:
    """The floats of a tree plus so much of the noise."""

    def one(noise, a):
        return a if noise is None else a + jnp.asarray(std, a.dtype) * noise

    if noise is None:
        return tree
    return jax.tree.map(one, noise, tree, is_leaf=lambda n: n is None)
