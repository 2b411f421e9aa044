"""Flax Linen modules around jaxrnn's cells: parameters are kept, `unroll` does the rest.

Batch-major as Flax is, ``xs [*batch, T, F]``; otherwise the order is the library's own:
carry, inputs go in; carry, outputs come out.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import serialization
from flax.core import FrozenDict

import jaxrnn
from jaxrnn import modules
from jaxrnn.cell import Cell
from jaxrnn.initializers import glorot_uniform, orthogonal


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
    like = jax.eval_shape(lambda: cell.init(jax.random.key(0), features))
    return serialization.from_state_dict(like, tree)


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
            deterministic: whether to leave dropout out; where there is dropout it must
                be said here or as an attribute. Dropout draws from the stream
                ``dropout``.

        Returns:
            ``(carry, hs)``: the carry after the last step, and ``hs [*batch, T, H]``.

        Raises:
            ValueError: as `jaxrnn.unroll` does.
        """
        cell, features = self.cell, modules.features(xs)
        modules.check_module(cell, self.dropout)

        def init(key):
            return modules.annotate(
                to_tree(cell.init(key, features)), self.sharding, _box
            )

        between = None
        if self.dropout:
            if deterministic is None and self.deterministic is None:
                raise ValueError(
                    "deterministic: expected True or False where there is dropout, "
                    "got None."
                )
            drop = nn.Dropout(self.dropout, deterministic=self.deterministic)
            between = lambda hs: drop(hs, deterministic=deterministic)
        return modules.run(
            cell,
            from_tree(cell, self.param("cell", init), features),
            carry,
            xs,
            time_major=self.time_major,
            between=between,
            lengths=lengths,
            mask=mask,
            resets=resets,
            reverse=self.reverse,
            remat=self.remat,
            engine=self.engine,
        )


class RNN(_Recurrent):
    """Any cell, stack or bidirectional composition as a module.

    Its params lie under ``cell``, as nested dicts of names; `from_tree` makes of them
    what `jaxrnn.unroll` and ``cell.step`` take, and `to_tree` goes the other way.

    Attributes:
        cell: a `jaxrnn.Cell`.
        dropout: the rate of `flax.linen.Dropout` between the layers of a `stack`.
        deterministic: whether to leave dropout out, unless the call says it.
        time_major: whether time is axis 0 of xs, mask, resets and outputs.
        reverse, remat, engine: as `jaxrnn.unroll` takes them.
        sharding: field name of the params -> its dimensions' mesh axis names, such as
            ``{"wx": (None, "model")}``: `flax.linen.Partitioned`.

    Raises:
        ValueError: for what is no cell, a rate outside of [0, 1), dropout where there
            is no stack, or sharding that names no field.

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
        return modules.layers(
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

    _make = staticmethod(jaxrnn.simple_rnn)

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

    _make = staticmethod(jaxrnn.lstm)

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

    _make = staticmethod(jaxrnn.gru)

    def _own(self) -> dict:
        return dict(update_bias=self.update_bias)


class ScannedRNN(nn.Module):
    """A cell that is reset where an episode ends, as reinforcement learning code has it.

    The interface of the ``ScannedRNN`` that PureJaxRL and its descendants copy: time
    first, ``(inputs, resets)`` in, and a carry that can be made before any params.

    Attributes:
        make: a factory such as `jaxrnn.gru` or `jaxrnn.lstm`.
        hidden: H; None is as wide as the inputs.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxrnn.linen import ScannedRNN
        >>> carry = ScannedRNN.initialize_carry(2, 3)
        >>> ins, dones = jnp.ones((6, 2, 3)), jnp.zeros((6, 2), bool)
        >>> variables = ScannedRNN().init(jax.random.key(0), carry, (ins, dones))
        >>> carry, hs = ScannedRNN().apply(variables, carry, (ins, dones))
        >>> carry.shape, hs.shape
        ((2, 3), (6, 2, 3))
    """

    make: Callable[[int], Cell] = jaxrnn.gru
    hidden: int | None = None

    @nn.compact
    def __call__(self, carry: Any, x: tuple) -> tuple[Any, Any]:
        """The cell over time, reset to its initial carry *before* ``inputs[t]``.

        Args:
            carry: from `initialize_carry`, or None.
            x: ``(inputs [T, B, F], resets bool [T, B])``.

        Returns:
            ``(carry, hs)`` with ``hs [T, B, H]``.

        Raises:
            ValueError: for resets that are no bools or of another shape, or a carry
                that does not fit.
        """
        inputs, resets = x
        hidden = inputs.shape[-1] if self.hidden is None else self.hidden
        rnn = RNN(self.make(hidden), time_major=True, name="rnn")
        return rnn(carry, inputs, resets=resets)

    @staticmethod
    def initialize_carry(
        batch_size: int,
        hidden_size: int,
        make: Callable[[int], Cell] = jaxrnn.gru,
        dtype: Any = None,
    ) -> Any:
        """The initial carry of ``make(hidden_size)`` for `batch_size` rows.

        Made before there are params, so params are taken as zeros: for a cell whose
        initial carry is learned start from None.

        Args:
            batch_size: B.
            hidden_size: H.
            make: the factory that the module has.
            dtype: of the inputs; None is JAX's default float.
        """
        cell = make(hidden_size)
        like = jax.eval_shape(lambda: cell.init(jax.random.key(0), hidden_size))
        params = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), like)
        return cell.initial_carry(params, jnp.zeros((batch_size, hidden_size), dtype))
