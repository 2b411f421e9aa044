"""A step of each cell in NumPy, written from the papers' equations: for law 2.

A function ``(params, carry, x) -> carry``; what the cell shows is the carry's first array
unless it is in `SHOWN`.
"""

import itertools

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def parts(a, n):
    """The last axis in n parts."""
    return np.split(np.asarray(a), n, -1)


def simple_rnn(p, h, x, phi=np.tanh):
    return phi(x @ p.wx + h @ p.wh + p.b)


def lstm(p, carry, x):
    h, c = carry
    i, f, g, o = parts(x @ p.wx + h @ p.wh + p.b, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(p, h, x):
    (xr, xz, xn), (hr, hz, hn) = parts(x @ p.wx + p.b, 3), parts(h @ p.wh, 3)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = np.tanh(xn + r * (hn + p.bn))
    return (1 - z) * n + z * h


def gru_before(p, h, x):
    (xr, xz, xn), (wr, wz, wn) = parts(x @ p.wx + p.b, 3), parts(p.wh, 3)
    r, z = sigmoid(xr + h @ wr), sigmoid(xz + h @ wz)
    n = np.tanh(xn + (r * h) @ wn)
    return (1 - z) * n + z * h


def peephole_lstm(p, carry, x):
    h, c = carry
    i, f, g, o = parts(x @ p.wx + h @ p.wh + p.b, 4)
    new = sigmoid(f + p.pf * c) * c + sigmoid(i + p.pi * c) * np.tanh(g)
    return sigmoid(o + p.po * new) * np.tanh(new), new


def coupled_lstm(p, carry, x):
    h, c = carry
    i, g, o = parts(x @ p.wx + h @ p.wh + p.b, 3)
    c = (1 - sigmoid(i)) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def projected_lstm(p, carry, x):
    h, c = lstm(p, carry, x)
    return h @ p.wp, c


def norm(a, epsilon):
    mean = a.mean(-1, keepdims=True)
    return (a - mean) / np.sqrt(((a - mean) ** 2).mean(-1, keepdims=True) + epsilon)


def layer_norm_lstm(p, carry, x):
    h, c = carry
    pre = p.sh * norm(h @ p.wh, 1e-5) + p.sx * norm(x @ p.wx, 1e-5) + p.b
    i, f, g, o = parts(pre, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(p.sc * norm(c, 1e-5) + p.bc), c


def layer_norm_gru(p, h, x):
    n = h.shape[-1]
    of = lambda a, at: norm(a[:, at], 1e-5)
    rz, last = slice(0, 2 * n), slice(2 * n, None)
    a, b = x @ p.wx, h @ p.wh
    pre = p.sx[rz] * of(a, rz) + p.sh[rz] * of(b, rz) + p.b[rz]
    r, z = parts(sigmoid(pre), 2)
    memory = p.sh[last] * of(b, last) + p.bn
    new = np.tanh(p.sx[last] * of(a, last) + p.b[last] + r * memory)
    return (1 - z) * new + z * h


def dreamer_gru(p, h, x):
    """As the authors have it, with an update gate that is 1 where h is replaced."""
    r, z, n = parts(
        p.s * norm(np.hstack([x, h]) @ np.vstack([p.wx, p.wh]), 1e-3) + p.b, 3
    )
    replaced = sigmoid(-z)
    return replaced * np.tanh(sigmoid(r) * n) + (1 - replaced) * h


def mgu(p, h, x):
    (xf, xn), (hf, hn) = parts(x @ p.wx + p.b, 2), parts(h @ p.wh, 2)
    f = sigmoid(xf + hf)
    n = np.tanh(xn + f * (hn + p.bn))
    return (1 - f) * n + f * h


def mgu_before(p, h, x):
    """As the paper has it, with a gate that is 1 where h is replaced."""
    (xf, xn), (wf, wn) = parts(x @ p.wx + p.b, 2), parts(p.wh, 2)
    f = sigmoid(-(xf + h @ wf))
    return (1 - f) * h + f * np.tanh(xn + (f * h) @ wn)


def janet(p, h, x, beta=0.7):
    s, g = parts(x @ p.wx + h @ p.wh + p.b, 2)
    return sigmoid(s) * h + (1 - sigmoid(s - beta)) * np.tanh(g)


def ugrnn(p, h, x):
    z, n = parts(x @ p.wx + h @ p.wh + p.b, 2)
    return sigmoid(z) * h + (1 - sigmoid(z)) * np.tanh(n)


def ind_rnn(p, h, x):
    return np.tanh(x @ p.wx + p.u * h + p.b)


def antisymmetric_rnn(p, h, x, epsilon=0.6, gamma=0.3):
    n, u = h.shape[-1], iter(np.asarray(p.u))
    a = np.zeros((n, n))
    for row, column in itertools.combinations(range(n), 2):
        a[row, column] = next(u)
    a = a - a.T - gamma * np.eye(n)
    *gate, new = parts(x @ p.wx + p.b, p.b.size // n)
    open_by = sigmoid(gate[0] + h @ a) if gate else 1
    return h + epsilon * open_by * np.tanh(new + h @ a)


def cornn(p, carry, x):
    h, v = carry
    n = h.shape[-1]
    force = np.tanh(x @ p.wx + h @ p.wh[:n] + v @ p.wh[n:] + p.b)
    v = v + 0.7 * force - 0.7 * 0.6 * h - 0.7 * 0.4 * v
    return h + 0.7 * v, v


def lem(p, carry, x):
    y, z = carry
    (xa, xd, xn, xm), (wa, wd, wn, wm) = parts(x @ p.wx + p.b, 4), parts(p.wh, 4)
    a, d = 0.7 * sigmoid(xa + y @ wa), 0.7 * sigmoid(xd + y @ wd)
    z = (1 - a) * z + a * np.tanh(xn + y @ wn)
    return (1 - d) * y + d * np.tanh(xm + z @ wm), z


def leaky_rnn(p, v, x):
    w = np.diag([1, -1, 1, 1, -1]) @ np.abs(p.wh)
    alpha = sigmoid(np.asarray(p.leak))
    return (1 - alpha) * v + alpha * (x @ p.wx + np.tanh(v) @ w + p.b)


def slstm(p, carry, x, forget=sigmoid):
    """Without a stabiliser: the sums themselves, and m as their scale."""
    h, c, n, m = carry
    heads, width, _ = p.wh.shape
    memory = [np.zeros_like(h) for _ in range(4)]
    for k in range(heads):
        at = slice(k * width, (k + 1) * width)
        for one, said in zip(memory, parts(h[:, at] @ p.wh[k], 4), strict=True):
            one[:, at] = said
    i, f, g, o = map(np.add, parts(x @ p.wx + p.b, 4), memory)
    c, n = c * np.exp(m), n * np.exp(m)  # unscaled
    c = forget(f) * c + np.exp(i) * np.tanh(g)
    n = forget(f) * n + np.exp(i)
    scale = np.maximum(np.log(forget(f)) + m, i)
    return sigmoid(o) * c / n, c * np.exp(-scale), n * np.exp(-scale), scale


def correlated(x, w, strides, before, after, dilation):
    """``x [B, *space, C]`` with ``w [*kernel, C, D]``, place by place."""
    n = x.ndim - 2
    x = np.pad(x, [(0, 0), *zip(before, after, strict=True), (0, 0)])
    reach = [1 + (k - 1) * d for k, d in zip(w.shape[:n], dilation, strict=True)]
    space = [
        1 + (size - r) // s
        for size, r, s in zip(x.shape[1:-1], reach, strides, strict=True)
    ]
    out = np.zeros((x.shape[0], *space, w.shape[-1]))
    for place in itertools.product(*map(range, space)):
        for tap in itertools.product(*map(range, w.shape[:n])):
            at = tuple(
                p * s + t * d
                for p, s, t, d in zip(place, strides, tap, dilation, strict=True)
            )
            out[(slice(None), *place)] += x[(slice(None), *at)] @ w[tap]
    return out


def conv_lstm(p, carry, x):
    h, c = carry
    wx, wh, b = map(np.asarray, p)
    # SAME: 3 rows by 3 taps; 3 columns by 2 taps in steps of 2
    z = correlated(x, wx, (1, 2), (1, 0), (1, 1), (1, 1))
    z = z + correlated(h, wh, (1, 1), (1, 0), (1, 1), (1, 1)) + b
    i, f, g, o = parts(z, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def conv_gru(p, h, x):
    wx, wh, b = map(np.asarray, p)
    xr, xz, xn = parts(correlated(x, wx, (1,), (2,), (2,), (2,)) + b, 3)
    near = lambda a, w: correlated(a, w, (1,), (1,), (1,), (1,))
    wr, wz, wn = parts(wh, 3)
    r, z = sigmoid(xr + near(h, wr)), sigmoid(xz + near(h, wz))
    n = np.tanh(xn + near(r * h, wn))
    return (1 - z) * n + z * h


def conv_gru_after(p, h, x):
    """Of images of 2 dimensions, another recurrent kernel."""
    wx, wh, b, bn = map(np.asarray, p)
    xr, xz, xn = parts(correlated(x, wx, (1, 1), (1, 1), (0, 1), (1, 1)) + b, 3)
    hr, hz, hn = parts(correlated(h, wh, (1, 1), (0, 0), (1, 1), (1, 1)), 3)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    return (1 - z) * np.tanh(xn + r * (hn + bn)) + z * h


def conv_lstm_valid(p, carry, x):
    """Of images of 3 dimensions, dilated and in steps."""
    h, c = carry
    wx, wh, b = map(np.asarray, p)
    none, ones = (0, 0, 0), (1, 1, 1)
    z = correlated(x, wx, (1, 2, 1), none, none, (2, 1, 1)) + b
    # SAME of a kernel of 2, 1 and 2: one behind
    i, f, g, o = parts(z + correlated(h, wh, ones, none, (1, 0, 1), ones), 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def leaky_rnn_of_one_kind(p, v, x):
    rate = np.maximum(v, 0)
    return 0.75 * v + 0.25 * (x @ p.wx + rate @ p.wh + p.b)


def own_gated(p, carry, x):
    s, ticks = carry
    n = s.shape[-1]
    a = x @ p.wx[:, :n] + s @ p.wh[:, :n]
    b = x @ p.wx[:, n:] + (0.5 + 0.3) * (s @ p.wh[:, n:])
    s = 0.7 * sigmoid(a + p.peep * s) * s + 0.3 * np.tanh(b)
    return s, ticks + 1


def own_deep(p, carry, x):
    h, c = carry
    n = c.shape[-1]
    one = lambda k: (x @ p.wx + h @ p.wh)[..., k * n : (k + 1) * n]
    i, f, g = sigmoid(one(0)), sigmoid(one(1)), np.tanh(one(2))
    c = f * c + i * g
    o = sigmoid(one(3) + p.peep * c)
    return (o * np.tanh(p.scale * norm(c, 1e-3) + p.shift)) @ p.down, c


ORACLES = {
    "simple_rnn": simple_rnn,
    "simple_rnn_relu": lambda p, h, x: simple_rnn(p, h, x, lambda a: np.maximum(a, 0)),
    "lstm": lstm,
    "gru": gru,
    "gru_before": gru_before,
    "peephole_lstm": peephole_lstm,
    "coupled_lstm": coupled_lstm,
    "projected_lstm": projected_lstm,
    "layer_norm_lstm": layer_norm_lstm,
    "layer_norm_gru": layer_norm_gru,
    "dreamer_gru": dreamer_gru,
    "mgu": mgu,
    "mgu_before": mgu_before,
    "janet": janet,
    "ugrnn": ugrnn,
    "ind_rnn": ind_rnn,
    "antisymmetric_rnn": antisymmetric_rnn,
    "cornn": cornn,
    "lem": lem,
    "leaky_rnn": leaky_rnn,
    "slstm": slstm,
    "conv_lstm": conv_lstm,
    "conv_gru": conv_gru,
    "own_gated": own_gated,
    "own_deep": own_deep,
}
# What these show of their carry.
SHOWN = {
    "own_gated": lambda p, s, ticks: np.concatenate([s, np.tanh(2.3 * s)], -1),
    "own_deep": lambda p, h, c: p.gain * h,
    "leaky_rnn": lambda p, v: np.tanh(v),
}
