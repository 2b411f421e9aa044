"""Flax NNX modules around jaxrnn's cells: they hold params and call `unroll`.

They are batch-major as Flax is: ``xs [*batch, T, F]``. A call takes the carry and the
inputs and returns the carry and the outputs, as everywhere in the library.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx import reprlib, summary
from jax.core import Tracer

from jaxrnn import _modules
from jaxrnn._tree import check_like
from jaxrnn.cell import Cell
from jaxrnn.cells.gru import gru
from jaxrnn.cells.lstm import lstm
from jaxrnn.cells.simple import simple_rnn
from jaxrnn.noise import is_noisy


class RNN(nnx.Module):
    """Any cell, stack or bidirectional composition as a module.

    Args:
        cell: a `jaxrnn.Cell`.
        in_features: F.
        dropout: the rate of `jaxrnn.noise.dropout` between the layers of a `stack`;
            `eval()` switches it off.
        time_major: whether time is axis 0 of xs, mask, resets and outputs.
        sharding: field name of the params -> its dimensions' mesh axis names, such as
            ``{"wx": (None, "model")}``: Flax's ``out_sharding``.
        rngs: its stream ``params`` draws the params, ``dropout`` the dropout and the
            noise of the cell.

    Raises:
        ValueError: if cell is no Cell, dropout is not in [0, 1) or the cell no stack,
            sharding names no field, or rngs is no `flax.nnx.Rngs`.

    Example:
        >>> import jax.numpy as jnp, jaxrnn, jaxrnn.nnx
        >>> from flax import nnx
        >>> rnn = jaxrnn.nnx.RNN(jaxrnn.gru(4), 3, rngs=nnx.Rngs(0))
        >>> carry, hs = rnn(None, jnp.ones((2, 6, 3)), lengths=[6, 4])
        >>> carry.shape, hs.shape
        ((2, 4), (2, 6, 4))
        >>> carry, h = rnn.cell.step(rnn.params, carry, jnp.ones((2, 3)))  # one step
    """

    def __init__(
        self,
        cell: Cell,
        in_features: int,
        *,
        dropout: float = 0.0,
        time_major: bool = False,
        sharding: Mapping[str, tuple] | None = None,
        rngs: nnx.Rngs,
    ):
        _modules.check_module(cell, dropout)
        if not isinstance(rngs, nnx.Rngs):
            raise ValueError(
                f"rngs: expected flax.nnx.Rngs, got {type(rngs).__name__}. Give "
                "nnx.Rngs(0), say."
            )
        self.cell = nnx.static(cell)
        self.time_major = time_major
        params = cell.init(rngs.params(), in_features)
        self.weights = nnx.data(_modules.annotate(params, sharding, _param))
        noisy = dropout or is_noisy(cell)
        self.dropout = nnx.Dropout(dropout, rngs=rngs) if noisy else None

    @property
    def params(self) -> Any:
        """The params that the cell's functions take, arrays in place of `nnx.Param`."""
        value = lambda variable: variable.get_value()
        return jax.tree.map(value, self.weights, is_leaf=_is_variable)

    def set_params(self, params: Any) -> None:
        """Replaces the params by copies of these, such as converted ones.

        The copies get the dtypes, the sharding and the Flax metadata of the present
        params. It also works for a module from ``nnx.eval_shape``.

        Args:
            params: as `params` has them; for one layer of a ready module ``(params,)``.

        Raises:
            ValueError: for params of another structure or shape, or that are not floats.
        """
        remedy = f"Expected are the params of {self.cell!r}."
        check_like("params", params, self.params, remedy, dtypes=False)
        variables = jax.tree.leaves(self.weights, is_leaf=_is_variable)
        for variable, array in zip(variables, jax.tree.leaves(params), strict=True):
            old, new = variable.get_value(), jnp.asarray(array)
            if jnp.issubdtype(new.dtype, jnp.floating) != jnp.issubdtype(
                old.dtype, jnp.floating
            ):
                raise ValueError(
                    f"params: expected {old.dtype}, got {new.dtype}. {remedy}"
                )
            new = jnp.array(new, dtype=old.dtype, copy=True)
            if isinstance(old, jax.Array) and not _traced(old, new):
                new = jax.device_put(new, old.sharding)
            variable.set_value(new)

    def __nnx_repr__(self) -> Iterator:
        """What print shows: Flax's own lines, the cell and the params by name."""
        for line in super().__nnx_repr__():
            if isinstance(line, reprlib.Attr):
                line = reprlib.Attr(line.key, _named(line.value))
            yield line

    def __treescope_repr__(self, path: Any, render: Callable) -> Any:
        """What `nnx.display` shows: Flax's own lines, the cell by name."""

        def by_name(value, path):
            shown = _Repr(repr(value)) if isinstance(value, Cell) else value
            return render(shown, path=path)

        return super().__treescope_repr__(path, by_name)

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
        key: Any = None,
        engine: Any = "auto",
    ) -> tuple[Any, Any]:
        """The cell over time: see `jaxrnn.unroll`, whose every option is taken.

        Args:
            carry: the carry that comes in, or None for the initial one.
            xs: ``[*batch, T, F]``.
            lengths: int ``[*batch]``.
            mask, resets: bool ``[*batch, T]``.
            reverse, remat, engine: as `jaxrnn.unroll` takes them.
            key: for dropout and the noise of the cell; None: one of the module's stream
                ``dropout``, unless `eval()` switched it off.

        Returns:
            ``(carry, hs)``: the carry after the last step, and ``hs [*batch, T, H]``.

        Raises:
            ValueError: as `jaxrnn.unroll` does.
        """
        rate = 0.0
        if self.dropout is not None and not self.dropout.deterministic:
            rate, stream = self.dropout.rate, self.dropout.rngs
            key = stream() if key is None and stream is not None else key
        return _modules.run(
            self.cell,
            self.params,
            carry,
            xs,
            time_major=self.time_major,
            dropout=rate,
            lengths=lengths,
            mask=mask,
            resets=resets,
            reverse=reverse,
            remat=remat,
            key=key,
            engine=engine,
        )


