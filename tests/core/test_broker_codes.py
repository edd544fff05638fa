"""MT4's codes: whether anything ran. Each class of docs/protocol.md, and what is not listed."""

import pytest

from gateway.core.broker_codes import BROKER_CODES, Ran, describe

NOT_NOW = [135, 136, 138, 146]
REJECTED = [3, 5, 7, 8, 64, 65, *range(129, 135), 140, 141, 144, 145, 147, 148, 149, 150]
CHECKED_BY_THE_TERMINAL = range(4051, 4113)
IN_DOUBT = [0, 1, 2, 4, 6, 9, 128, 137, 139, 142, 143]
UNLISTED = [-1, 10, 63, 66, 127, 151, 1000, 3999, 4000, 4050, 4113, 5000, 65536, 2**31]


@pytest.mark.parametrize("code", NOT_NOW)
def test_nothing_ran_and_it_may_be_tried_again(code: int) -> None:
    """Not now."""
    assert Ran.NOT_NOW is describe(code).ran


@pytest.mark.parametrize("code", [*REJECTED, *CHECKED_BY_THE_TERMINAL])
def test_nothing_ran(code: int) -> None:
    """Rejected: by the broker, or by the terminal before it asked the broker."""
    assert Ran.NO is describe(code).ran


@pytest.mark.parametrize("code", IN_DOUBT)
def test_it_may_have_run(code: int) -> None:
    """The broker has not said no."""
    assert Ran.IN_DOUBT is describe(code).ran


@pytest.mark.parametrize("code", UNLISTED)
def test_an_unlisted_code_is_in_doubt(code: int) -> None:
    """A code of tomorrow may mean anything; its name says that it is not known."""
    described = describe(code)

    assert (Ran.IN_DOUBT, code, f"ERR_{code}") == (described.ran, described.code, described.name)


def test_every_listed_code_is_in_exactly_one_class() -> None:
    """The table and this file agree on all of them."""
    classes = [set(NOT_NOW), set(REJECTED), set(IN_DOUBT), set(CHECKED_BY_THE_TERMINAL)]

    assert set() == set(BROKER_CODES) - set.union(*classes)
    assert sum(map(len, classes)) == len(set.union(*classes))


def test_every_line_of_the_table_is_whole() -> None:
    """A name that is a constant's, and a meaning for a person."""
    for code, described in BROKER_CODES.items():
        assert code == described.code
        assert described.name.startswith("ERR_")
        assert described.name.isupper()
        assert described.meaning == described.meaning.strip() != ""
