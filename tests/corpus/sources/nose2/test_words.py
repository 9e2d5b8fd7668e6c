import unittest
from nose2.tools import params
class T(unittest.TestCase):
    def test_a(self): pass
    def test_b(self): self.fail('no')
    def test_c(self): self.skipTest('no net')
    @unittest.expectedFailure
    def test_d(self): self.fail('later')
    @params(1, 2)
    def test_p(self, n): assert n == 1
    def test_doc(self):
        """It has words."""
def test_func(): pass
def test_gen():
    for n in (1, 2): yield check, n
def check(n): assert n == 1
