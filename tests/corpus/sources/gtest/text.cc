#include <gtest/gtest.h>
#include <cstdio>
TEST(Words, Splits) { EXPECT_EQ(1, 2); }
TEST(Words, Joins) { std::printf("[ RUN      ] Inner.X\n[  FAILED  ] Inner.X (0 ms)\n"); }
TEST(Words, Skips) { GTEST_SKIP() << "no net"; }
TEST(Words, DISABLED_Later) {}
class P : public testing::TestWithParam<int> {};
TEST_P(P, Even) { EXPECT_EQ(GetParam() % 2, 0); }
INSTANTIATE_TEST_SUITE_P(All, P, testing::Values(2, 3));
