"""Writes stored.npz: what the peers compute, for `test_stored`, which needs no peer.

    python tests/peers/make_stored.py

All of it is float64 and in jaxrnn's layout. Entries are named by case, peer and field:
"lstm/case/.params.wx" is drawn here, "lstm/torch/.grads[0].wx" is torch's gradient with
respect to it; "versions/torch" is the version that ran.
"""

import sys
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.peers import cases, runs
from tests.peers.test_stored import PAIRS, STORED

PACKAGES = ("torch", "keras", "flax", "dm-haiku", "equinox", "jax")


def main():
    jax.config.update("jax_enable_x64", True)
    entries = {f"versions/{name}": np.array(version(name)) for name in PACKAGES}
    for peer, name in PAIRS:
        case = cases.cast(cases.draw(name), "float64")
        result = runs.run(peer, name, case)
        for who, tree in (("case", case), (peer, result)):
            for path, a in jax.tree.leaves_with_path(tree):
                assert a.dtype == "float64"
                entries[f"{name}/{who}/{jax.tree_util.keystr(path)}"] = np.asarray(a)
    np.savez_compressed(STORED, **entries)
    print(f"{STORED}: {len(entries)} entries, {STORED.stat().st_size} bytes")


if __name__ == "__main__":
    main()
