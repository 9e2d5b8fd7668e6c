#include <gtest/gtest.h>

TEST(Prices, Adds) { EXPECT_EQ(1 + 1, 2); }
TEST(Prices, Rounds) {
  EXPECT_EQ(2, 3) << "größer als <erlaubt>";
  EXPECT_TRUE(false);
}
TEST(Prices, DISABLED_Converts) {}
TEST(Prices, Skipped) { GTEST_SKIP() << "no net"; }
TEST(Prices, Throws) { throw std::runtime_error("thrown"); }

class Sizes : public testing::TestWithParam<int> {};
TEST_P(Sizes, AreEven) { EXPECT_EQ(GetParam() % 2, 0); }
INSTANTIATE_TEST_SUITE_P(Some, Sizes, testing::Values(2, 3));
