"""Every program explains itself."""

import pytest

from tests.examples.load import FOLDER, load

PROGRAMS = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_shows_all_settings(name, capsys):
    program = load(name)
    with pytest.raises(SystemExit):
        program.tyro.cli(program.Settings, args=["--help"])
    said = capsys.readouterr().out
    for setting in program.Settings.__dataclass_fields__:
        assert f"--{setting.replace('_', '-')}" in said


def test_the_demo_takes_the_former_name_of_its_distances():
    program = load("agreement")
    read = lambda *args: program.tyro.cli(program.Settings, args=args).distances
    assert (read("--school", "mixed"), read("--distances", "both")) == ("mixed", "both")


def test_there_are_six():
    assert len(PROGRAMS) == 6
