"""The blocks of docs/probes.md, run as one program."""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "probes.md"
PICTURES = ROOT / "docs" / "probes"


def program() -> str:
    return "\n".join(
        re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    )


def run(folder: pathlib.Path) -> None:
    """Writes the page's pictures to `folder`; an error if a block fails."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": paths}
    command = [sys.executable, "-W", "error", "-c", program()]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
