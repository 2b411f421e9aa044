"""Law 3, live: jaxrnn's values and gradients are those of the peers themselves.

To 1e-10 in float64 and 1e-5 in float32, by both engines, with the weights that `maps`
translates.
"""

from functools import cache

import jax
import numpy as np
import pytest

import jaxrnn
from tests.installed import need
from tests.peers import cases, maps, runs

FORMS = ("stack", "bidirectional", "lengths", "stack bidirectional lengths")
PAIRS = maps.PAIRS + [
    ("torch", f"{kind} {form}") for kind in maps.MAPS["torch"] for form in FORMS
]


@cache
def theirs(peer, name, dtype):
    return runs.run(peer, name, cases.cast(cases.draw(name), dtype))


@cache
def ours(name, dtype, engine):
    return cases.run_jaxrnn(name, cases.cast(cases.draw(name), dtype), engine)


@pytest.mark.parametrize(
    ("engine", "dtype"),
    [
        pytest.param("gated", "float64", marks=pytest.mark.slow),
        pytest.param("scan", "float64", marks=pytest.mark.slow),
        pytest.param("gated", "float32", marks=pytest.mark.slow),
        pytest.param("scan", "float32", marks=pytest.mark.nightly),
    ],
)
@pytest.mark.parametrize(("peer", "name"), PAIRS)
def test_values_and_gradients_are_the_peers(peer, name, dtype, engine):
    need(runs.MODULES[peer].split(".")[0])
    result = theirs(peer, name, dtype)
    assert all(a.dtype == dtype for a in jax.tree.leaves(result))
    cases.assert_close(ours(name, dtype, engine), result, dtype)


@pytest.mark.slow
def test_the_gradient_of_b_is_that_of_either_of_torchs_biases():
    """Here without the maps: b is any sum of two biases, but for the GRU's n."""
    need("torch")
    import torch

    case = cases.draw("gru")
    params, H = case.params, cases.HIDDEN
    module = torch.nn.GRU(cases.FEATURES, H, dtype=torch.float64)
    share = np.linspace(-1.0, 2.0, 2 * H)
    bias_ih, bias_hh = params.b.copy(), np.append(share, params.bn)
    bias_ih[: 2 * H] -= share
    weights = (params.wx.T, params.wh.T, bias_ih, bias_hh)
    with torch.no_grad():
        for parameter, a in zip(module.parameters(), weights, strict=True):
            parameter.copy_(torch.tensor(a))
    hs, _ = module(torch.tensor(case.xs), torch.tensor(case.carry)[None])
    hs.backward(torch.tensor(case.dhs))

    def loss(params):
        _, ours = jaxrnn.unroll(jaxrnn.gru(H), params, case.carry, case.xs)
        return (ours * case.dhs).sum()

    grads = jax.grad(loss)(params)
    from_ih, from_hh = module.bias_ih_l0.grad.numpy(), module.bias_hh_l0.grad.numpy()
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(grads.b, from_ih, **close)
    np.testing.assert_allclose(grads.b[: 2 * H], from_hh[: 2 * H], **close)
    np.testing.assert_allclose(grads.bn, from_hh[2 * H :], **close)
