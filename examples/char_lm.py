"""A byte-level language model of any text: an LSTM with truncated backpropagation.

    python examples/char_lm.py                              Python's own standard library
    python examples/char_lm.py --corpus FILE --out out/it   any text file, or a folder
    python examples/char_lm.py --prompt "def " --characters 2000 --temperature 0.5

Run it again and it resumes where it stopped. Once it is trained, it only writes text.
"""

import math
import os
import sys
import sysconfig
import time
from collections import namedtuple
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import jaxrnn
from jaxrnn import plot, train


@dataclass(frozen=True)
class Settings:
    corpus: Path = Path(sysconfig.get_path("stdlib"))
    pattern: str = "*.py"  # of the files in a folder
    out: Path = Path("out/char_lm")  # it gets a folder with the corpus's name
    steps: int = 4000
    hidden: int = 512
    features: int = 64  # width of the embedding
    batch: int = 32
    length: int = 128  # steps of truncated backpropagation
    rate: float = 4e-3
    dropout: float = 0.4  # of the cell's outputs; of its inputs half as much
    devices: int = min(2, os.cpu_count() or 1)  # CPU devices, which share each batch
    seed: int = 0
    prompt: str = "\n"
    characters: int = 600
    temperature: float = 0.8
    top_k: int = 40


Params = namedtuple("Params", "embedding cell readout bias")


def read(corpus, pattern):
    """All bytes of a file, or of a folder's files in random order, separated by 0."""
    files = [corpus] if corpus.is_file() else sorted(corpus.rglob(pattern))
    others = {"site-packages", "test", "tests"}
    files = [f for f in files if not others & {*f.relative_to(corpus).parts}]
    np.random.default_rng(0).shuffle(files)
    texts = [f.read_bytes().replace(b"\0", b"") for f in files if f.is_file()]
    if not any(texts):
        sys.exit(f"{corpus} has no text in files like {pattern}.")
    return b"\0" + b"\0".join(texts)


def dropped(key, x, rate):
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def make(s, vocabulary):
    """The cell, its params, and the loss of a window: nats per byte."""
    cell = jaxrnn.lstm(s.hidden)
    ke, kc, kr = jax.random.split(jax.random.key(s.seed), 3)
    embedding = jax.random.normal(ke, (vocabulary, s.features))
    readout = jax.random.normal(kr, (s.hidden, vocabulary)) * s.hidden**-0.5
    cell_params = cell.init(kc, s.features)

    def loss(params, carry, window, key):
        xs = params.embedding[window.inputs]
        xs = xs if key is None else dropped(key, xs, s.dropout / 2)
        carry, hs = jaxrnn.unroll(cell, params.cell, carry, xs, resets=window.resets)
        hs = hs if key is None else dropped(jax.random.split(key)[0], hs, s.dropout)
        logits = hs @ params.readout + params.bias
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, window.targets)
        return carry, {"loss": train.mean(nats)}

    return cell, Params(embedding, cell_params, readout, jnp.zeros(vocabulary)), loss


def write(s, cell, params, prompt):
    """The tokens after a prompt, each as soon as it is drawn."""

    @jax.jit
    def follow(carry, token, n):
        carry, h = cell.step(params.cell, carry, params.embedding[token])
        logits = (h @ params.readout + params.bias) / s.temperature
        best, which = jax.lax.top_k(logits, min(s.top_k, len(logits)))
        key = jax.random.fold_in(jax.random.key(s.seed), n)
        return carry, which[jax.random.categorical(key, best)]

    xs, token = params.embedding[prompt[:-1]], prompt[-1]
    carry, _ = jaxrnn.unroll(cell, params.cell, None, xs)
    for n in range(s.characters):
        carry, token = follow(carry, token, n)
        yield int(token)


def main(s):
    text, out = read(s.corpus, s.pattern), s.out / s.corpus.name
    alphabet, tokens = np.unique(np.frombuffer(text, np.uint8), return_inverse=True)
    tokens, cut = tokens.astype(np.int32), max(len(text) * 9 // 10, len(text) - 250_000)
    prompt = np.searchsorted(alphabet[:-1], [*s.prompt.encode()])
    if not s.prompt or s.prompt.encode() != alphabet[prompt].tobytes():
        sys.exit(f"prompt: expected characters of {s.corpus}, got {s.prompt!r}.")
    print(f"{len(text):,} bytes, {len(alphabet)} different ones, from {s.corpus}")
    bits = len(text) / len(text.decode(errors="replace")) / math.log(2)
    began = time.perf_counter()

    def tell(row):
        if row["split"] == "valid":
            now, nats = time.perf_counter() - began, row["loss"]
            said = f"{nats:.4f} nats per byte, {nats * bits:.3f} bits per character"
            print(f"step {row['step']:5}, {now:4.0f} s, held out: {said}")

    cell, params, loss = make(s, len(alphabet))
    carry = cell.initial_carry(params.cell, jnp.zeros((s.batch, s.features)))
    rate = optax.warmup_cosine_decay_schedule(0, s.rate, 100, max(s.steps, 101))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.99))
    state = train.init(params, optimizer, jax.random.key(s.seed), carry=carry)
    stream = partial(train.streams, batch=s.batch, length=s.length, separator=0)
    data, valid = stream(tokens[:cut]), stream(tokens[cut:], epochs=1)
    options = dict(valid=valid, folder=out, save_every=250, mesh=train.data_mesh())
    options |= dict(steps=s.steps, callback=tell)
    fitted = train.fit(loss, optimizer, state, data, **options)
    print("best:")
    tell(fitted.best)
    ax = plot.history(fitted.history, title=s.corpus.name, ylabel="nats per byte")
    ax.figure.savefig(out / "loss.png", dpi=120)
    print(f"picture: {out / 'loss.png'}\n\n{s.prompt}", end="", flush=True)
    for token in write(s, cell, fitted.params, prompt):
        sys.stdout.buffer.write(alphabet[token].tobytes())
        sys.stdout.buffer.flush()
    print()
    return fitted


if __name__ == "__main__":
    settings = tyro.cli(Settings, description=__doc__)
    jax.config.update("jax_num_cpu_devices", settings.devices)
    main(settings)
