import unittest

import pytest


class Old(unittest.TestCase):
    def test_passes_but_for_its_parts(self):
        for n in range(3):
            with self.subTest("a message", n=n, word="a b"):
                self.assertEqual(n, 0)

    def test_has_a_part_with_an_odd_name(self):
        with self.subTest("say [x] (y) :: z"):
            self.fail("no")


@pytest.mark.parametrize("word", ["a b", "c - d", "x::y z"])
def test_parts(subtests, word):
    for n in range(2):
        with subtests.test("a message", n=n):
            assert n == 0
    with subtests.test(at=(1, 2)):
        assert word == 3


def test_passes(subtests):
    with subtests.test(at=(1, 2)):
        pass
