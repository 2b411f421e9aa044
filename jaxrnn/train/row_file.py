"""A file of JSON rows, one a line: `metrics.jsonl` and `timing.jsonl`."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path


class RowFile:
    """A file of JSON rows, one a line.

    Args:
        path: made if it does not exist.
        size: bytes that stay; what lies behind them is cut off.

    Raises:
        ValueError: if the file is shorter.
        OSError: if it cannot be written to.
    """

    def __init__(self, path: Path, size: int):
        self.path = path
        with self._explained():
            self._file = path.open("ab+")
            have = path.stat().st_size
            if have < size:
                self._file.close()
                raise ValueError(
                    f"{path}: expected the {size} bytes that it had at the checkpoint, got "
                    f"{have}. Bring it back, or start in another folder."
                )
            self._file.truncate(size)

    def kept(self) -> list[dict]:
        """The rows that stayed."""
        self._file.seek(0)
        return [json.loads(line) for line in self._file if line.strip()]

    def size(self) -> int:
        """Bytes, all of which are written."""
        return self.path.stat().st_size

    def write(self, row: dict) -> None:
        """Appends a row, which a kill of this process can no longer lose.

        Raises:
            OSError: if it could not be written.
        """
        with self._explained():
            self._file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):
            self._file.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(
                f"cannot write to {self.path}: {error}. The checkpoints are as they were. "
                "Make room or a place to write, and run again."
            ) from error


def bytes_until(path: Path, step: int) -> int:
    """The length of a file's rows up to a step, before the first that is none."""
    size = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        try:
            if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError):
            break
        size += len(line)
    return size
