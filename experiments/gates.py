"""A gate at 0 lets nothing through, a gate at 1 everything."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from experiments.registry import Experiment

SHUT, OPEN = -1e4, 1e4  # of which a sigmoid makes exactly 0 and 1
PACKED = {"LSTM": "ifgo", "GRU": "rzn"}
# What is checked: cell, gates that are held, and what must then be so.
CASES = {
    "f=1, i=0": ("LSTM", {"f": OPEN, "i": SHUT}, "c_T = c_0"),
    "f=1, i=0, gradient": ("LSTM", {"f": OPEN, "i": SHUT}, "dc_T / dc_0 = 1"),
    "f=0, i=1": ("LSTM", {"f": SHUT, "i": OPEN}, "c_t = g_t"),
    "o=0": ("LSTM", {"o": SHUT}, "h_t = 0"),
    "z=1": ("GRU", {"z": OPEN}, "h_T = h_0"),
    "z=1, gradient": ("GRU", {"z": OPEN}, "dh_T / dh_0 = 1"),
    "z=0": ("GRU", {"z": SHUT}, "h_t = n_t"),
    "z=0, r=0": ("GRU", {"z": SHUT, "r": SHUT}, "h_t does not depend on h_0"),
}


def held(name: str, hidden: int, biases: dict, seed: int) -> tuple:
    """A cell and its params with some gates held open or shut by their bias."""
    cell = {"LSTM": jaxrnn.lstm, "GRU": jaxrnn.gru}[name](hidden)
    params = cell.init(jax.random.key(seed), 3)
    packed = list(params.b.reshape(-1, hidden))
    for gate, bias in biases.items():
        packed[PACKED[name].index(gate)] = jnp.full(hidden, bias)
    return cell, params._replace(b=jnp.concatenate(packed))


def check(case: str, steps: int, hidden: int, seed: int) -> bool:
    """Whether the case is so for one draw of weights, carry and inputs."""
    name, biases, _ = CASES[case]
    cell, params = held(name, hidden, biases, seed)
    ours, theirs = jax.random.split(jax.random.key(seed + 1))
    xs = jax.random.normal(ours, (steps, 2, 3))
    zeros = cell.initial_carry(params, xs[0])
    carry = jax.tree.map(lambda a: jax.random.normal(theirs, a.shape), zeros)
    memory = (lambda carry: carry.c) if name == "LSTM" else (lambda carry: carry)
    last, hs = jaxrnn.unroll(cell, params, carry, xs)
    if "gradient" in case:
        first = jax.tree.map(lambda a: a[0], carry)

        def end(now):
            start = first._replace(c=now) if name == "LSTM" else now
            return memory(jaxrnn.unroll(cell, params, start, xs[:, 0])[0])

        return bool((jax.jacobian(end)(memory(first)) == jnp.eye(hidden)).all())
    if case in ("f=1, i=0", "z=1"):
        return bool((memory(last) == memory(carry)).all())
    if case == "o=0":
        return bool((hs == 0).all())
    if case == "z=0, r=0":
        other = jaxrnn.unroll(cell, params, jax.tree.map(jnp.zeros_like, carry), xs)
        return bool((other[1] == hs).all())
    # The candidate of the last step, from the memory before it.
    before = jaxrnn.unroll(cell, params, carry, xs[:-1])[0]
    project, recur, gates, _, _ = cell.parts
    now = gates(params, before, recur(params, before, project(params, xs[-1])))
    candidate = now.g if name == "LSTM" else now.n
    if bool((np.abs(candidate) == 1).all()):
        raise ValueError(
            "candidates: expected some below 1, where there is a difference."
        )
    # A candidate near 0 is a sum whose terms cancel: its error is of their size.
    apart = np.abs(np.asarray(memory(last)) - np.asarray(candidate))
    return bool((apart <= 2 * np.spacing(np.float32(1))).all())


def pieces(settings):
    def one(case):
        checks = [
            check(case, settings["steps"], settings["hidden"], seed)
            for seed in range(settings["seeds"])
        ]
        return {"holds": sum(checks), "of": len(checks)}

    return {case: lambda case=case: one(case) for case in CASES}


def verdict(settings, results):
    holds = sum(r["holds"] for r in results.values())
    of = sum(r["of"] for r in results.values())
    return holds == of, f"{holds} of {of} draws, in all {len(results)} cases"


def section(settings, results):
    rows = [
        "| gates held | what must hold | draws where it holds |",
        "|---|---|---|",
    ]
    for case, result in results.items():
        name, _, claim = CASES[case]
        rows.append(
            f"| {name}, {case} | {claim} | {result['holds']} of {result['of']} |"
        )
    return f"""\
This claim needs no training. A bias of ±10,000 holds a gate at exactly 0 or 1, whatever the
input. After {settings["steps"]:,} steps the carry is compared with the initial carry.

{chr(10).join(rows)}

The rule first asked for two units in the last place of the candidate itself. That failed in
some draws of the GRU at z=0, for candidates near 0. Such candidates are sums of larger terms that
cancel, and a single step rounds them differently from a step in a loop. The rule now measures the
error relative to 1, the largest possible candidate.

Gates of trained networks lie between 0 and 1, and the product of gates over time decides how long
a memory lasts: see the next section."""


EXPERIMENT = Experiment(
    name="gates",
    title="A gate at 0 lets nothing through, a gate at 1 everything",
    rule="Every case holds for every draw of weights, carry and inputs: to the bit where "
    "something is kept, and to two units in the last place of 1 where a candidate is "
    "compared.",
    minutes=1,
    settings={"steps": 1000, "hidden": 16, "seeds": 20},
    quick={"steps": 100, "hidden": 8, "seeds": 3},
    pieces=pieces,
    verdict=verdict,
    section=section,
)
