"""The page of the museum."""

from tests.museum.__main__ import PAGE, hung, page
from tests.museum.left_out import LEFT_OUT


def test_the_page_is_what_the_exhibits_say():
    assert PAGE.read_text() == page(), "run python -m tests.museum"


def test_no_fault_is_forgotten():
    numbers = [test.exhibit.number for test in hung()] + [one[0] for one in LEFT_OUT]
    assert sorted(numbers) == list(range(1, 71))