def _traced(*arrays: Any) -> bool:
    return any(isinstance(a, Tracer) for a in arrays)


def _is_variable(leaf: Any) -> bool:
    return isinstance(leaf, nnx.Variable)


def _param(array: jax.Array, names: tuple | None) -> nnx.Param:
    return nnx.Param(array, out_sharding=names) if names else nnx.Param(array)


class _Repr:
    """Its repr is the text that it was given."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


class _Named(reprlib.Representable):
    """A NamedTuple that Flax prints with the names of its fields."""

    def __init__(self, kind: type, fields: dict):
        self.kind, self.fields = kind, fields

    def __nnx_repr__(self) -> Iterator:
        yield reprlib.Object(type=self.kind)
        for name, value in self.fields.items():
            yield reprlib.Attr(name, _named(value))


def _named(value: Any) -> Any:
    """`value` with what Flax's repr takes for a bare tuple made to show its names."""
    if isinstance(value, Cell):
        return _Repr(repr(value))
    if (fields := _fields(value)) is not None:
        return _Named(type(value), fields)
    return tuple(map(_named, value)) if isinstance(value, tuple) else value


def _fields(value: Any) -> dict | None:
    """The fields of a NamedTuple by name; None for anything else."""
    as_dict = getattr(value, "_asdict", None) if isinstance(value, tuple) else None
    return None if as_dict is None else as_dict()


def _tabulate_named_tuples() -> None:
    """Lets `nnx.tabulate` show a NamedTuple that is inside of a tuple.

    Flax up to 0.12.12 raises a TypeError for it: it takes the NamedTuple for a list,
    whose keys are numbers. So no carry of an LSTM could be shown, neither as input nor
    as output. As dicts they are shown with their names, as Flax shows a NamedTuple
    that is not in a tuple. Nothing that Flax shows by itself is changed.
    """

    def as_dicts(tree):
        tree = tree if (fields := _fields(tree)) is None else fields
        if type(tree) is dict:
            return {k: as_dicts(v) for k, v in tree.items()}
        if type(tree) in (tuple, list):
            return type(tree)(map(as_dicts, tree))
        return tree

    flax_way = getattr(summary, "_maybe_pytree_to_dict", None)
    if flax_way is None or hasattr(flax_way, "__wrapped__"):
        return

    @functools.wraps(flax_way)
    def with_names(pytree):
        return flax_way(as_dicts(pytree))

    summary._maybe_pytree_to_dict = with_names


