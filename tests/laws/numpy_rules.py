"""What each of JAX's primitives does, in NumPy: rules for `tests.laws.numpy_jaxpr`.

A rule takes the parameters of an equation, and returns the function of its arrays.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.lax import GatherScatterMode

RULES: dict[str, Callable] = {}


def rule(*names: str) -> Callable:
    def register(make):
        RULES.update(dict.fromkeys(names, make))
        return make

    return register


# Element by element.


def _whole(division, real):
    """Division of integers goes towards zero in XLA, downwards in NumPy."""

    def divide(a, b):
        if not np.issubdtype(a.dtype, np.integer):
            return real(a, b)
        towards = np.sign(a) * np.sign(b) if division else np.sign(a)
        whole = (np.floor_divide if division else np.remainder)(np.abs(a), np.abs(b))
        return (towards * whole).astype(a.dtype)

    return divide


ELEMENTWISE: dict[str, Callable] = {
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _whole(True, np.true_divide),
    "rem": _whole(False, np.fmod),
    "max": np.maximum,
    "min": np.minimum,
    "pow": np.power,
    "atan2": np.arctan2,
    "nextafter": np.nextafter,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "shift_left": np.left_shift,
    "shift_right_logical": lambda a, b: (_unsigned(a) >> _unsigned(b)).view(a.dtype),
    "shift_right_arithmetic": np.right_shift,
    "complex": lambda re, im: re + 1j * im,
    "clamp": lambda low, a, high: np.minimum(np.maximum(a, low), high),
    "neg": np.negative,
    "sign": np.sign,
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "is_finite": np.isfinite,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda a: 1 / np.sqrt(a),
    "cbrt": np.cbrt,
    "square": np.square,
    "one_minus_square": lambda a: 1 - a * a,
    "logistic": lambda a: 1 / (1 + np.exp(-a)),
    "erf": lambda a: _by_math(math.erf, a),
    "erfc": lambda a: _by_math(math.erfc, a),
    "real": np.real,
    "imag": np.imag,
    "conj": np.conj,
    "copy": lambda a: a,
    "copy_p": lambda a: a,
}
ELEMENTWISE |= {
    name: getattr(np, name) for name in "sin cos tan sinh cosh tanh".split()
}
ELEMENTWISE |= {
    f"a{name}": getattr(np, f"arc{name}")
    for name in "sin cos tan sinh cosh tanh".split()
}
for _name, _function in ELEMENTWISE.items():
    RULES[_name] = lambda _function=_function, **_: _function


def _unsigned(a):
    return np.asarray(a).view(f"u{a.dtype.itemsize}")


def _by_math(f, a):
    return np.vectorize(f, otypes=[a.dtype])(a)


@rule("integer_pow")
def _(y, **_):
    return lambda a: a**y if y >= 0 else 1 / a**-y


@rule("round")
def _(rounding_method, **_):
    to_even = rounding_method == jax.lax.RoundingMethod.TO_NEAREST_EVEN
    away = lambda a: np.copysign(np.floor(np.abs(a) + 0.5), a).astype(a.dtype)
    return np.round if to_even else away


@rule("select_n")
def _(**_):
    def select(which, *cases):
        if which.dtype == bool:
            return np.where(which, cases[1], cases[0])
        return np.choose(which, cases)

    return select


@rule("convert_element_type")
def _(new_dtype, **_):
    real = not np.issubdtype(new_dtype, np.complexfloating)
    return lambda a: (a.real if real else a).astype(new_dtype)


@rule("bitcast_convert_type")
def _(new_dtype, **_):
    def bitcast(a):
        old, new = a.dtype.itemsize, np.dtype(new_dtype).itemsize
        shape = a.shape if old == new else (*a.shape, old // new)
        shape = a.shape[:-1] if old < new else shape
        return np.ascontiguousarray(a).reshape(-1).view(new_dtype).reshape(shape)

    return bitcast


@rule("optimization_barrier")
def _(**_):
    return lambda *arrays: list(arrays)


# Shapes.


@rule("broadcast_in_dim")
def _(shape, broadcast_dimensions, **_):
    def broadcast(a):
        ones = [1] * len(shape)
        for axis, size in zip(broadcast_dimensions, a.shape, strict=True):
            ones[axis] = size
        return np.broadcast_to(a.reshape(ones), shape)

    return broadcast


@rule("reshape")
def _(new_sizes, **_):
    return lambda a: a.reshape(new_sizes)


@rule("squeeze")
def _(dimensions, **_):
    return lambda a: np.squeeze(a, tuple(dimensions))


@rule("expand_dims")
def _(dimensions, **_):
    return lambda a: np.expand_dims(a, tuple(dimensions))


@rule("transpose")
def _(permutation, **_):
    return lambda a: a.transpose(permutation)


@rule("rev")
def _(dimensions, **_):
    return lambda a: np.flip(a, tuple(dimensions))


@rule("concatenate")
def _(dimension, **_):
    return lambda *arrays: np.concatenate(arrays, dimension)


@rule("stack")
def _(axis, **_):
    return lambda *arrays: np.stack(arrays, axis)


@rule("unstack")
def _(axis, **_):
    return lambda a: list(np.moveaxis(a, axis, 0))


@rule("tile")
def _(reps, **_):
    return lambda a: np.tile(a, reps)


@rule("split")
def _(sizes, axis, **_):
    ends = np.cumsum(sizes)[:-1]
    return lambda a: np.split(a, ends, axis)


@rule("slice")
def _(start_indices, limit_indices, strides, **_):
    strides = strides or (None,) * len(start_indices)
    where = tuple(map(slice, start_indices, limit_indices, strides))
    return lambda a: a[where]


@rule("iota")
def _(dtype, shape, dimension, **_):
    ones = [-1 if axis == dimension else 1 for axis in range(len(shape))]
    line = np.arange(shape[dimension], dtype=dtype).reshape(ones)
    return lambda: np.broadcast_to(line, shape)


@rule("empty2")
def _(dtype, **_):
    return lambda: np.zeros((), dtype)  # as XLA has it


@rule("pad")
def _(padding_config, **_):
    def pad(a, fill):
        for axis, (low, high, inside) in enumerate(padding_config):
            size = a.shape[axis] + max(0, a.shape[axis] - 1) * inside
            shape = list(a.shape)
            shape[axis] = size + low + high
            at = low + (1 + inside) * np.arange(a.shape[axis])
            stays = (at >= 0) & (at < shape[axis])  # negative padding cuts off
            out = np.full(shape, fill, a.dtype)
            np.moveaxis(out, axis, 0)[at[stays]] = np.moveaxis(a, axis, 0)[stays]
            a = out
        return a

    return pad


# Sums and the like.


# NumPy sums integers in a wider type, JAX in their own.
for _name, _function in {"reduce_sum": np.sum, "reduce_prod": np.prod}.items():
    RULES[_name] = lambda axes, f=_function, **_: (
        lambda a: f(a, tuple(axes), dtype=a.dtype)
    )
for _name, _function in {
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_and": np.bitwise_and.reduce,
    "reduce_or": np.bitwise_or.reduce,
    "reduce_xor": np.bitwise_xor.reduce,
}.items():
    RULES[_name] = lambda axes, f=_function, **_: lambda a: f(a, axis=tuple(axes))
for _name, _function in {"argmax": np.argmax, "argmin": np.argmin}.items():
    RULES[_name] = lambda axes, index_dtype, f=_function, **_: (
        lambda a: np.asarray(f(a, axes[0])).astype(index_dtype)
    )
for _name, _function in {
    "cumsum": np.add,
    "cumprod": np.multiply,
    "cummax": np.maximum,
    "cummin": np.minimum,
    "cumlogsumexp": np.logaddexp,
}.items():

    @rule(_name)
    def _(axis, reverse, f=_function):
        turn = (lambda a: np.flip(a, axis)) if reverse else (lambda a: a)
        return lambda a: turn(f.accumulate(turn(a), axis, dtype=a.dtype))


@rule("dot_general")
def _(dimension_numbers, preferred_element_type=None, **_):
    (sum_a, sum_b), (batch_a, batch_b) = dimension_numbers

    def dot(a, b):
        if preferred_element_type is not None:
            a, b = (x.astype(preferred_element_type) for x in (a, b))
        free_a = [i for i in range(a.ndim) if i not in (*sum_a, *batch_a)]
        free_b = [i for i in range(b.ndim) if i not in (*sum_b, *batch_b)]
        sizes = lambda x, axes: [x.shape[i] for i in axes]
        shape = [*sizes(a, batch_a), *sizes(a, free_a), *sizes(b, free_b)]
        many, summed = math.prod(sizes(a, batch_a)), math.prod(sizes(a, sum_a))
        rows, columns = math.prod(sizes(a, free_a)), math.prod(sizes(b, free_b))
        a = a.transpose(*batch_a, *free_a, *sum_a).reshape(many, rows, summed)
        b = b.transpose(*batch_b, *sum_b, *free_b).reshape(many, summed, columns)
        return np.matmul(a, b).reshape(shape)

    return dot


@rule("sort")
def _(dimension, num_keys, is_stable=True, **_):
    def sort(*arrays):
        order = np.lexsort(arrays[:num_keys][::-1], dimension)
        return [np.take_along_axis(a, order, dimension) for a in arrays]

    return sort


# Places that are known only when it runs.


def _clamped(starts, shape, sizes):
    """Where a slice begins: so that it lies inside, as XLA moves it."""
    each = zip(starts, shape, sizes, strict=True)
    return [int(min(max(int(s), 0), n - size)) for s, n, size in each]


def _window(starts, sizes):
    return tuple(slice(s, s + n) for s, n in zip(starts, sizes, strict=True))


@rule("dynamic_slice")
def _(slice_sizes, **_):
    return lambda a, *starts: a[
        _window(_clamped(starts, a.shape, slice_sizes), slice_sizes)
    ]


@rule("dynamic_update_slice")
def _(**_):
    def update(a, part, *starts):
        out = a.copy()
        out[_window(_clamped(starts, a.shape, part.shape), part.shape)] = part
        return out

    return update


def _places(indices, shape, sizes, starts_of, batching, mode):
    """``(place, window)`` for each index vector; None for one that is dropped.

    Args:
        indices: ``[*places, n]``.
        shape: of the operand.
        sizes: of a window of it.
        starts_of: the operand's axis of each of the n.
        batching: pairs of an operand's axis and the axis of `indices` that is its index.
        mode: what becomes of a window that is not inside.
    """
    for place in itertools.product(*map(range, indices.shape[:-1])):
        starts = [0] * len(shape)
        for axis, index in zip(starts_of, indices[place], strict=True):
            starts[axis] = int(index)
        for axis, other in batching:
            starts[axis] = place[other]
        inside = _clamped(starts, shape, sizes)
        if inside != starts and mode == GatherScatterMode.PROMISE_IN_BOUNDS:
            raise IndexError(f"promised to be inside {shape}: {starts}")
        dropped = inside != starts and mode != GatherScatterMode.CLIP
        yield place, None if dropped else _window(inside, sizes)


@rule("gather")
def _(dimension_numbers, slice_sizes, mode, fill_value, **_):
    d = dimension_numbers
    gone = (*d.collapsed_slice_dims, *d.operand_batching_dims)
    pairs = [*zip(d.operand_batching_dims, d.start_indices_batching_dims, strict=True)]
    kept = [n for axis, n in enumerate(slice_sizes) if axis not in gone]

    def gather(a, indices):
        fill = _nothing(a.dtype) if fill_value is None else fill_value
        out = np.full((*indices.shape[:-1], *kept), fill, a.dtype)
        where = (indices, a.shape, slice_sizes, d.start_index_map, pairs, mode)
        for place, window in _places(*where):
            if window is not None:
                out[place] = np.squeeze(a[window], gone)
        first = range(indices.ndim - 1, out.ndim)
        return np.moveaxis(out, first, d.offset_dims)

    return gather


def _nothing(dtype: Any) -> Any:
    """What JAX fills in for what lies outside."""
    if np.issubdtype(dtype, np.inexact):
        return np.nan
    if np.issubdtype(dtype, np.signedinteger):
        return np.iinfo(dtype).min
    return True if dtype == np.dtype(bool) else np.iinfo(dtype).max


@rule("scatter", "scatter-add", "scatter-mul", "scatter-min", "scatter-max")
def _(dimension_numbers, mode, update_jaxpr, **_):
    d = dimension_numbers
    gone = (*d.inserted_window_dims, *d.operand_batching_dims)
    pairs = [
        *zip(d.operand_batching_dims, d.scatter_indices_batching_dims, strict=True)
    ]
    combine = lambda old, new: new
    if update_jaxpr is not None and update_jaxpr.eqns:
        combine = ELEMENTWISE[update_jaxpr.eqns[0].primitive.name]

    def scatter(a, indices, updates):
        out, last = a.copy(), range(indices.ndim - 1, updates.ndim)
        updates = np.moveaxis(updates, d.update_window_dims, last)
        sizes = [1] * a.ndim
        left = [axis for axis in range(a.ndim) if axis not in gone]
        for axis, n in zip(left, updates.shape[indices.ndim - 1 :], strict=True):
            sizes[axis] = n
        maps = d.scatter_dims_to_operand_dims
        for place, window in _places(indices, a.shape, sizes, maps, pairs, mode):
            if window is not None:
                out[window] = combine(out[window], updates[place].reshape(sizes))
        return out

    return scatter
