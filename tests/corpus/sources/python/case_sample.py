"""For unittest's own runner."""
import sys
import unittest


class Plain(unittest.TestCase):
    def test_passes(self):
        pass

    def test_fails(self):
        self.assertEqual([1, 2], [1, 3], "lists differ")

    def test_raises(self):
        raise ValueError("größer als erlaubt")

    def test_with_words(self):
        """Says what it does, and not its name."""

    def test_with_words_fails(self):
        """Says what it does ... and fails."""
        self.fail("no")

    def test_prints(self):
        print("printed, with no end", end="")

    def test_writes(self):
        sys.stderr.write("ok, so\nwritten in between\n")
        sys.stderr.flush()

    @unittest.skip("no net")
    def test_skipped(self):
        pass

    @unittest.expectedFailure
    def test_expected_to_fail(self):
        self.assertEqual(1, 2)

    @unittest.expectedFailure
    def test_passes_unexpectedly(self):
        pass

    def test_subtests(self):
        for n in range(4):
            with self.subTest("shape", n=n):
                self.assertNotEqual(n % 2, 1)

    def test_subtests_skip(self):
        with self.subTest(kind="a"):
            self.skipTest("not this one")


class CannotBeSetUp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise RuntimeError("no class today")

    def test_never_reached(self):
        pass


class Skipped(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise unittest.SkipTest("the whole class")

    def test_never_tried(self):
        pass
