"""Makes the pictures of docs/probes.md again: ``python -m tests.probe``."""

from tests.probe.page import PICTURES, run

if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    run(PICTURES)
