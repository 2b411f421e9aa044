"""Runs as processes of their own: killed at any moment, joined with others, and resumed."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from jaxrnn.train import orbax

ROOT = __file__.split("/tests/")[0]
KILLS = 20

pytestmark = pytest.mark.slow


def begin(folder, *options, **environment):
    """The program of `program.py` as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.train.program", str(folder), *map(str, options)],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes):
    """What they said; all must have ended well."""
    said = [p.communicate(timeout=120) for p in processes]
    for p, (_, err) in zip(processes, said, strict=True):
        assert p.returncode == 0, err[-3000:]
    return [out + err for out, err in said]


def outcome(folder, step):
    """Everything that must not depend on how the run went: all bits of it."""
    path = folder / "checkpoints" / str(step)
    about = orbax.read_label(path, step)
    saved = orbax._orbax("load", "load_pytree")(path)
    return (folder / "metrics.jsonl").read_bytes(), about, saved


def assert_same(one, other):
    assert one[:2] == other[:2]
    assert one[2].keys() == other[2].keys()
    assert len(one[2]) > 20
    for name, value in one[2].items():
        np.testing.assert_array_equal(value, other[2][name], err_msg=name, strict=True)


def killed_while_saving(process, folder, chance):
    """Ends the process while a checkpoint is being written, one that chance chooses."""
    wait = chance.randrange(5)
    saving = folder / "checkpoints" / "saving"
    while process.poll() is None:
        if saving.exists():
            if not wait:
                time.sleep(chance.random() * 0.05)  # saving takes about that long
                break
            wait -= 1
            while saving.exists() and process.poll() is None:
                time.sleep(0.0005)
        time.sleep(0.0005)
    process.kill()


def killed_sometime(process, folder, chance):
    """Ends the process at a moment between its import of JAX and its end."""
    end = time.monotonic() + 2 + 3 * chance.random()
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    process.kill()


@pytest.mark.parametrize("data", ["stream", "drawn"])
def test_killed_twenty_times(data, tmp_path):
    """Bit for bit the run that nobody killed, whenever and however often it was."""
    options = ("--data", data, "--steps", 120, "--save-every", 5, "--pace", 0.01)
    finish(begin(tmp_path / "whole", *options))
    whole = outcome(tmp_path / "whole", 120)
    assert len(whole[0].splitlines()) == 36
    chance = random.Random(data)
    kills, round_, progress = 0, 0, []
    while kills < KILLS // 2 or not progress:
        folder = tmp_path / f"killed-{round_}"
        process = begin(folder, *options)
        kill = killed_while_saving if kills % 2 else killed_sometime
        kill(process, folder, chance)
        _, err = process.communicate()
        if process.returncode == -signal.SIGKILL:
            kills += 1
            continue
        assert process.returncode == 0, err[-3000:]  # it was done before the kill
        assert_same(outcome(folder, 120), whole)
        progress.append(kills)
        round_ += 1
    folder = tmp_path / f"killed-{round_}"
    finish(begin(folder, *options))
    assert_same(outcome(folder, 120), whole)


def test_a_sweep_killed_four_times(tmp_path):
    """In the first slice of members and in the second: the bits of one that was not."""
    options = ("--sweep", "--steps", 40, "--save-every", 5)
    finish(begin(tmp_path / "whole", *options))
    begun = []  # whether the second slice was, at each kill
    for rows in (8, 6, 5, 4):  # until it is killed; it prints 12 for each slice
        process = begin(tmp_path / "killed", *options, "--pace", 0.05)
        for _ in range(rows):
            assert process.stdout.readline().startswith("step")
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        begun.append((tmp_path / "killed" / "members-2-3" / "checkpoints").exists())
    assert set(begun) == {False, True}
    finish(begin(tmp_path / "killed", *options))
    for some in ("members-0-2", "members-2-3"):
        whole = outcome(tmp_path / "whole" / some, 40)
        assert_same(outcome(tmp_path / "killed" / some, 40), whole)


def noted(folder, process=0):
    """What a hook saw: steps, sums of the params, numbers of rows, and members."""
    path = folder / f"hook-{process}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def newest(folder):
    """The step of the newest checkpoint, 0 without any."""
    saved = (folder / "checkpoints").glob("*")
    return max((int(p.name) for p in saved if p.name.isdigit()), default=0)


def test_a_hook_killed_six_times(tmp_path):
    """Its calls after the newest checkpoint come again, with the same bits; no other."""
    options = ("--steps", 60, "--save-every", 10, "--pace", 0.01)
    finish(begin(tmp_path / "plain", *options))
    finish(begin(tmp_path / "whole", *options, "--hook", 4))
    whole, want = outcome(tmp_path / "whole", 60), noted(tmp_path / "whole")
    assert_same(outcome(tmp_path / "plain", 60), whole)
    assert [step for step, *_ in want] == list(range(4, 61, 4))
    chance, folder, kills = random.Random(0), tmp_path / "killed-0", 0
    while kills < 6:
        before, saved = noted(folder), newest(folder)
        process = begin(folder, *options, "--hook", 4)
        kill = killed_while_saving if kills % 2 else killed_in_a_hook
        kill(process, folder, chance)
        _, err = process.communicate()
        new = noted(folder)[len(before) :]
        assert new == [line for line in want if line[0] > saved][: len(new)]
        if process.returncode == -signal.SIGKILL:
            kills += 1
            continue
        assert process.returncode == 0, err[-3000:]
        assert_same(outcome(folder, 60), whole)
        folder = tmp_path / f"killed-{kills}"
    saved, before = newest(folder), noted(folder)
    finish(begin(folder, *options, "--hook", 4))
    assert_same(outcome(folder, 60), whole)
    assert noted(folder) == before + [line for line in want if line[0] > saved]


