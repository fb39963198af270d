// Every cell's hand-written backward against its own forward, differentiated by dual numbers in double precision.
// What breaks it: any wrong sign, factor or missing term in a cell file (shown by the Broken cells below).
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <type_traits>
#include <vector>

namespace {

// value + derivative in one direction.
struct Dual {
  double v = 0, d = 0;
  Dual() = default;
  explicit Dual(double constant) : v(constant) {}
  Dual(double value, double derivative) : v(value), d(derivative) {}
  friend Dual operator+(const Dual& a, const Dual& b) { return {a.v + b.v, a.d + b.d}; }
  friend Dual operator-(const Dual& a, const Dual& b) { return {a.v - b.v, a.d - b.d}; }
  friend Dual operator*(const Dual& a, const Dual& b) { return {a.v * b.v, a.d * b.v + a.v * b.d}; }
  friend Dual operator/(const Dual& a, const Dual& b) { return {a.v / b.v, (a.d - a.v / b.v * b.d) / b.v}; }
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

Dual log(const Dual& a) { return {std::log(a.v), a.d / a.v}; }
Dual abs(const Dual& a) { return a.v < 0 ? Dual(-a.v, -a.d) : a; }
Dual where_positive(const Dual& a, const Dual& x, const Dual& y) { return a.v > 0 ? x : y; }
Dual where_equal(const Dual& a, const Dual& b, const Dual& x, const Dual& y) { return a.v == b.v ? x : y; }

namespace cells {
#include "cells/activation.h"
#include "cells/carry.h"
#include "cells/elman.h"
#include "cells/elman_options.h"
#include "cells/gru.h"
#include "cells/gru_reset_before.h"
#include "cells/gru_options.h"
#include "cells/indrnn.h"
#include "cells/lstm.h"
#include "cells/lstm_options.h"
#include "cells/mgu.h"

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
// Peepholes whose gradient misses the path through c_{t-1}.
struct BrokenPeephole : LstmOptions<true> {
  template <class V>
  static void backward(const Options<V>& options, const V* p, V* s, const V& h_prev, const V& c_prev, const V& c,
                       const V& dh, V& dc, V& direct, V* dp) {
    LstmOptions<true>::backward(options, p, s, h_prev, c_prev, c, dh, dc, direct, dp);
    dc = dc - s[0] * p[0];
  }
};
}  // namespace cells

constexpr int kMostWeights = 3;
struct Activation {
  cells::Function kind = cells::Function::tanh;
  double alpha = 0, beta = 0;
};
struct Numbers {
  Activation gate = {cells::Function::sigmoid}, candidate, hidden;
  double clip = 0;
  bool peephole = false, coupled = false, truncate_gates = false;
};
template <class Cell>
constexpr int unit_weights() {
  if constexpr (Cell::kOptions) return Cell::kUnitWeights;
  return 0;
}

// The independent inputs of one step of one unit. Two-stage cells: the second product is a weight times p.
struct Point {
  double slot[4], h_prev, c_prev, weight, dh, dc, w[kMostWeights];
};

template <class Cell>
struct OneStep {
  Dual slot[4], p, h, c, w[kMostWeights];
  // Moves input `direction` (0..3 slots, 4 h_prev, 5 c_prev, 6.. unit weights).
  OneStep(const Point& x, const Numbers& numbers, int direction) {
    const cells::Options<Dual> options(numbers);
    for (int i = 0; i < kMostWeights; ++i) w[i] = Dual(x.w[i], direction == 6 + i);
    for (int i = 0; i < Cell::kSlots; ++i) slot[i] = Dual(x.slot[i], direction == i);
    const Dual h_prev(x.h_prev, direction == 4), c_prev(x.c_prev, direction == 5);
    if constexpr (Cell::kStages == 2) {
      if constexpr (Cell::kOptions)
        Cell::forward_first(options, slot, h_prev, p);
      else
        Cell::forward_first(slot, h_prev, p);
      slot[Cell::kSecondFirst] = slot[Cell::kSecondFirst] + Dual(x.weight, 0) * p;
    }
    if constexpr (Cell::kOptions)
      Cell::forward(options, w, slot, h_prev, c_prev, h, c);
    else
      Cell::forward(slot, h_prev, c_prev, h, c);
  }
};

// Largest difference between the hand-written gradient and the dual derivative of dh * h + dc * c.
template <class Cell>
double largest_difference(const Point& x, const Numbers& numbers) {
  OneStep<Cell> saved(x, numbers, -1);
  const cells::Options<Dual> options(numbers);
  Dual dc(x.dc, 0), direct(0), dw[kMostWeights];
  const Dual h_prev(x.h_prev, 0), c_prev(x.c_prev, 0), dh(x.dh, 0);
  if constexpr (Cell::kOptions)
    Cell::backward(options, saved.w, saved.slot, h_prev, c_prev, saved.c, dh, dc, direct, dw);
  else
    Cell::backward(saved.slot, h_prev, c_prev, saved.c, dh, dc, direct);
  if constexpr (Cell::kStages == 2) {
    const Dual dp = Dual(x.weight, 0) * saved.slot[Cell::kSecondFirst];
    if constexpr (Cell::kOptions)
      Cell::backward_second(options, saved.slot, h_prev, dp, direct);
    else
      Cell::backward_second(saved.slot, h_prev, dp, direct);
  }
  double worst = 0;
  const auto compare = [&](int direction, double got) {
    const OneStep<Cell> moved(x, numbers, direction);
    worst = std::max(worst, std::abs(got - (x.dh * moved.h.d + (Cell::kCell ? x.dc * moved.c.d : 0))));
  };
  for (int i = 0; i < Cell::kSlots; ++i) {
    const auto within = [i](int first, int count) { return i >= first && i < first + count; };
    bool fed = within(Cell::kInputFirst, Cell::kInputCount) || within(Cell::kRecurrentFirst, Cell::kRecurrentCount);
    if (fed) compare(i, saved.slot[i].v);  // the others are a cell's own
  }
  compare(4, direct.v);
  if (Cell::kCell) compare(5, dc.v);
  for (int i = 0; i < unit_weights<Cell>(); ++i) compare(6 + i, dw[i].v);
  return worst;
}

template <class Cell>
double worst_of_many(const Numbers& numbers = {}) {
  std::mt19937 random(7);
  std::normal_distribution<double> normal(0, 1.5);
  double worst = 0;
  for (int i = 0; i < 500; ++i) {
    Point x{};
    for (double* value : {&x.slot[0], &x.slot[1], &x.slot[2], &x.slot[3], &x.h_prev, &x.c_prev, &x.weight, &x.dh, &x.dc,
                          &x.w[0], &x.w[1], &x.w[2]})
      *value = normal(random);
    worst = std::max(worst, largest_difference<Cell>(x, numbers));
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

// Every activation in every place, plain and clipped.
std::vector<Numbers> all_numbers() {
  using cells::Function;
  const std::vector<Activation> kinds = {{Function::sigmoid},
                                         {Function::tanh},
                                         {Function::relu},
                                         {Function::affine, 0.8, 0.1},
                                         {Function::leaky_relu, 0.2},
                                         {Function::thresholded_relu, 0.3},
                                         {Function::scaled_tanh, 1.7, 0.6},
                                         {Function::hard_sigmoid, 0.2, 0.5},
                                         {Function::hard_tanh},
                                         {Function::elu, 0.9},
                                         {Function::softsign},
                                         {Function::softplus}};
  std::vector<Numbers> all;
  for (std::size_t i = 0; i < kinds.size(); ++i)
    for (const double clip : {0.0, 1.2}) {
      Numbers n;
      n.gate = kinds[i];
      n.candidate = kinds[(i + 1) % kinds.size()];
      n.hidden = kinds[(i + 2) % kinds.size()];
      n.clip = clip;
      all.push_back(n);
    }
  return all;
}

template <class Cell>
double worst_of_options(bool peephole, bool coupled) {
  double worst = 0;
  for (Numbers n : all_numbers()) {
    n.peephole = peephole;
    n.coupled = coupled;
    worst = std::max(worst, worst_of_many<Cell>(n));
  }
  return worst;
}

constexpr double kOptionTolerance = 1e-10;  // values grow to tens under ReLU-like gates

TEST(OptionGradient, AgreesWithDualNumbers) {
  EXPECT_LT(worst_of_options<cells::ElmanOptions>(false, false), kOptionTolerance);
  EXPECT_LT(worst_of_options<cells::GruOptions>(false, false), kOptionTolerance);
  EXPECT_LT(worst_of_options<cells::Mgu>(false, false), kOptionTolerance);
  EXPECT_LT(worst_of_options<cells::IndRnn>(false, false), kOptionTolerance);
  EXPECT_LT(worst_of_options<cells::GruResetBeforeOptions>(false, false), kOptionTolerance);
  for (const bool peephole : {false, true}) {
    EXPECT_LT(worst_of_options<cells::LstmOptions<true>>(peephole, false), kOptionTolerance);
    EXPECT_LT(worst_of_options<cells::LstmOptions<false>>(peephole, false), kOptionTolerance);
    EXPECT_LT(worst_of_options<cells::LstmOptions<false>>(peephole, true), kOptionTolerance);
  }
}

TEST(OptionGradient, CarriedStates) {
  const Dual k(0.3), d0(0.7), old_state(0.4, 1), new_state(-0.9, 1);
  Dual d = d0;
  const Dual past = cells::carried_back(k, d);
  EXPECT_NEAR(past.v, 0.7 * cells::carried(k, old_state, Dual(-0.9)).d, 1e-15);
  EXPECT_NEAR(d.v, 0.7 * cells::carried(k, Dual(0.4), new_state).d, 1e-15);
  EXPECT_EQ(cells::carried(Dual(1), old_state, new_state).v, 0.4);
  EXPECT_EQ(cells::carried(Dual(0), old_state, new_state).v, -0.9);
}

TEST(OptionGradient, TheCheckSeesAMissingPeephole) {
  Numbers n;
  n.peephole = true;
  EXPECT_GT(worst_of_many<cells::BrokenPeephole>(n), 0.1);
}

// Where errors are truncated, what reaches c_{t-1} is dc * f alone (1997, appendix A.1).
TEST(OptionGradient, TruncationLeavesOnlyTheMemoryCell) {
  Numbers n;
  n.peephole = true;
  n.truncate_gates = true;
  Point x{{0.3, -0.2, 0.9, 0.4}, 0.1, 0.7, 0, 1.3, 0.6, {0.5, -0.8, 0.9}};
  OneStep<cells::LstmOptions<true>> run(x, n, -1);
  const double o = run.slot[3].v, f = run.slot[1].v, q = std::tanh(run.c.v);
  Dual dc(x.dc, 0), direct(0), dw[kMostWeights];
  cells::LstmOptions<true>::backward(cells::Options<Dual>(n), run.w, run.slot, Dual(x.h_prev), Dual(x.c_prev), run.c,
                                     Dual(x.dh), dc, direct, dw);
  EXPECT_NEAR(dc.v, (x.dc + x.dh * o * (1 - q * q)) * f, 1e-15);
  EXPECT_NEAR(dw[2].v, run.slot[3].v * run.c.v, 1e-15);  // the weights into the gates learn as ever
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
