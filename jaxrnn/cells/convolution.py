"""What cells of images share: the convolutions, and how they are drawn."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.cells.options import Draw, check_features, check_width, draw_bias
from jaxrnn.initializers import per_gate

LETTERS = "XYZ"  # of at most three spatial dimensions


class Convolution(NamedTuple):
    """A convolution of images of n dimensions, ``[*batch, *space, C]``.

    Fields:
        strides: n integers.
        padding: "SAME", "VALID" or n pairs of integers.
        dilation: n integers: how far apart what a kernel reads is.
    """

    strides: tuple[int, ...]
    padding: Any
    dilation: tuple[int, ...]

    @property
    def ndim(self) -> int:
        return len(self.strides)

    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """``x [*batch, *space, C]`` with the kernel ``w [*kernel, C, D]``."""
        batch, image = x.shape[: -self.ndim - 1], x.shape[-self.ndim - 1 :]
        space, dtype = LETTERS[: self.ndim], jnp.result_type(x, w)
        rows = x if len(batch) == 1 else x.reshape(math.prod(batch), *image)
        out = lax.conv_general_dilated(
            rows.astype(dtype),
            w.astype(dtype),
            self.strides,
            self.padding,
            rhs_dilation=self.dilation,
            dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
        )
        return out if len(batch) == 1 else out.reshape(*batch, *out.shape[1:])


class Images(NamedTuple):
    """The convolutions of a cell of images.

    Fields:
        of_input: whose strides, padding and dilation are options.
        of_memory: which keeps the size of an image.
        kernel, recurrent_kernel: the sizes of their kernels, n integers each.
    """

    of_input: Convolution
    of_memory: Convolution
    kernel: tuple[int, ...]
    recurrent_kernel: tuple[int, ...]

    def spec(self) -> dict:
        """The options for a `Cell.spec`; what is usual goes unsaid."""
        said = dict(
            recurrent_kernel=self.recurrent_kernel,
            strides=self.of_input.strides,
            padding=self.of_input.padding,
            dilation=self.of_input.dilation,
        )
        usual = (self.kernel, (1,) * len(self.kernel), "SAME", (1,) * len(self.kernel))
        pairs = zip(said.items(), usual, strict=True)
        return dict(kernel=self.kernel) | {n: v for (n, v), u in pairs if v != u}

    def draw(self, gates, draw: Draw, key, features, hidden, **start) -> tuple:
        """``wx [*kernel, C, G H], wh [*recurrent_kernel, H, G H], b [G H]``."""
        kx, kh, kb = jax.random.split(key, 3)
        features, n = check_features(features), len(gates)
        x, h = (
            (*self.kernel, features, hidden),
            (*self.recurrent_kernel, hidden, hidden),
        )
        return (
            per_gate(draw.kernel_init, n, kx, x, draw.dtype),
            per_gate(draw.recurrent_init, n, kh, h, draw.dtype),
            draw_bias(gates, draw.bias_init, kb, hidden, draw.dtype, **start),
        )

    def zeros(self, x: Any, hidden: int) -> jax.Array:
        """What the memory of an ``x [*batch, *space, C]`` starts from."""
        n = self.of_input.ndim
        shape = getattr(x, "shape", None)
        if shape is None or not jnp.issubdtype(x.dtype, jnp.floating):
            kind = getattr(x, "dtype", type(x).__name__)
            raise ValueError(f"x: expected floating images, got {kind}.")
        if len(shape) < n + 1:
            axes = ", ".join("HWD"[:n])
            raise ValueError(
                f"x: expected [*batch, {axes}, C] for a kernel of {n} dimensions, got "
                f"{list(shape)}. Add an axis for the channels or for the space."
            )
        image = jax.ShapeDtypeStruct((1, *shape[-n - 1 :]), jnp.float32)
        kernel = (*self.kernel, shape[-1], 1)
        kernel = jax.ShapeDtypeStruct(kernel, jnp.float32)
        out = jax.eval_shape(lambda x, w: self.of_input(x, w), image, kernel)
        space = out.shape[1:-1]
        if 0 in space and 0 not in shape[-n - 1 : -1]:
            raise ValueError(
                f"x: expected images that a kernel {list(self.kernel)} fits into, got "
                f'{list(shape[-n - 1 : -1])}. padding="SAME" keeps their size.'
            )
        return jnp.zeros((*shape[: -n - 1], *space, hidden))


def images(
    kernel: Any, recurrent_kernel: Any, strides: Any, padding: Any, dilation: Any
) -> Images:
    """The convolutions of a cell by its options.

    Raises ValueError for a kernel that is no integers of 1 to 3 dimensions, and for what
    does not fit it.
    """
    sizes = kernel if isinstance(kernel, tuple | list) else (kernel,)
    if not 1 <= len(sizes) <= 3:
        raise ValueError(f"kernel: expected 1 to 3 dimensions, got {kernel!r}.")
    n = len(sizes)
    kernel = _each("kernel", sizes, n)
    ones = (1,) * n
    strides, dilation = _each("strides", strides, n), _each("dilation", dilation, n)
    memory = kernel if recurrent_kernel is None else recurrent_kernel
    return Images(
        of_input=Convolution(strides, _padding(padding, n), dilation),
        of_memory=Convolution(ones, "SAME", ones),
        kernel=kernel,
        recurrent_kernel=_each("recurrent_kernel", memory, n),
    )


def _each(name: str, value: Any, n: int) -> tuple[int, ...]:
    """A positive integer for each of n dimensions, from one or from n."""
    values = value if isinstance(value, tuple | list) else (value,) * n
    if len(values) != n:
        raise ValueError(
            f"{name}: expected an integer or {n}, as many as the kernel has dimensions, "
            f"got {value!r}."
        )
    return tuple(check_width(name, one) for one in values)


def _padding(padding: Any, n: int) -> Any:
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID"):
        return padding.upper()
    pairs = padding if isinstance(padding, tuple | list) else ()
    if len(pairs) != n or not all(map(_is_pair, pairs)):
        raise ValueError(
            f'padding: expected "SAME", "VALID" or {n} pairs of integers, got {padding!r}.'
        )
    return tuple((int(low), int(high)) for low, high in pairs)


def _is_pair(value: Any) -> bool:
    integers = isinstance(value, tuple | list) and len(value) == 2
    return integers and all(isinstance(one, int | np.integer) for one in value)
