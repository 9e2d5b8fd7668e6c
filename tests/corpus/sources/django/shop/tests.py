import unittest

from django.test import SimpleTestCase, TestCase, tag


class Prices(SimpleTestCase):
    def test_adds(self):
        self.assertEqual(1 + 1, 2)

    def test_rounds(self):
        self.assertEqual(round(2.5), 3)

    def test_divides(self):
        1 / 0

    @unittest.skip("no currency")
    def test_converts(self):
        pass

    @unittest.expectedFailure
    def test_is_free(self):
        self.assertEqual(1, 0)


class Orders(TestCase):
    def test_with_the_database(self):
        """An order is kept."""

    @tag("slow")
    def test_subtests(self):
        for n in range(3):
            with self.subTest(n=n):
                self.assertLess(n, 2)
