"""ONNX models of functions that unroll cells, by the package jax2onnx."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import jaxpr_as_fun

from jaxrnn._extra import need, release, version


def to_onnx(
    function: Callable,
    *types: Any,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    **options: Any,
) -> Any:
    """An ONNX model of a function of arrays, such as one that calls `jaxrnn.unroll`.

    Any cell, composition, lengths, mask, resets and reverse can be in it. Params that
    the function closes over are stored in the model; those that it takes are inputs of
    the model. A model for a stream takes a carry and returns the next.

    Args:
        function: of arrays, or pytrees of them, which returns a pytree of arrays. It
            must be float32 or float64 throughout and draw no random numbers.
        types: for each argument an array or `jax.ShapeDtypeStruct`, or a pytree of
            them. Sizes of time and batch may be symbolic: see
            `jax.export.symbolic_shape`.
        input_names: for the leaves of the arguments, in their order.
        output_names: for the leaves of the result.
        options: further ones of ``jax2onnx.to_onnx``, such as ``opset``.

    Returns:
        An ``onnx.ModelProto``: ``model.SerializeToString()`` is what onnxruntime loads
        and what a file ``.onnx`` holds.

    Raises:
        ImportError: without the extra ``onnx``, or for a jax2onnx too old for JAX.
        ValueError: for arguments of another kind, for what ONNX has no counterpart of,
            and for what jax2onnx cannot convert.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> from jaxrnn import convert
        >>> cell = jaxrnn.gru(4)
        >>> params = cell.init(jax.random.key(0), features=3)
        >>> def run(xs, lengths):
        ...     return jaxrnn.unroll(cell, params, None, xs, lengths=lengths)[1]
        >>> t, b = jax.export.symbolic_shape("t, b")
        >>> xs = jax.ShapeDtypeStruct((t, b, 3), jnp.float32)
        >>> lengths = jax.ShapeDtypeStruct((b,), jnp.int32)
        >>> names = dict(input_names=["xs", "lengths"], output_names=["hs"])
        >>> model = convert.to_onnx(run, xs, lengths, **names)  # doctest: +SKIP
    """
    if not callable(function):
        raise ValueError(f"function: expected a function of arrays, got {function!r}.")
    leaves = _check_types(types)
    library = _jax2onnx()
    with mock.patch.object(lax, "scan", _forward_scan):
        closed = jax.make_jaxpr(jax.disable_jit()(function))(*types)
    _check_program(closed)
    named = {"input_names": input_names, "output_names": output_names}
    options |= {name: list(v) for name, v in named.items() if v is not None}
    if any(a.dtype == jnp.float64 for a in _values(closed.jaxpr)):
        options.setdefault("enable_double_precision", True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of its use of JAX
            return library.to_onnx(jaxpr_as_fun(closed), leaves, **options)
    except Exception as error:
        raise ValueError(
            f"function: jax2onnx {version('jax2onnx')} cannot convert it: {error}"
        ) from error


def _forward_scan(step, carry, xs=None, length=None, reverse=False, **options):
    """`jax.lax.scan` as jax2onnx converts it: not reversed, without jit in its body."""
    turn = lambda tree: jax.tree.map(lambda a: lax.rev(a, (0,)), tree)
    xs = turn(xs) if reverse else xs
    with jax.disable_jit(False):
        carry, ys = _scan(jax.disable_jit()(step), carry, xs, length, **options)
    return carry, turn(ys) if reverse else ys


_scan = lax.scan


def _jax2onnx() -> Any:
    need("onnxruntime")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its use of JAX
        library = need("jax2onnx")
    found = version("jax2onnx") or ""
    if release(jax.__version__) >= (0, 11) and release(found) < (0, 17, 1):
        raise ImportError(
            f"jax2onnx: expected 0.17.1 or later beside JAX {jax.__version__}, got "
            f"{found}. Install it by: pip install 'jaxrnn[onnx]' 'jax2onnx>=0.17.1'"
        )
    return library


def _check_types(types: tuple) -> list:
    """The leaves, each of which must have a shape and dtype, and no size of 0."""
    leaves = jax.tree.leaves_with_path(types)
    for path, leaf in leaves:
        name = f"types{jax.tree_util.keystr(path)}"
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise ValueError(
                f"{name}: expected an array or a jax.ShapeDtypeStruct, got {leaf!r}."
            )
        if any(isinstance(n, int) and n == 0 for n in leaf.shape):
            raise ValueError(
                f"{name}: expected sizes from 1, or symbols, got {list(leaf.shape)}. "
                "onnxruntime runs no loop of no steps."
            )
    return [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for _, leaf in leaves]


def _check_program(closed: Any) -> None:
    """Raises ValueError for what has no counterpart in ONNX or in onnxruntime."""
    for value in _values(closed.jaxpr):
        if value.dtype in (jnp.float16, jnp.bfloat16):
            raise ValueError(
                f"function: expected float32 or float64 throughout, got {value.dtype}, "
                "for which onnxruntime lacks operators. Cast params and inputs by "
                ".astype(jnp.float32), and leave out jaxrnn.precision."
            )
    for equation in _equations(closed.jaxpr):
        if equation.primitive.name.startswith(("random_", "threefry")):
            raise ValueError(
                f"function: expected no random numbers, got {equation.primitive.name}. "
                "Draw params outside of it."
            )


def _equations(jaxpr: Any) -> Iterator:
    """All of them, those inside of loops and branches too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(tuple(equation.params.values()), is_leaf=_program):
            if _program(inner):
                yield from _equations(getattr(inner, "jaxpr", inner))


def _program(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns")


def _values(jaxpr: Any) -> Iterator:
    """The types of all values that have a dtype."""
    variables = [*jaxpr.invars, *jaxpr.constvars]
    for equation in _equations(jaxpr):
        variables += [*equation.invars, *equation.outvars]
    yield from (v.aval for v in variables if hasattr(v.aval, "dtype"))
