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

import jaxrnn
from jaxrnn import modules
from jaxrnn.cell import Cell
from jaxrnn.initializers import glorot_uniform, orthogonal


def _box(array: jax.Array, names: tuple | None) -> Any:
    return nn.Partitioned(array, names) if names else array


class _Recurrent(nn.Module, kw_only=True):
    """What every module here does with its ``cell``."""

    dropout: float = 0.0
    time_major: bool = False
    sharding: Mapping[str, tuple] | None = None

    @nn.compact
    def __call__(
        self,
        carry: Any,
        xs: Any,
        *,
        lengths: Any = None,
        mask: Any = None,
        resets: Any = None,
        reverse: bool = False,
        remat: int | str | None = None,
        engine: str = "auto",
        deterministic: bool | None = None,
    ) -> tuple[Any, Any]:
        """The cell over time: see `jaxrnn.unroll`, whose every option is taken.

        Args:
            carry: the carry that comes in, or None for the initial one.
            xs: ``[*batch, T, F]``.
            lengths: int ``[*batch]``.
            mask, resets: bool ``[*batch, T]``.
            reverse, remat, engine: as `jaxrnn.unroll` takes them.
            deterministic: whether to leave dropout out; must be said where there is
                dropout, which draws from the stream ``dropout``.

        Returns:
            ``(carry, hs)``: the carry after the last step, and ``hs [*batch, T, H]``.

        Raises:
            ValueError: as `jaxrnn.unroll` does.
        """
        cell = self.cell
        modules.check_module(cell, self.dropout)
        init = lambda key: modules.annotate(
            cell.init(key, modules.features(xs)), self.sharding, _box
        )
        between = None
        if self.dropout:
            if deterministic is None:
                raise ValueError(
                    "deterministic: expected True or False where there is dropout, "
                    "got None."
                )
            drop = nn.Dropout(self.dropout)
            between = lambda hs: drop(hs, deterministic=deterministic)
        return modules.run(
            cell,
            self.param("cell", init),
            carry,
            xs,
            time_major=self.time_major,
            between=between,
            lengths=lengths,
            mask=mask,
            resets=resets,
            reverse=reverse,
            remat=remat,
            engine=engine,
        )


class RNN(_Recurrent):
    """Any cell, stack or bidirectional composition as a module.

    Its one parameter, ``cell``, is what ``cell.init`` returns, so that
    ``variables["params"]["cell"]`` goes into `jaxrnn.unroll` and ``cell.step`` as it is.

    Attributes:
        cell: a `jaxrnn.Cell`.
        dropout: the rate of `flax.linen.Dropout` between the layers of a `stack`.
        time_major: whether time is axis 0 of xs, mask, resets and outputs.
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
        cell = self._make(
            kernel_init=self.kernel_init,
            recurrent_init=self.recurrent_init,
            bias_init=self.bias_init,
            dtype=self.dtype,
        )
        return modules.layers(cell, self.num_layers, self.bidirectional)


class SimpleRNN(_Layers):
    """Layers of `jaxrnn.simple_rnn`; the carry is a tuple with one entry a layer.

    Attributes:
        features: H.
        activation, kernel_init, recurrent_init, bias_init, dtype: see
            `jaxrnn.simple_rnn`.
        num_layers: how many, on top of each other.
        bidirectional: whether each reads both ways, giving ``[*batch, T, 2 H]``.
        dropout, time_major, sharding: see `RNN`.

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

    def _make(self, **options):
        return jaxrnn.simple_rnn(self.features, activation=self.activation, **options)


class LSTM(_Layers):
    """Layers of `jaxrnn.lstm`; the carry is a tuple with one entry a layer.

    Attributes:
        features: H.
        forget_bias, kernel_init, recurrent_init, bias_init, dtype: see
            `jaxrnn.lstm`.
        num_layers: how many, on top of each other.
        bidirectional: whether each reads both ways, giving ``[*batch, T, 2 H]``.
        dropout, time_major, sharding: see `RNN`.

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

    def _make(self, **options):
        return jaxrnn.lstm(self.features, forget_bias=self.forget_bias, **options)


class GRU(_Layers):
    """Layers of `jaxrnn.gru`; the carry is a tuple with one entry a layer.

    Attributes:
        features: H.
        update_bias, kernel_init, recurrent_init, bias_init, dtype: see
            `jaxrnn.gru`.
        num_layers: how many, on top of each other.
        bidirectional: whether each reads both ways, giving ``[*batch, T, 2 H]``.
        dropout, time_major, sharding: see `RNN`.

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

    def _make(self, **options):
        return jaxrnn.gru(self.features, update_bias=self.update_bias, **options)


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
        batch_size: int, hidden_size: int, make: Callable[[int], Cell] = jaxrnn.gru
    ) -> Any:
        """The carry of `make(hidden_size)` for `batch_size` rows, before any params.

        Args:
            batch_size: B.
            hidden_size: H.
            make: the factory that the module has.
        """
        cell = make(hidden_size)

        def start():
            params = cell.init(jax.random.key(0), 1)
            return cell.initial_carry(params, jnp.zeros((batch_size, 1)))

        zeros = lambda s: jnp.zeros(s.shape, s.dtype)
        return jax.tree.map(zeros, jax.eval_shape(start))