def killed_in_a_hook(process, folder, chance):
    """Ends the process in a call of its hook, or soon after it."""
    before, calls = len(noted(folder)), 1 + chance.randrange(6)
    while process.poll() is None and len(noted(folder)) < before + calls:
        time.sleep(0.0005)
    time.sleep(chance.random() * 0.02)
    process.kill()


def test_terminated(tmp_path):
    """SIGTERM: it saves where it is, leaves with 143, and goes on from there."""
    options = ("--steps", 60, "--save-every", 50)
    finish(begin(tmp_path / "whole", *options))
    process = begin(tmp_path / "ended", *options, "--pace", 0.05)
    while "step 24" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    newest = max(int(p.name) for p in (tmp_path / "ended" / "checkpoints").iterdir())
    assert newest not in (0, 50, 60)
    finish(begin(tmp_path / "ended", *options))
    assert_same(outcome(tmp_path / "ended", 60), outcome(tmp_path / "whole", 60))


def test_second_writer_refuses_and_a_killed_first_leaves_no_lock(tmp_path):
    first = begin(tmp_path, "--pace", 2)  # longer than the second takes to start
    while "step" not in first.stdout.readline():
        assert first.poll() is None
    second = begin(tmp_path)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "BlockingIOError" in err
    assert "another run is writing there" in err
    assert first.poll() is None
    first.kill()
    first.communicate()
    finish(begin(tmp_path))


def joined(folder, *options):
    """Two processes of two devices each, one training."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = ("--mesh", "--devices", 2, "--processes", 2, "--port", port)
    return [begin(folder, *shared, "--process", n, *options) for n in range(2)]


def losses(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(row["step"], row["split"], row["loss"]) for row in map(json.loads, lines)]


def close(one, other):
    assert [row[:2] for row in one] == [row[:2] for row in other]
    np.testing.assert_allclose(
        [row[2] for row in one], [row[2] for row in other], rtol=2e-5
    )


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """The losses of one device."""
    folder = tmp_path_factory.mktemp("single")
    finish(begin(folder, "--mesh"))
    return losses(folder)


@pytest.mark.parametrize("devices", [2, 4])
def test_devices(devices, single, tmp_path):
    finish(begin(tmp_path, "--mesh", "--devices", devices))
    close(losses(tmp_path), single)


def test_two_processes(single, tmp_path):
    """Joined over loopback; killed, resumed joined, and finished on one device."""
    finish(*joined(tmp_path / "whole"))
    close(losses(tmp_path / "whole"), single)
    processes = joined(tmp_path / "killed", "--pace", 0.05)
    while "step 32" not in processes[0].stdout.readline():
        assert processes[0].poll() is None, processes[0].stderr.read()[-3000:]
    for process in processes:
        process.kill()
    for process in processes:
        process.communicate()
    finish(*joined(tmp_path / "killed", "--steps", 40))
    finish(begin(tmp_path / "killed", "--mesh", "--devices", 4, "--steps", 52))
    finish(begin(tmp_path / "killed", "--mesh"))
    resumed = losses(tmp_path / "killed")
    assert resumed.pop(-4)[:2] == (52, "valid")  # where the run before it ended
    close(resumed, single)


def test_two_processes_stop_together(tmp_path):
    """Both call the hook on whole params; that of one asks to stop."""
    finish(*joined(tmp_path, "--hook", 4, "--stop", 12))
    first, second = noted(tmp_path), noted(tmp_path, 1)
    assert [step for step, *_ in first] == [4, 8, 12]
    assert [line[:3] for line in first] == [line[:3] for line in second]
    assert newest(tmp_path) == 12
    finish(*joined(tmp_path, "--hook", 4, "--steps", 20))  # it asks once more
    assert [step for step, *_ in noted(tmp_path, 1)] == [4, 8, 12, 12, 16, 20]


def test_two_processes_end_together(tmp_path):
    """One is told to end: both save and leave."""
    processes = joined(tmp_path, "--pace", 0.05, "--save-every", 50)
    while "step 12" not in processes[0].stdout.readline():
        assert processes[0].poll() is None, processes[0].stderr.read()[-3000:]
    processes[1].send_signal(signal.SIGTERM)
    for process in processes:
        process.communicate(timeout=60)
    assert [p.returncode for p in processes] == [143, 143]
    newest = max(int(p.name) for p in (tmp_path / "checkpoints").iterdir())
    assert newest not in (0, 50, 60)


def test_two_processes_fail_together(tmp_path):
    """The one that writes runs out of room: both stop, and what was saved stays."""
    processes = joined(tmp_path, "--room", 700, "--save-every", 5)
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1]
    assert "OSError: cannot save the checkpoint of step 10" in errors[0]
    assert "another process of this run failed" in errors[1]
    assert (tmp_path / "checkpoints" / "5").exists()
    finish(*joined(tmp_path))
