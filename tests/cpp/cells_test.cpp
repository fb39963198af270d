// Every cell's hand-written backward against its own forward, differentiated by dual numbers in double precision.
// What breaks it: any wrong sign, factor or missing term in a cell file (shown by the Broken cells below).
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <type_traits>

namespace {

// value + derivative in one direction.
struct Dual {
  double v = 0, d = 0;
  Dual() = default;
  explicit Dual(int constant) : v(constant) {}
  Dual(double value, double derivative) : v(value), d(derivative) {}
  friend Dual operator+(const Dual& a, const Dual& b) { return {a.v + b.v, a.d + b.d}; }
  friend Dual operator-(const Dual& a, const Dual& b) { return {a.v - b.v, a.d - b.d}; }
  friend Dual operator*(const Dual& a, const Dual& b) { return {a.v * b.v, a.d * b.v + a.v * b.d}; }
};
Dual tanh(const Dual& a) {
  const double t = std::tanh(a.v);
  return {t, a.d * (1 - t * t)};
}
Dual sigmoid(const Dual& a) {
  const double s = 1 / (1 + std::exp(-a.v));
  return {s, a.d * s * (1 - s)};
}
Dual relu(const Dual& a) { return a.v < 0 ? Dual(0) : a; }
Dual positive_part_mask(const Dual& a) { return Dual(a.v > 0 ? 1 : 0); }

namespace cells {
#include "cells/elman.h"
#include "cells/gru.h"
#include "cells/gru_reset_before.h"
#include "cells/lstm.h"

// The LSTM with one sign flipped, and the GRU with one term dropped: the check must see both.
struct BrokenLstm : Lstm {
  template <class V>
  static void backward(V* s, const V& h_prev, const V& c_prev, const V& c, const V& dh, V& dc, V& direct) {
    Lstm::backward(s, h_prev, c_prev, c, dh, dc, direct);
    s[1] = V(0) - s[1];
  }
};
struct BrokenGru : Gru {
  template <class V>
  static void backward(V* s, const V& h_prev, const V& c_prev, const V& c, const V& dh, V& dc, V& direct) {
    Gru::backward(s, h_prev, c_prev, c, dh, dc, direct);
    direct = V(0);
  }
};
}  // namespace cells

// The independent inputs of one step of one unit. Two-stage cells: the second product is a weight times p.
struct Point {
  double slot[4], h_prev, c_prev, weight, dh, dc;
};

template <class Cell>
struct Run {
  Dual slot[4], p, h, c;
  // Moves input `direction` (0..3 slots, 4 h_prev, 5 c_prev).
  Run(const Point& x, int direction) {
    for (int i = 0; i < Cell::kSlots; ++i) slot[i] = Dual(x.slot[i], direction == i);
    const Dual h_prev(x.h_prev, direction == 4), c_prev(x.c_prev, direction == 5);
    if constexpr (Cell::kStages == 2) {
      Cell::forward_first(slot, h_prev, p);
      slot[Cell::kSecondFirst] = slot[Cell::kSecondFirst] + Dual(x.weight, 0) * p;
    }
    Cell::forward(slot, h_prev, c_prev, h, c);
  }
};

// Largest difference between the hand-written gradient and the dual derivative of dh * h + dc * c.
template <class Cell>
double largest_difference(const Point& x) {
  Run<Cell> saved(x, -1);
  Dual dc(x.dc, 0), direct(0);
  const Dual h_prev(x.h_prev, 0), c_prev(x.c_prev, 0), dh(x.dh, 0);
  Cell::backward(saved.slot, h_prev, c_prev, saved.c, dh, dc, direct);
  if constexpr (Cell::kStages == 2)
    Cell::backward_second(saved.slot, h_prev, Dual(x.weight, 0) * saved.slot[Cell::kSecondFirst], direct);
  double worst = 0;
  const auto compare = [&](int direction, double got) {
    const Run<Cell> moved(x, direction);
    worst = std::max(worst, std::abs(got - (x.dh * moved.h.d + (Cell::kCell ? x.dc * moved.c.d : 0))));
  };
  for (int i = 0; i < Cell::kSlots; ++i) compare(i, saved.slot[i].v);
  compare(4, direct.v);
  if (Cell::kCell) compare(5, dc.v);
  return worst;
}

template <class Cell>
double worst_of_many() {
  std::mt19937 random(7);
  std::normal_distribution<double> normal(0, 1.5);
  double worst = 0;
  for (int i = 0; i < 500; ++i) {
    Point x{};
    for (double* value :
         {&x.slot[0], &x.slot[1], &x.slot[2], &x.slot[3], &x.h_prev, &x.c_prev, &x.weight, &x.dh, &x.dc})
      *value = normal(random);
    worst = std::max(worst, largest_difference<Cell>(x));
  }
  return worst;
}

constexpr double kTolerance = 1e-12;  // a handful of double roundings on values of order one

template <class Cell>
class CellGradient : public testing::Test {};
using Cells = testing::Types<cells::Elman<cells::TanhFunction>, cells::Elman<cells::ReluFunction>,
                             cells::Elman<cells::SigmoidFunction>, cells::Lstm, cells::Gru, cells::GruResetBefore>;
TYPED_TEST_SUITE(CellGradient, Cells);

TYPED_TEST(CellGradient, AgreesWithDualNumbers) { EXPECT_LT(worst_of_many<TypeParam>(), kTolerance); }

TEST(CellGradient, TheCheckSeesAFlippedSignAndADroppedTerm) {
  EXPECT_GT(worst_of_many<cells::BrokenLstm>(), 0.1);
  EXPECT_GT(worst_of_many<cells::BrokenGru>(), 0.1);
}

// Values by hand from the equations in the cell files.
TEST(CellForward, LstmByHand) {
  Dual s[4] = {Dual(0.5, 0), Dual(-1.0, 0), Dual(0.25, 0), Dual(2.0, 0)}, h, c;
  cells::Lstm::forward(s, Dual(0.1, 0), Dual(0.7, 0), h, c);
  const auto sigma = [](double a) { return 1 / (1 + std::exp(-a)); };
  const double c_want = sigma(-1.0) * 0.7 + sigma(0.5) * std::tanh(0.25);
  EXPECT_NEAR(c.v, c_want, 1e-15);
  EXPECT_NEAR(h.v, sigma(2.0) * std::tanh(c_want), 1e-15);
}

TEST(CellForward, GruKeepsTheOldStateWhereZIsOne) {
  Dual s[4] = {Dual(0.3, 0), Dual(0.2, 0), Dual(50.0, 0), Dual(0.4, 0)}, h, c;
  cells::Gru::forward(s, Dual(0.77, 0), Dual(0), h, c);
  EXPECT_NEAR(h.v, 0.77, 1e-12);
}

}  // namespace
