"""What is typed after `send ACTION`, and what is shown for `--help`."""

import shlex

import pytest

from gateway.actions import ACTIONS
from gateway.core.messages import Json
from gateway.send_words import catalogue, explain, read


@pytest.mark.parametrize(
    ("action", "word", "expected"),
    [
        ("DO_ORDER_SEND", "lots=0.1", 0.1),
        ("DO_ORDER_SEND", "order_type=BUY", "BUY"),
        ("DO_ORDER_SEND", "order_type=1", 1),
        ("DO_ORDER_SEND", "comment=17", "17"),
        ("DO_ORDER_SEND", "comment=a=b", "a=b"),
        ("DO_ORDER_SEND", "allow_nudge=true", True),
        ("DO_ORDER_SEND", "lots=abc", "abc"),
        ("DO_CLOSE_ALL", "symbol=100", "100"),
        ("GET_SYMBOL_INFO", "names=EURUSD", ["EURUSD"]),
        ("GET_SYMBOL_INFO", "names=EURUSD,GOLD spot", ["EURUSD", "GOLD spot"]),
        ("GET_SYMBOL_INFO", 'names=["EURUSD"]', ["EURUSD"]),
        ("RUN_INDICATOR", "argv=EURUSD,H1,14", ["EURUSD", "H1", 14]),
        ("GET_ORDERS", "unknown=5", 5),
    ],
)
def test_word_is_read_as_its_action_means_it(action: str, word: str, expected: Json) -> None:
    """A comment of digits is text; whatever is wrong is left for the gateway to say."""
    assert [expected] == list(read(ACTIONS[action], [word]).values())


@pytest.mark.parametrize("words", [["lots"], ["=5"], ["lots=1", "lots=2"]])
def test_word_that_is_no_pair_is_refused(words: list[str]) -> None:
    """Before anything is connected."""
    with pytest.raises(ValueError, match=r"not key=value|given twice"):
        read(ACTIONS["DO_ORDER_SEND"], words)


@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_is_explained_by_an_example_that_works(name: str) -> None:
    """Each parameter has its line; the example can be typed."""
    action = ACTIONS[name]
    text = explain(action)
    example = shlex.split(text.rpartition("\n")[2])[3:]

    told = {line.split()[0] for line in text.splitlines() if line.startswith("  ")}

    assert action.parameters.model_fields.keys() <= told
    assert action.validate(read(action, example)) == action.validate(action.parameters.example)
    assert f"  {name} " in catalogue()
