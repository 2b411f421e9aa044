"""What the figures draw."""

import matplotlib.pyplot as plt
import numpy as np

from experiments import comparison


def test_who_diverged_is_drawn_as_the_worst():
    """One of three seeds: the median is that of the other two and one above both."""
    losses = [[3.0, 0.2, 0.1], [2.5, 0.4, 0.3], [9.0, None, None]]
    _, ax = plt.subplots()
    found = {"cell": {"steps": [1, 2, 3], "loss": losses}}
    comparison.curves(ax, found, baseline=1.0)
    line = ax.lines[0]
    np.testing.assert_allclose(line.get_ydata(), [3.0, 0.4, 0.3])
    (band,) = ax.collections
    assert band.get_paths()[0].vertices[:, 1].max() == 9.0
    plt.close("all")
