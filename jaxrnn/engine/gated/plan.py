"""The numbers of the gated engine that were found by measuring, for each platform."""

from typing import Any, NamedTuple

import jax


class Plan(NamedTuple):
    """What was tuned, where, and how to measure it again.

    `jaxrnn.unroll` takes ``engine=(jaxrnn.engine.gated.engine(plan),)``, so another plan
    can be tried without a change here.

    Fields:
        platform: where it was measured, a `jax.default_backend`.
        command: what measures it.
        few_rows: a step of fewer rows has its inputs projected ahead of the loop.
        large_kernel: so does one whose ``project`` reads at least so many bytes.
        ahead_rows: how many rows are projected at a time then.
        block_bytes: what one block of steps reads in the backward pass, about.
        least_blocks: a sequence of fewer blocks runs as a single one.
    """

    platform: str = "cpu"
    command: str = "python -m benchmarks.plan"
    few_rows: int = 8
    large_kernel: int = 2**19
    ahead_rows: int = 512
    block_bytes: int = 3 * 2**19
    least_blocks: int = 8

    def steps_ahead(self, count: Any, kernel: int) -> int:
        """How many steps' inputs are projected at a time; 1: each in its own step.

        Args:
            count: rows of a step; None if unknown; may be symbolic.
            kernel: bytes of the params that ``project`` reads.
        """
        if not _known(count):
            return 1
        worth = count < self.few_rows or kernel >= self.large_kernel
        return max(1, self.ahead_rows // count) if worth else 1

    def block_size(self, stored: Any, params: int, convolves: bool) -> int:
        """How many steps a block of the backward pass has; 0: no blocks.

        Args:
            stored: bytes that a step stores for it; may be symbolic.
            params: bytes of the params; each block adds to their gradients.
            convolves: whether a gradient of theirs is a convolution, which inside of a
                loop takes 30 times as long on a CPU.
        """
        few = _known(stored) and params <= 2 * self.block_bytes and not convolves
        return self.block_bytes // stored if few else 0


# A platform that nobody has measured gets the plan of the CPU.
PLANS = {"cpu": Plan()}


def _known(size: Any) -> bool:
    """Whether it is a positive number; under export a size may be symbolic."""
    return isinstance(size, int) and size > 0


def size_in_bytes(tree: Any) -> int:
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree))
