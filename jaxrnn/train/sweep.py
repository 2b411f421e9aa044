"""Training a population: `sweep`, the loop of `fit` over many models at once."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn._functions import check_function
from jaxrnn.train import identity, parallel
from jaxrnn.train.batches import batch_axis_of, check_rows, check_valid
from jaxrnn.train.checks import check_count
from jaxrnn.train.feed import source_of
from jaxrnn.train.hooks import Hook
from jaxrnn.train.loop import Plan
from jaxrnn.train.population import programs
from jaxrnn.train.processes import to_host
from jaxrnn.train.run import train
from jaxrnn.train.search import checked
from jaxrnn.train.swept import Swept, joined


def sweep(
    trial: Callable,
    hypers: Mapping[str, Any],
    data: Callable | Iterable,
    *,
    steps: int,
    steps_per_call: int = 50,
    log_every: int | None = None,
    valid: Iterable | None = None,
    valid_every: int | None = None,
    patience: int | None = None,
    folder: str | os.PathLike | None = None,
    save_every: int | None = None,
    keep: int = 3,
    accumulate: int = 1,
    batch_axis: Any = None,
    at_a_time: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
    max_nonfinite: int = 5,
    update_shared: Callable | None = None,
    hooks: Sequence[Hook] = (),
    callback: Callable | None = None,
    progress: bool = True,
) -> Swept:
    """Trains one model for each entry of `hypers`, all at once by `vmap`.

    Each member gets the result that `fit` would give for its own trial. A member stops
    after `max_nonfinite` skipped updates in a row, or after `patience` validations without
    improvement. Its state then stays unchanged, and the other members continue.

    Args:
        trial: ``(hyper) -> Trial``, where `hyper` has a traced scalar for each name:
            learning rate, forget bias, seed, or anything that a cell, a loss or an
            optimizer closes over. Shapes must not depend on them.
        hypers: name -> [N]; `grid` and `random_search` make them.
        data: ``(key) -> batch``: each member draws with its own state's key, and members
            with the same key share one draw. Or an iterable of batches that all share.
        steps, steps_per_call, log_every, save_every, keep, callback, progress: see `fit`.
            In a row each number is a list with one entry per member, and "members" is
            the range of members, its end excluded.
        valid, valid_every, patience: see `fit`; each member has its own best.
        folder: see `fit`. Each slice of the population has a folder in it,
            ``members-0-8`` for the first eight, and a sweep that was killed goes on in
            the slice where it was.
        accumulate, batch_axis, update_shared: see `make_step`.
        at_a_time: how many members are trained together; None: all. The last slice is
            padded with copies, so that all slices use one program.
        mesh: of one axis, over which members are split; None: one device.
        max_nonfinite: see above.
        hooks: see `fit`. A hook is called for each slice of the population, with the state
            of its members, [members, ...]. True ends the slice.

    Returns:
        `Swept`, arrays on the host.

    Raises:
        ValueError: for hyperparameters that are no numbers or of unlike lengths, a trial
            that is none, or a folder of another sweep.

    Example:
        >>> import jax, jaxrnn, optax
        >>> from jaxrnn import train
        >>> def draw(key):
        ...     return jax.random.normal(key, (5, 8, 1))
        >>> def trial(hyper):
        ...     cell = jaxrnn.lstm(4, forget_bias=hyper["forget_bias"])
        ...     def loss(params, carry, xs, key):
        ...         carry_end, _ = jaxrnn.unroll(cell, params, carry, xs)
        ...         errors = carry_end.h.sum(-1) - xs.mean((0, 2))
        ...         return None, {"loss": train.mean(errors**2)}
        ...     optimizer = optax.adam(hyper["rate"])
        ...     params = cell.init(jax.random.key(hyper["seed"]), features=1)
        ...     return train.Trial(loss, optimizer, train.init(params, optimizer, key))
        >>> key = jax.random.key(0)
        >>> hypers = train.grid(rate=[1e-4, 1e-2], forget_bias=[0.0, 2.0], seed=range(2))
        >>> swept = train.sweep(trial, hypers, draw, steps=100, progress=False)
        >>> swept.means["loss"].shape, float(swept.hypers["rate"][swept.order()[0]])
        ((8, 2), 0.01)
    """
    plan = Plan.checked(
        steps=steps,
        steps_per_call=steps_per_call,
        log_every=log_every,
        save_every=save_every,
        valid_every=valid_every,
        patience=patience,
        keep=keep,
        max_nonfinite=max_nonfinite,
    )
    _check(trial, data, valid, accumulate, batch_axis, mesh)
    hypers = checked(hypers)
    slices = _slices(hypers, at_a_time, parallel.size(mesh), data)
    folders = _folders(folder, slices)
    options = dict(accumulate=accumulate, batch_axis=batch_axis_of(data, batch_axis))
    options |= dict(update_shared=update_shared)
    compiled = programs(trial, hypers, data, plan, mesh, **options)
    runs = []
    for members, path in zip(slices, folders, strict=True):
        source = source_of(data, steps_per_call, 0, None)
        state = compiled.start(members.hypers)
        run = train(
            compiled.bound(members.hypers, valid, (members.start, members.end)),
            source,
            state,
            plan,
            folder=path,
            description=members.describe(trial, state, source),
            hooks=hooks,
            callback=callback,
            progress=progress,
        )
        runs.append((run, to_host((compiled.whole(run.state), *run.best))))
    return joined(hypers, runs, like=compiled.whole(run.state))


class _Slice(NamedTuple):
    """Members that are trained together: from `start` to `end`, that one left out.

    `hypers` are theirs, [members]; copies of the last one fill a short slice.
    """

    start: int
    end: int
    hypers: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        return f"members-{self.start}-{self.end}"

    def describe(self, trial: Callable, state: Any, source: Any) -> dict:
        """What the run of these members is."""
        count = self.end - self.start
        hypers = {name: values[:count].tolist() for name, values in self.hypers.items()}
        return identity.describe(trial, state, source.kind, hypers=hypers)


def _check(trial, data, valid, accumulate, batch_axis, mesh) -> None:
    parallel.check_mesh(mesh)
    check_count("accumulate", accumulate)
    if valid is not None:
        check_valid(valid)
    check_function("trial", trial, "hyper")
    check_rows(data, batch_axis_of(data, batch_axis), accumulate)


def _slices(hypers: dict, at_a_time: int | None, devices: int, data: Any) -> list:
    """All members, cut into slices of one size that the devices divide."""
    total = len(next(iter(hypers.values())))
    size = total if at_a_time is None else at_a_time
    check_count("at_a_time", size)
    size = min(size, total)
    size += -size % devices
    slices = []
    for start in range(0, total, size):
        chosen = np.minimum(np.arange(start, start + size), total - 1)
        some = {name: values[chosen] for name, values in hypers.items()}
        slices.append(_Slice(start, min(start + size, total), some))
    if len(slices) > 1 and hasattr(data, "__next__"):
        raise ValueError(
            f"data: expected batches that every slice of {size} members can go "
            "through anew, got an iterator. Give a list or a grain dataset."
        )
    return slices


def _folders(folder: Any, slices: list[_Slice]) -> list[Path | None]:
    """That of each slice, in the folder of the sweep, which must hold no other's."""
    if folder is None:
        return [None] * len(slices)
    path, names = Path(folder).expanduser(), [some.name for some in slices]
    if path.is_dir():
        others = {p.name for p in path.glob("members-*")} - set(names)
        others |= {p.name for p in path.glob("checkpoints")}
        if others:
            raise ValueError(
                f"folder: {path} holds another run: expected {', '.join(names)} or "
                f"nothing, got {', '.join(sorted(others))}. Give the same hypers and "
                "at_a_time, or use another folder."
            )
    return [path / name for name in names]
