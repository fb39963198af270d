// Orthogonal matrices: orthonormal on the shorter side, reproducible, both signs.
#include <gtest/gtest.h>

#include "rnncore/rnncore.hpp"

namespace rnncore {
namespace {

TEST(Orthogonal, IsOrthonormalOnTheShorterSide) {
  for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{7, 7}, {12, 5}, {5, 12}, {1, 3}}) {
    Generator generator(3);
    const Tensor q = orthogonal(rows, columns, generator);
    ASSERT_EQ(q.shape(), (Shape{rows, columns}));
    const Tensor gram = rows >= columns ? matmul(transpose(q, 0, 1), q) : matmul(q, transpose(q, 0, 1));
    for (std::int64_t i = 0; i < gram.size(0); ++i)
      for (std::int64_t j = 0; j < gram.size(1); ++j)
        EXPECT_NEAR(gram.data<double>()[i * gram.size(1) + j], i == j ? 1.0 : 0.0, 1e-13);
  }
}

// Without the sign correction the first Householder column would always lean one way.
TEST(Orthogonal, LeansBothWays) {
  int positive = 0;
  constexpr int kDraws = 200;
  for (int seed = 0; seed < kDraws; ++seed) {
    Generator generator(static_cast<std::uint64_t>(seed));
    positive += orthogonal(3, 3, generator).data<double>()[0] > 0;
  }
  EXPECT_GT(positive, kDraws / 3);
  EXPECT_LT(positive, 2 * kDraws / 3);
}

TEST(Orthogonal, RefusesAnEmptyShape) {
  Generator generator(0);
  EXPECT_THROW(orthogonal(0, 3, generator), ArgumentError);
}

}  // namespace
}  // namespace rnncore
