require "minitest/autorun"
class TestWords < Minitest::Test
  def test_splits; puts "TestInner#test_x = 0.00 s = F"; assert_equal 2, 1; end
  def test_joins; assert true; end
  def test_skips; skip "no net"; end
  def test_errs; raise NameError, "what"; end
end