_tabulate_named_tuples()


class _Layers(RNN):
    """Layers of one kind of cell, which the subclass names."""

    # A leading underscore keeps it from `nnx.tabulate`, which takes every public
    # function of a class for a method, and would put back this one as such.
    _make: Callable

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        time_major: bool = False,
        sharding: Mapping[str, tuple] | None = None,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        super().__init__(
            _modules.layers(
                self._make, hidden_features, num_layers, bidirectional, **options
            ),
            in_features,
            dropout=dropout,
            time_major=time_major,
            sharding=sharding,
            rngs=rngs,
        )


class SimpleRNN(_Layers):
    """Layers of `jaxrnn.simple_rnn`.

    Args:
        in_features: F.
        hidden_features: H.
        num_layers: how many, on top of each other.
        bidirectional: whether each reads both ways, giving ``[*batch, T, 2 H]``.
        dropout, time_major, sharding, rngs: see `RNN`.
        options: those of `jaxrnn.simple_rnn`, such as ``activation="relu"``; ``dtype``
            is that of the params.

    The carry is a tuple with one entry a layer, as that of `jaxrnn.stack`.

    Example:
        >>> import jax.numpy as jnp, jaxrnn.nnx
        >>> from flax import nnx
        >>> rnn = jaxrnn.nnx.SimpleRNN(3, 4, activation="relu", rngs=nnx.Rngs(0))
        >>> (h,), hs = rnn(None, jnp.ones((2, 6, 3)))
        >>> h.shape, hs.shape
        ((2, 4), (2, 6, 4))
    """

    _make = staticmethod(simple_rnn)


class LSTM(_Layers):
    """Layers of `jaxrnn.lstm`.

    Args:
        in_features: F.
        hidden_features: H.
        num_layers: how many, on top of each other.
        bidirectional: whether each reads both ways, giving ``[*batch, T, 2 H]``.
        dropout, time_major, sharding, rngs: see `RNN`.
        options: those of `jaxrnn.lstm`, such as ``forget_bias=2.0``; ``dtype`` is that
            of the params.

    The carry is a tuple with one entry a layer, as that of `jaxrnn.stack`.

    Example:
        >>> import jax.numpy as jnp, jaxrnn.nnx
        >>> from flax import nnx
        >>> rngs = nnx.Rngs(0)
        >>> lstm = jaxrnn.nnx.LSTM(3, 4, num_layers=2, dropout=0.1, rngs=rngs)
        >>> carry, hs = lstm(None, jnp.ones((2, 6, 3)))
        >>> carry[1].c.shape, hs.shape
        ((2, 4), (2, 6, 4))
    """

    _make = staticmethod(lstm)


class GRU(_Layers):
    """Layers of `jaxrnn.gru`.

    Args:
        in_features: F.
        hidden_features: H.
        num_layers: how many, on top of each other.
        bidirectional: whether each reads both ways, giving ``[*batch, T, 2 H]``.
        dropout, time_major, sharding, rngs: see `RNN`.
        options: those of `jaxrnn.gru`, such as ``update_bias=1.0``; ``dtype`` is that
            of the params.

    The carry is a tuple with one entry a layer, as that of `jaxrnn.stack`.

    Example:
        >>> import jax.numpy as jnp, jaxrnn.nnx
        >>> from flax import nnx
        >>> gru = jaxrnn.nnx.GRU(3, 4, bidirectional=True, rngs=nnx.Rngs(0))
        >>> (carry,), hs = gru(None, jnp.ones((2, 6, 3)))
        >>> carry.backward.shape, hs.shape
        ((2, 4), (2, 6, 8))
    """

    _make = staticmethod(gru)
