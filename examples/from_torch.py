"""A torch LSTM moves to JAX in the middle of its training, trains there, and moves back.

    pip install torch
    python examples/from_torch.py        10 seconds

Two layers of `torch.nn.LSTM` and a `torch.nn.Linear` learn which of four symbols occurs
most often. The network is trained in torch, then in JAX from the same weights, and goes
back to torch. It is tested on the same sequences before and after each move.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import rich.table
import tyro

from jaxrnn import convert, train, unroll


@dataclass(frozen=True)
class Settings:
    symbols: int = 4
    length: int = 40
    hidden: int = 32
    batch: int = 64
    torch_steps: int = 150
    jax_steps: int = 300
    rate: float = 3e-3
    seed: int = 0


def sequences(rng, settings):
    """One-hot symbols [T, B, S], and the most frequent one of each row [B]."""
    rows = rng.integers(settings.symbols, size=(settings.length, settings.batch))
    xs = np.eye(settings.symbols, dtype=np.float32)[rows]
    return xs, xs.sum(0).argmax(-1)


def build(torch, settings):
    torch.manual_seed(settings.seed)
    torch.set_num_threads(1)  # in small matrices threads only wait for each other
    sizes = settings.symbols, settings.hidden
    lstm = torch.nn.LSTM(*sizes, num_layers=2)
    return torch.nn.ModuleDict(dict(lstm=lstm, out=torch.nn.Linear(*sizes[::-1])))


def torch_logits(torch, network, xs):
    hs, _ = network["lstm"](torch.from_numpy(xs))
    return network["out"](hs[-1])


def torch_learns(torch, network, rng, settings):
    adam = torch.optim.Adam(network.parameters(), lr=settings.rate)
    for _ in range(settings.torch_steps):
        xs, most = sequences(rng, settings)
        logits = torch_logits(torch, network, xs)
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(most))
        adam.zero_grad()
        loss.backward()
        adam.step()


def to_jax(network):
    """The cell and all params; a Linear's weight is [out, in] there."""
    cell, params = convert.from_torch(network["lstm"].state_dict())
    weight, bias = (p.detach().numpy() for p in network["out"].parameters())
    return cell, {
        "cell": params,
        "weights": jnp.array(weight.T),
        "bias": jnp.array(bias),
    }


def to_torch(torch, network, cell, params):
    arrays = convert.to_torch(cell, params["cell"], prefix="lstm.")
    arrays["out.weight"] = np.array(params["weights"].T)
    arrays["out.bias"] = np.array(params["bias"])
    network.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})


def jax_logits(cell, params, xs):
    _, hs = unroll(cell, params["cell"], None, xs)
    return hs[-1] @ params["weights"] + params["bias"]


def jax_learns(cell, params, rng, settings):
    def loss(params, carry, batch, key):
        logits = jax_logits(cell, params, batch[0])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch[1])
        return None, {"loss": train.mean(losses)}

    adam = optax.adam(settings.rate)
    state = train.init(params, adam, jax.random.key(settings.seed))
    data = (sequences(rng, settings) for _ in range(settings.jax_steps))
    return train.fit(loss, adam, state, data, steps=settings.jax_steps).params


def test(logits, most):
    """Nats and the share of rows that are right, from logits in NumPy."""
    logits = np.asarray(logits, np.float64)
    nats = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(most)), most]
    return nats.mean(), (logits.argmax(-1) == most).mean()


def run(settings) -> list[dict[str, Any]]:
    """What each network answers on the same sequences, in the order of the moves."""
    try:
        import torch
    except ImportError:
        raise SystemExit("This program needs torch: pip install torch") from None
    rng = np.random.default_rng(settings.seed)
    xs, most = sequences(np.random.default_rng(settings.seed + 1), settings)
    network, journey = build(torch, settings), []

    def stop(where, updates, logits):
        nats, right = test(logits, most)
        journey.append(dict(where=where, logits=np.asarray(logits), right=right))
        table.add_row(where, f"{updates}", f"{nats:.6f}", f"{right:.0%}")

    def in_torch():
        with torch.no_grad():
            return torch_logits(torch, network, xs).numpy()

    table = rich.table.Table("the network", "updates", "nats", "right")
    stop("torch, as it begins", 0, in_torch())
    torch_learns(torch, network, rng, settings)
    stop("torch, trained", settings.torch_steps, in_torch())
    cell, params = to_jax(network)
    in_jax = jax.jit(partial(jax_logits, cell))
    stop("JAX, with torch's weights", settings.torch_steps, in_jax(params, xs))
    params = jax_learns(cell, params, rng, settings)
    updates = settings.torch_steps + settings.jax_steps
    stop("JAX, trained further", updates, in_jax(params, xs))
    to_torch(torch, network, cell, params)
    stop("torch, with JAX's weights", updates, in_torch())
    rich.print(table)
    return journey


if __name__ == "__main__":
    run(tyro.cli(Settings, description=__doc__))
