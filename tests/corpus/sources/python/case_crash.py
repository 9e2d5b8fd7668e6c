"""Dies by a signal between two cases."""
import os
import signal
import unittest


class Crash(unittest.TestCase):
    def test_a_passes(self):
        pass

    def test_b_dies(self):
        os.kill(os.getpid(), signal.SIGSEGV)

    def test_c_is_never_reached(self):
        pass
