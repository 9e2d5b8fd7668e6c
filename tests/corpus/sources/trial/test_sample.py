from twisted.internet import defer, reactor, task
from twisted.trial import unittest


class Deferred(unittest.TestCase):
    def test_fires(self):
        return task.deferLater(reactor, 0, lambda: None)

    def test_fails(self):
        self.assertEqual([1, 2], [1, 3])

    def test_errs(self):
        return defer.fail(RuntimeError("größer als erlaubt"))

    def test_leaves_the_reactor_unclean(self):
        reactor.callLater(60, lambda: None)

    def test_later(self):
        self.assertEqual(1, 2)

    test_later.todo = "not written yet"

    def test_done_by_now(self):
        pass

    test_done_by_now.todo = "was not written"

    def test_skipped(self):
        pass

    test_skipped.skip = "no net"

    def test_prints(self):
        print("printed in between")


class SetUp(unittest.TestCase):
    def setUp(self):
        raise OSError("nothing is set up")

    def test_never_reached(self):
        pass
