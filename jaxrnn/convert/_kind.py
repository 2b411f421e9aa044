"""What the table of kinds is made of: a kind of cell, its fields, a library's layout."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxrnn.cell import Cell


class Field(NamedTuple):
    """A field of params beyond ``wx [F, G H]``, ``wh [H, G H]`` and ``b [G H]``.

    (Of cells of images, ``wx [*kernel, F, G H]`` and ``wh [*kernel, H, G H]``.)

    Fields:
        shape: ``(sizes) -> shape``, of `Kind.sizes`.
        required: whether it tells the kind from others; else it is zeros where a library
            has none.
        title: what errors call it.
        gate: the gate whose second bias it is, the one on h; None for any other field.
    """

    shape: Callable[[dict], tuple]
    required: bool
    title: str
    gate: str | None = None


class Layout(NamedTuple):
    """How a library lays out the weights of one kind of cell.

    Fields:
        cell: the library's name of the cell; for Haiku that of its modules.
        gates: the order of the library's gates, in the letters of `Kind.gates`.
        tensors: field of the params -> the library's name of the array, for fields that
            have an array of their own there; torch and Equinox transpose matrices.
        form: where a library has several, which arrays there are. Flax: "gates", a
            Dense for each gate, or "sides", one for x and one for h. Haiku: "joint",
            one matrix on ``[x, h]``, or "sides".
        bias_on: the side that has the bias in Flax, "i" for x or "h".
        second_bias: whether a gate's second bias (`Field.gate`) has its place among the
            library's biases: in torch's second one, in Keras's second row, in Linen's
            Dense on h.
        added: gate -> what the library adds to its bias at run time.
        negated: gates that the library writes as one minus ours.
        letters: gate -> the library's letter, where it is another.
    """

    cell: str
    gates: str
    tensors: Mapping[str, str] = {}
    form: str = ""
    bias_on: str = ""
    second_bias: bool = False
    added: Mapping[str, float] = {}
    negated: str = ""
    letters: Mapping[str, str] = {}


class Kind(NamedTuple):
    """A kind of cell.

    Fields:
        name: of its factory.
        title: what errors call it.
        params: the type of its params: wx, wh, b and the `fields`, in this order. No two
            kinds share one.
        factory: what makes the cell.
        gates: a letter each, as they are packed.
        layouts: library -> `Layout`; a library that is missing lacks the kind.
        lacks: library -> why it has no such cell, where there is more to say than that.
        fields: name -> `Field` of the params beyond wx, wh and b.
        sizes: ``(name -> array of the params) -> name -> value`` of the factory's
            arguments that shapes tell; "hidden" is one of them.
        untold: the factory's arguments that no weights tell, such as ``activation``.
        options: name -> value of the factory's other arguments that make it this kind.
        images: whether its kernels are those of convolutions.
    """

    name: str
    title: str
    params: type
    factory: Callable[..., Cell]
    gates: str
    layouts: Mapping[str, Layout]
    lacks: Mapping[str, str] = {}
    fields: Mapping[str, Field] = {}
    sizes: Callable[[Mapping], dict] = lambda weights: {"hidden": len(weights["wh"])}
    untold: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}
    images: bool = False

    def make(self, weights: Mapping, untold: Mapping) -> Cell:
        """The cell of weights that fit, with what they do not tell."""
        told = {name: untold[name] for name in self.untold if name in untold}
        return self.factory(**self.sizes(weights), **self.options, **told)

    def makes(self, factory: Callable | None, arguments: Mapping) -> bool:
        """Whether what a factory makes of these arguments is of this kind."""
        same = (arguments[name] == value for name, value in self.options.items())
        return factory is self.factory and all(same)

    def fits(self, wh: np.ndarray, fields: Mapping) -> bool:
        """Whether a recurrent kernel and these fields are those of this kind."""
        required = {name for name, field in self.fields.items() if field.required}
        if not required <= set(fields) <= set(self.fields):
            return False
        if not (2 < wh.ndim < 6 if self.images else wh.ndim == 2):
            return False
        if any(np.ndim(a) == 0 for a in fields.values()):
            return False
        return 0 < self.width({"wx": wh, "wh": wh, **fields}) == wh.shape[-1]

    def width(self, weights: Mapping) -> int:
        """G H."""
        return len(self.gates) * self.sizes(weights)["hidden"]

    def shapes(self, weights: Mapping) -> dict[str, tuple]:
        """The shapes of b and of the fields, for a recurrent kernel that fits."""
        sizes = self.sizes(weights)
        shapes = {name: field.shape(sizes) for name, field in self.fields.items()}
        return {"b": (self.width(weights),), **shapes}

    def second_biases(self, layout: Layout) -> dict[str, str]:
        """Gate -> the field that is its second bias, where a library splits it off."""
        if not layout.second_bias:
            return {}
        return {f.gate: name for name, f in self.fields.items() if f.gate is not None}
