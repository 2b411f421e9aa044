"""Flax Linen modules around jaxrnn's cells: they hold params and call `unroll`.

They are batch-major as Flax is: ``xs [*batch, T, F]``. A call takes the carry and the
inputs and returns the carry and the outputs, as everywhere in the library.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization
from flax.core import FrozenDict, unfreeze
from jax import export

from jaxrnn import _modules
from jaxrnn._tree import check_like
from jaxrnn.cell import Cell
from jaxrnn.cells.gru import gru
from jaxrnn.cells.lstm import lstm
from jaxrnn.cells.simple import simple_rnn
from jaxrnn.initializers import glorot_uniform, orthogonal
from jaxrnn.noise import is_noisy


def to_tree(params: Any) -> Any:
    """A cell's params as Flax keeps them: nested dicts of names, without NamedTuples.

    Example:
        >>> import jax, jaxrnn, jaxrnn.linen
        >>> cell = jaxrnn.stack(jaxrnn.gru(4), jaxrnn.gru(4))
        >>> tree = jaxrnn.linen.to_tree(cell.init(jax.random.key(0), 3))
        >>> tree["1"]["wx"].shape
        (4, 12)
    """
    return serialization.to_state_dict(params)


def from_tree(cell: Cell, tree: Any, features: int) -> Any:
    """The params that the functions of `cell` take, from ``variables["params"]["cell"]``.

    Args:
        cell: the module's, such as ``module.cell``.
        tree: as `to_tree` makes it; arrays or anything else in their places.
        features: F.

    Raises:
        ValueError: for names that are not those of the cell's params.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn, jaxrnn.linen
        >>> rnn, xs = jaxrnn.linen.RNN(jaxrnn.gru(4)), jnp.ones((2, 6, 3))
        >>> variables = rnn.init(jax.random.key(0), None, xs)
        >>> params = jaxrnn.linen.from_tree(rnn.cell, variables["params"]["cell"], 3)
        >>> carry = rnn.cell.initial_carry(params, xs[:, 0])
        >>> carry, h = rnn.cell.step(params, carry, xs[:, 0])  # one step
    """
    return serialization.from_state_dict(_like(cell, features), tree)


def _check_tree(cell: Cell, tree: Any, like: Any, features: int) -> None:
    """Raises ValueError unless `tree` is what `to_tree` makes of params like these."""
    remedy = (
        f"Expected are the params of {cell!r} for F = {features}, as "
        "jaxrnn.linen.to_tree gives them."
    )
    tree = nn.unbox(unfreeze(tree))
    check_like('params["cell"]', tree, to_tree(like), remedy, dtypes=False)


def _like(cell: Cell, features: int) -> Any:
    """The types of the params for inputs [..., F]."""
    return jax.eval_shape(lambda: cell.init(jax.random.key(0), features))


def _box(array: jax.Array, names: tuple | None) -> Any:
    return nn.Partitioned(array, names) if names else array


class _Recurrent(nn.Module, kw_only=True):
    """What every module here does with its ``cell``."""

    dropout: float = 0.0
    deterministic: bool | None = None
    time_major: bool = False
    reverse: bool = False
    remat: int | str | None = None
    engine: str = "auto"
    sharding: Mapping[str, tuple] | None = None

    def __post_init__(self) -> None:
        if self.sharding is not None:  # so that a module can be hashed
            names = {field: tuple(axes) for field, axes in self.sharding.items()}
            object.__setattr__(self, "sharding", FrozenDict(names))
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        carry: Any,
        xs: Any,
        lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        *,
        deterministic: bool | None = None,
    ) -> tuple[Any, Any]:
        """The cell over time: see `jaxrnn.unroll`.

        Args:
            carry: the carry that comes in, or None for the initial one.
            xs: ``[*batch, T, F]``.
            lengths: int ``[*batch]``.
            mask, resets: bool ``[*batch, T]``. Flax's lifted transforms take these
                three by position alone.
            deterministic: whether dropout is off. A module with dropout needs it here
                or as an attribute. Dropout, and the noise of any cell, draws from the
                stream ``dropout``; without `deterministic` a cell has noise where there
                is that stream.

        Returns:
            ``(carry, hs)``: the carry after the last step, and ``hs [*batch, T, H]``.

        Raises:
            ValueError: as `jaxrnn.unroll` does.
        """
        cell, features = self.cell, _modules.features(xs)
        _modules.check_module(cell, self.dropout)
        like = _like(cell, features)
        if self.has_variable("params", "cell"):
            _check_tree(cell, self.get_variable("params", "cell"), like, features)

        def init(key):
            return _modules.annotate(
                to_tree(cell.init(key, features)), self.sharding, _box
            )

        if deterministic is None:
            deterministic = self.deterministic
        if self.dropout and deterministic is None:
            raise ValueError(
                "deterministic: expected True or False where there is dropout, got None."
            )
        drops = self.dropout and len(cell.parts) > 1
        drops = drops or (deterministic is False and is_noisy(cell))
        noisy = not deterministic and (drops or self.has_rng("dropout"))
        return _modules.run(
            cell,
            serialization.from_state_dict(like, self.param("cell", init)),
            carry,
            xs,
            time_major=self.time_major,
            dropout=self.dropout if noisy else 0.0,
            lengths=lengths,
            mask=mask,
            resets=resets,
            reverse=self.reverse,
            remat=self.remat,
            key=self.make_rng("dropout") if noisy else None,
            engine=self.engine,
        )


class RNN(_Recurrent):
    """Any cell, stack or bidirectional composition as a module.

    Its params are stored under ``cell`` as nested dicts of names. `from_tree` converts
    them to the params that `jaxrnn.unroll` and ``cell.step`` take, and `to_tree` back.

    Attributes:
        cell: a `jaxrnn.Cell`.
        dropout: the rate of `jaxrnn.noise.dropout` between the layers of a `stack`.
        deterministic: whether dropout is off, unless the call says otherwise.
        time_major: whether time is axis 0 of xs, mask, resets and outputs.
        reverse, remat, engine: as `jaxrnn.unroll` takes them.
        sharding: field name of the params -> its dimensions' mesh axis names, such as
            ``{"wx": (None, "model")}``: `flax.linen.Partitioned`.

    Raises:
        ValueError: if cell is no Cell, dropout is not in [0, 1) or the cell no stack,
            sharding names no field, or the params are another cell's.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn, jaxrnn.linen
        >>> rnn = jaxrnn.linen.RNN(jaxrnn.gru(4))
        >>> xs = jnp.ones((2, 6, 3))
        >>> variables = rnn.init(jax.random.key(0), None, xs)
        >>> carry, hs = rnn.apply(variables, None, xs, lengths=[6, 4])
        >>> carry.shape, hs.shape
        ((2, 4), (2, 6, 4))
    """

    cell: Cell


class _Layers(_Recurrent, kw_only=True):
    """Layers of one kind of cell, which the subclass makes."""

    num_layers: int = 1
    bidirectional: bool = False
    kernel_init: Callable = glorot_uniform
    recurrent_init: Callable = orthogonal
    bias_init: Callable | None = None
    dtype: Any = None

    @property
    def cell(self) -> Cell:
        """The `jaxrnn.stack` that this module runs."""
        return _modules.layers(
            self._make,
            self.features,
            self.num_layers,
            self.bidirectional,
            kernel_init=self.kernel_init,
            recurrent_init=self.recurrent_init,
            bias_init=self.bias_init,
            dtype=self.dtype,
            **self._own(),
        )


class SimpleRNN(_Layers):
    """Layers of `jaxrnn.simple_rnn`; the carry is a tuple with one entry a layer.

    Attributes:
        features: H.
        activation, kernel_init, recurrent_init, bias_init, dtype: see
            `jaxrnn.simple_rnn`.
        num_layers: how many, on top of each other.
        bidirectional: whether each reads both ways, giving ``[*batch, T, 2 H]``.
        dropout, deterministic, time_major, reverse, remat, engine, sharding: see `RNN`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn.linen
        >>> rnn = jaxrnn.linen.SimpleRNN(4, activation="relu")
        >>> variables = rnn.init(jax.random.key(0), None, jnp.ones((2, 6, 3)))
        >>> (h,), hs = rnn.apply(variables, None, jnp.ones((2, 6, 3)))
        >>> h.shape, hs.shape
        ((2, 4), (2, 6, 4))
    """

    features: int
    activation: str | Callable = dataclasses.field(default="tanh", kw_only=True)

    _make = staticmethod(simple_rnn)

    def _own(self) -> dict:
        return dict(activation=self.activation)


class LSTM(_Layers):
    """Layers of `jaxrnn.lstm`; the carry is a tuple with one entry a layer.

    Attributes:
        features: H.
        forget_bias, kernel_init, recurrent_init, bias_init, dtype: see
            `jaxrnn.lstm`.
        num_layers: how many, on top of each other.
        bidirectional: whether each reads both ways, giving ``[*batch, T, 2 H]``.
        dropout, deterministic, time_major, reverse, remat, engine, sharding: see `RNN`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn.linen
        >>> lstm = jaxrnn.linen.LSTM(4, num_layers=2, dropout=0.1)
        >>> xs = jnp.ones((2, 6, 3))
        >>> variables = lstm.init(jax.random.key(0), None, xs, deterministic=True)
        >>> rngs = {"dropout": jax.random.key(1)}
        >>> carry, hs = lstm.apply(variables, None, xs, deterministic=False, rngs=rngs)
        >>> carry[1].c.shape, hs.shape
        ((2, 4), (2, 6, 4))
    """

    features: int
    forget_bias: Any = dataclasses.field(default=None, kw_only=True)

    _make = staticmethod(lstm)

    def _own(self) -> dict:
        return dict(forget_bias=self.forget_bias)


class GRU(_Layers):
    """Layers of `jaxrnn.gru`; the carry is a tuple with one entry a layer.

    Attributes:
        features: H.
        update_bias, kernel_init, recurrent_init, bias_init, dtype: see
            `jaxrnn.gru`.
        num_layers: how many, on top of each other.
        bidirectional: whether each reads both ways, giving ``[*batch, T, 2 H]``.
        dropout, deterministic, time_major, reverse, remat, engine, sharding: see `RNN`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn.linen
        >>> gru = jaxrnn.linen.GRU(4, bidirectional=True)
        >>> variables = gru.init(jax.random.key(0), None, jnp.ones((2, 6, 3)))
        >>> (carry,), hs = gru.apply(variables, None, jnp.ones((2, 6, 3)))
        >>> carry.backward.shape, hs.shape
        ((2, 4), (2, 6, 8))
    """

    features: int
    update_bias: Any = dataclasses.field(default=None, kw_only=True)

    _make = staticmethod(gru)

    def _own(self) -> dict:
        return dict(update_bias=self.update_bias)


class _OnClassOrInstance:
    """A method whose first argument is the instance or, called on it, the class."""

    nowrap = True  # Flax wraps every other descriptor

    def __init__(self, method: Callable):
        self.method = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: Any, owner: type) -> Callable:
        return MethodType(self.method, owner if instance is None else instance)


class ScannedRNN(nn.Module):
    """A cell that is reset where an episode ends, as reinforcement learning code has it.

    The interface of the ``ScannedRNN`` that PureJaxRL and its descendants copy: time
    first, ``(inputs, resets)`` in, and a carry that can be made before any params.
    Resets may be numbers here, as those programs have them: all but 0 are True.
    Everywhere else in the library they are bools.

    Attributes:
        make: a factory such as `jaxrnn.gru` or `jaxrnn.lstm`.
        hidden: H; None is as wide as the inputs.

    Example:
        >>> import jax, jax.numpy as jnp, jaxrnn
        >>> from jaxrnn.linen import ScannedRNN
        >>> carry = ScannedRNN.initialize_carry(2, 3)
        >>> ins, dones = jnp.ones((6, 2, 3)), jnp.zeros((6, 2))
        >>> variables = ScannedRNN().init(jax.random.key(0), carry, (ins, dones))
        >>> carry, hs = ScannedRNN().apply(variables, carry, (ins, dones))
        >>> carry.shape, hs.shape
        ((2, 3), (6, 2, 3))

        An instance knows its cell and width; several batch axes are a tuple:

        >>> ScannedRNN(jaxrnn.lstm, 8).initialize_carry((4, 2)).c.shape
        (4, 2, 8)
    """

    make: Callable[[int], Cell] = gru
    hidden: int | None = None

    @nn.compact
    def __call__(self, carry: Any, x: tuple) -> tuple[Any, Any]:
        """The cell over time, reset to its initial carry *before* ``inputs[t]``.

        Args:
            carry: from `initialize_carry`, or None.
            x: ``(inputs [T, *batch, F], resets [T, *batch])``; resets are bools, or
                numbers of which all but 0 are True.

        Returns:
            ``(carry, hs)`` with ``hs [T, *batch, H]``.

        Raises:
            ValueError: for resets of another shape, a carry that does not fit, or a
                `make` that is no factory of cells.
        """
        if not isinstance(x, tuple | list) or len(x) != 2:
            raise ValueError(
                "x: expected a pair (inputs [T, *batch, F], resets [T, *batch]), got "
                f"{type(x).__name__}."
            )
        inputs, resets = jnp.asarray(x[0]), jnp.asarray(x[1])
        if jnp.issubdtype(resets.dtype, jnp.number):
            resets = resets.astype(bool)
        if inputs.ndim < 2:
            raise ValueError(
                f"inputs: expected [T, *batch, F], got {list(inputs.shape)}. One step "
                "is inputs[None]."
            )
        hidden = inputs.shape[-1] if self.hidden is None else self.hidden
        cell = _modules.made(self.make, hidden)
        if carry is not None:
            batch = inputs.shape[1:-1]
            like = jax.eval_shape(lambda: _before_params(cell, batch, hidden, None))
            name = getattr(self.make, "__name__", "...")
            remedy = (
                f"ScannedRNN.initialize_carry({batch}, {hidden}, make={name}) makes "
                "one that fits, with the make= of the module. hidden= is its width."
            )
            check_like("carry", carry, like, remedy, dtypes=False)
        return RNN(cell, time_major=True, name="rnn")(carry, inputs, resets=resets)

    @_OnClassOrInstance
    def initialize_carry(
        module: Any,  # the class or an instance of it
        batch_size: int | tuple[int, ...],
        hidden_size: int | None = None,
        make: Callable[[int], Cell] | None = None,
        dtype: Any = None,
    ) -> Any:
        """The initial carry of ``make(hidden_size)`` for a batch of rows.

        It is made before the params exist, so all params are taken as zeros. If the
        cell's initial carry is learned, pass None as the carry instead.

        Args:
            batch_size: B, or the batch shape.
            hidden_size: H; None is the `hidden` of an instance.
            make: a factory; None is that of an instance, and `jaxrnn.gru` where it is
                called on the class.
            dtype: of the inputs; None is JAX's default float.

        Raises:
            ValueError: for what is no batch shape, no width, or no factory of cells.
        """
        batch = batch_size if isinstance(batch_size, tuple | list) else (batch_size,)
        if not all(map(_is_size, batch)):
            raise ValueError(
                "batch_size: expected an integer or a tuple of them, from 0, got "
                f"{batch_size!r}."
            )
        hidden = module.hidden if hidden_size is None else hidden_size
        if hidden is None:
            raise ValueError(
                "hidden_size: expected a positive integer, got None. Give it here, or "
                "make the module with ScannedRNN(hidden=...)."
            )
        cell = _modules.made(module.make if make is None else make, hidden)
        return _before_params(cell, tuple(batch), hidden, dtype)


def _is_size(n: Any) -> bool:
    if isinstance(n, int | np.integer):
        return not isinstance(n, bool) and int(n) >= 0
    return export.is_symbolic_dim(n)


def _before_params(cell: Cell, batch: tuple, features: int, dtype: Any) -> Any:
    """The initial carry for inputs ``[*batch, F]``, with zeros for params."""
    zeros = lambda s: jnp.zeros(s.shape, s.dtype)
    params = jax.tree.map(zeros, _like(cell, features))
    return cell.initial_carry(params, jnp.zeros((*batch, features), dtype))
