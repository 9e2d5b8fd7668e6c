import sys
import unittest

import pytest


def test_passes():
    print("printed by a pass")


def test_fails():
    """A failure with a message of more than one line."""
    print("ok 1 - this line is none of ours")
    assert [1, 2] == [1, 3], "lists differ"


def test_raises():
    raise ValueError("größer als erlaubt: ünïcödé")


@pytest.fixture
def broken():
    raise RuntimeError("the fixture is broken")


def test_cannot_be_set_up(broken):
    pass


@pytest.fixture
def late():
    yield
    raise OSError("tear-down went wrong")


def test_tears_down_badly(late):
    pass


@pytest.mark.skip(reason="no net")
def test_skipped():
    pass


def test_skipped_within():
    pytest.skip("not on this machine")


@pytest.mark.xfail(reason="known since 2019")
def test_expected_to_fail():
    assert 1 == 2


@pytest.mark.xfail(reason="was known")
def test_passes_unexpectedly():
    pass


@pytest.mark.parametrize("text", ["plain", "with space", "a - b", "ünï", "[x]", "PASSED"])
def test_names(text):
    assert text != "with space"


class TestGrouped:
    def test_in_a_class(self):
        sys.stderr.write("on the other stream\n")

    def test_in_a_class_fails(self):
        assert "a" in "bcd"


class Old(unittest.TestCase):
    def test_of_unittest(self):
        for n in range(3):
            with self.subTest(n=n):
                self.assertNotEqual(n, 1)
