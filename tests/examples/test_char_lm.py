"""The language model at reduced size: reads, trains, resumes, writes."""

import json

import jax
import numpy as np
import pytest

from tests.examples.load import load

TEXT = "The cats, which already ate the fish, were full. Ein Kätzchen schläft.\n" * 120


@pytest.fixture(scope="module")
def program():
    return load("char_lm")


@pytest.fixture
def settings(program, tmp_path):
    (tmp_path / "corpus.txt").write_text(TEXT)
    return program.Settings(
        corpus=tmp_path / "corpus.txt",
        out=tmp_path / "out",
        steps=40,
        hidden=12,
        features=6,
        rate=0.1,
        batch=4,
        length=16,
        characters=30,
        prompt="The ",
    )


def test_reads_folders_apart(program, tmp_path):
    for name, text in {"a.py": "one", "b.py": "two\0", "c.txt": "three"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "d.py").write_text("four")
    found = program.read(tmp_path, "*.py")
    assert found[:1] == b"\0"
    assert sorted(found[1:].split(b"\0")) == [b"one", b"two"]
    assert program.read(tmp_path / "c.txt", "*.py") == b"\0three"
    with pytest.raises(SystemExit, match="no text"):
        program.read(tmp_path, "*.rs")


@pytest.mark.slow
def test_trains_resumes_and_writes(program, settings, capfdbinary):
    fitted = program.main(settings)
    said = capfdbinary.readouterr().out.decode(errors="replace")
    rows = (settings.out / "corpus.txt" / "metrics.jsonl").read_text().splitlines()
    row = json.loads(rows[-1])
    assert (row["split"], row["step"]) == ("valid", 40)
    # Bits a character: nats per byte, times bytes a character, over ln 2.
    bytes_a_character = len(("\0" + TEXT).encode()) / len("\0" + TEXT)
    bits = row["loss"] * bytes_a_character / np.log(2)
    assert f"{row['loss']:.4f} nats per byte, {bits:.3f} bits per character" in said
    assert row["loss"] < np.log(len(set(TEXT))) - 0.1
    assert (settings.out / "corpus.txt" / "loss.png").stat().st_size > 5000
    written = said[said.index("loss.png") :].partition("\n\nThe ")[2]
    assert 15 <= len(written) <= 31  # 30 bytes, of which some may be halves of a letter
    again = program.main(settings)
    assert again.history == fitted.history
    assert b"best:" in capfdbinary.readouterr().out


def test_prompt_of_unknown_characters(program, settings):
    for prompt in ("Zebra!", ""):
        asked = program.Settings(corpus=settings.corpus, prompt=prompt)
        with pytest.raises(SystemExit, match="prompt: expected characters"):
            program.main(asked)


@pytest.mark.slow
def test_writes_by_temperature_and_top_k(program, settings):
    """At top_k 1 the likeliest always; a low temperature comes close; a high one not."""
    cell, params, _ = program.make(settings, 20)
    params = params._replace(bias=jax.random.normal(jax.random.key(5), (20,)))
    prompt = np.array([3, 1, 4])

    def written(**options):
        asked = program.Settings(hidden=12, features=6, characters=40, **options)
        return list(program.write(asked, cell, params, prompt))

    carry = cell.initial_carry(params.cell, params.embedding[0])
    want, token = [], None
    for n in range(42):
        token = prompt[n] if n < 3 else want[-1]
        carry, h = cell.step(params.cell, carry, params.embedding[token])
        if n >= 2:
            want.append(int((h @ params.readout + params.bias).argmax()))
    assert written(top_k=1, temperature=3.0) == want
    assert written(top_k=20, temperature=1e-6) == want
    assert len(set(written(top_k=20, temperature=3.0, seed=1))) > 8
    assert len(set(written(top_k=2, temperature=100.0))) < 12
    assert written(seed=1) != written(seed=2)


@pytest.mark.nightly
def test_learns_python(program, tmp_path):
    """200 updates of a smaller cell on the standard library, whose bytes alone have 3.2
    nats: measured 2.21."""
    settings = program.Settings(out=tmp_path, steps=200, hidden=128, characters=10)
    fitted = program.main(settings)
    assert fitted.best["loss"] < 2.3
