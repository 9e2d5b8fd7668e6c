import unittest


class Parts(unittest.TestCase):
    def test_a_fails_in_parts(self):
        for n in range(3):
            with self.subTest(n=n):
                self.assertEqual(n, 1)

    def test_b_passes(self):
        pass

    def test_c_fails_in_a_part(self):
        with self.subTest("a message", n=1):
            self.fail("no")

    def test_d_errs_in_a_part(self):
        with self.subTest(n=1):
            raise ValueError("größer als erlaubt")

    def test_e_skips_in_a_part(self):
        with self.subTest(n=1):
            self.skipTest("no net")

    def test_f_fails_in_a_part(self):
        with self.subTest(n=1):
            self.fail("no")

    def test_g_has_words(self):
        """Says what it does."""

    def test_h_fails_in_the_last_part(self):
        with self.subTest(n=1):
            self.fail("no")
