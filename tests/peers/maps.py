"""jaxrnn's weights in each peer's layout: one function per peer and kind of cell.

A map goes from jaxrnn's params to the peer's and is written in jax.numpy, so that its
transpose (`jax.vjp`) brings the peer's gradients back to jaxrnn's layout. Where a peer
has two biases for jaxrnn's one they get a third and two thirds of it: a bias that is
read twice, or not at all, then shows. By the chain rule the gradient comes back as a
third of the one bias's gradient and two thirds of the other's; each of them equals the
gradient of the sum.
"""

import jax.numpy as jnp

from jaxrnn.cells import LSTMCarry


def split(a, count):
    return jnp.split(a, count, axis=-1)


def pack(*gates):
    return jnp.concatenate(gates, axis=-1)


# torch: [4H, F], i f g o and r z n; two biases, the GRU's second one with bn.


def torch_simple(p):
    return {
        "weight_ih": p.wx.T,
        "weight_hh": p.wh.T,
        "bias_ih": p.b / 3,
        "bias_hh": p.b * 2 / 3,
    }


torch_lstm = torch_simple


def torch_gru(p):
    r, z, n = split(p.b, 3)
    return {
        "weight_ih": p.wx.T,
        "weight_hh": p.wh.T,
        "bias_ih": pack(r / 3, z / 3, n),
        "bias_hh": pack(r * 2 / 3, z * 2 / 3, p.bn),
    }


# Keras: i f c o, and z r h with one row of biases for x and one for h.


def keras_simple(p):
    return {"kernel": p.wx, "recurrent_kernel": p.wh, "bias": p.b}


keras_lstm = keras_simple


def keras_gru(p):
    def zrh(a):
        r, z, n = split(a, 3)
        return pack(z, r, n)

    r, z, n = split(p.b, 3)
    from_x = pack(z / 3, r / 3, n)
    from_h = pack(z * 2 / 3, r * 2 / 3, p.bn)
    return {
        "kernel": zrh(p.wx),
        "recurrent_kernel": zrh(p.wh),
        "bias": jnp.stack([from_x, from_h]),
    }


# Flax linen: a Dense per gate; the LSTM's bias is on the h side.


def linen_simple(p):
    return {"i": {"kernel": p.wx, "bias": p.b}, "h": {"kernel": p.wh}}


def linen_lstm(p):
    wx, wh, b = (split(a, 4) for a in p)
    from_x = {f"i{gate}": {"kernel": w} for gate, w in zip("ifgo", wx, strict=True)}
    from_h = {
        f"h{gate}": {"kernel": w, "bias": bias}
        for gate, w, bias in zip("ifgo", wh, b, strict=True)
    }
    return from_x | from_h


def linen_gru(p):
    wx, wh, b = split(p.wx, 3), split(p.wh, 3), split(p.b, 3)
    return {
        "ir": {"kernel": wx[0], "bias": b[0]},
        "iz": {"kernel": wx[1], "bias": b[1]},
        "in": {"kernel": wx[2], "bias": b[2]},
        "hr": {"kernel": wh[0]},
        "hz": {"kernel": wh[1]},
        "hn": {"kernel": wh[2], "bias": p.bn},
    }


# Flax nnx: one Linear for x and one for h, but for its LSTMCell ("if_" is no typo).


def nnx_simple(p):
    return {"dense_i": {"kernel": p.wx, "bias": p.b}, "dense_h": {"kernel": p.wh}}


nnx_gru_bn0 = nnx_simple  # its GRUCell has no recurrent bias of n: bn is zero there


def nnx_lstm(p):
    tree = linen_lstm(p)
    tree["if_"] = tree.pop("if")
    return tree


def nnx_lstm_optimized(p):
    return {"dense_i": {"kernel": p.wx}, "dense_h": {"kernel": p.wh, "bias": p.b}}


# Haiku: [x, h] in one matrix, i g f o, and 1 added to f at run time. Its RNN is ReLU.


def haiku_simple(p):
    return {
        "vanilla_rnn/linear": {"w": p.wx, "b": p.b / 3},
        "vanilla_rnn/linear_1": {"w": p.wh, "b": p.b * 2 / 3},
    }


def haiku_lstm(p):
    def igfo(a):
        i, f, g, o = split(a, 4)
        return pack(i, g, f, o)

    i, f, g, o = split(p.b, 4)
    w = jnp.concatenate([igfo(p.wx), igfo(p.wh)])
    return {"lstm/linear": {"w": w, "b": pack(i, g, f - 1, o)}}


# Equinox: [4H, F], one bias, and bias_n.


def equinox_lstm(p):
    return {"weight_ih": p.wx.T, "weight_hh": p.wh.T, "bias": p.b}


def equinox_gru(p):
    return equinox_lstm(p) | {"bias_n": p.bn}


def flax_carry(carry):
    """Flax's LSTMs carry (c, h)."""
    return (carry.c, carry.h) if isinstance(carry, LSTMCarry) else carry


def from_flax_carry(carry):
    return LSTMCarry(c=carry[0], h=carry[1]) if isinstance(carry, tuple) else carry


# Which peer has which cell. There are gaps, and why:
# - Haiku's GRU resets the memory before the recurrent matmul, r acting inside of
#   (r h) Un. With a full matrix Un no weights make that equal to r (h Un + bn), so it
#   has no counterpart in jaxrnn.gru.
# - nnx's GRUCell stands beside "gru_bn0", a GRU whose bn is zero and has no gradient.
# - Haiku's RNN has no tanh; Equinox has no simple RNN.
MAPS = {
    "torch": {
        "simple_tanh": torch_simple,
        "simple_relu": torch_simple,
        "lstm": torch_lstm,
        "gru": torch_gru,
    },
    "keras": {
        "simple_tanh": keras_simple,
        "simple_relu": keras_simple,
        "lstm": keras_lstm,
        "gru": keras_gru,
    },
    "linen": {
        "simple_tanh": linen_simple,
        "simple_relu": linen_simple,
        "lstm": linen_lstm,
        "gru": linen_gru,
    },
    "linen_optimized": {"lstm": linen_lstm},
    "nnx": {
        "simple_tanh": nnx_simple,
        "simple_relu": nnx_simple,
        "lstm": nnx_lstm,
        "gru_bn0": nnx_gru_bn0,
    },
    "nnx_optimized": {"lstm": nnx_lstm_optimized},
    "haiku": {"simple_relu": haiku_simple, "lstm": haiku_lstm},
    "equinox": {"lstm": equinox_lstm, "gru": equinox_gru},
}

PAIRS = [(peer, kind) for peer, kinds in MAPS.items() for kind in kinds]
