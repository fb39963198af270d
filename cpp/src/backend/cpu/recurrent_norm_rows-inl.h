// What the row kernels of layer normalisation (recurrent_norm-inl.h) are made of: where the groups of a row stand,
// their statistics, and the way from gradients of pre-activations to gradients of products.
#if defined(RNNCORE_RECURRENT_NORM_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RNNCORE_RECURRENT_NORM_ROWS_INL_H_
#undef RNNCORE_RECURRENT_NORM_ROWS_INL_H_
#else
#define RNNCORE_RECURRENT_NORM_ROWS_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>

#include "backend/cpu/recurrent_forward-inl.h"
#include "backend/cpu/recurrent_norm.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class Cell, class D>
struct NormRows : Steps<Cell, D> {
  using S = Steps<Cell, D>;
  using S::kLanes;
  using S::kSlots;
  using S::kWeights;
  using S::UB;
  using S::VB;
  using typename S::Options;
  using typename S::T;
  using typename S::V;
  using typename S::Weights;
  static constexpr int kFirst = Cell::kRecurrentFirst, kCount = Cell::kRecurrentCount;
  static constexpr bool kTwoStages = Cell::kStages == 2;
  static constexpr bool kJoint = kSlots == 1 && kCount == 1;  // Elman: the sum is normalised
  static constexpr int second_count() {
    if constexpr (kTwoStages) return Cell::kSecondCount;
    return 0;
  }
  static constexpr int second_first() {
    if constexpr (kTwoStages) return Cell::kSecondFirst;
    return kSlots;
  }
  static constexpr int kSecond = second_count(), kSecondFirst = second_first();
  static constexpr bool within(int slot, int first, int count) { return slot >= first && slot < first + count; }
  // GRU: the candidate's input and its product have slots of their own.
  static constexpr bool kApart = !kTwoStages && kSlots > Cell::kInputCount;

  // The groups of a slot's input and of its product, or -1.
  static constexpr int input_group(int slot) {
    if (kJoint || !within(slot, Cell::kInputFirst, Cell::kInputCount)) return -1;
    return (kApart && slot < kFirst) || within(slot, kSecondFirst, kSecond) ? kInputCandidate : kInputGates;
  }
  static constexpr int product_group(int slot) {
    if (within(slot, kSecondFirst, kSecond)) return kProductCandidate;
    if (!within(slot, kFirst, kCount)) return -1;
    return kApart && slot == kSlots - 1 ? kProductCandidate : kProductGates;
  }
  // The stage of a two-stage cell that needs, and goes back through, a group.
  static constexpr bool belongs(int group, int stage) {
    return !kTwoStages || (stage == 1) == (group == kInputCandidate || group == kProductCandidate);
  }
  static constexpr int stage_of(int group) { return kTwoStages && belongs(group, 1) ? 1 : 0; }

  // f(slot) for every slot, which is a constant there.
  template <class F, int... SLOT>
  static HWY_INLINE void slots_of(const F& f, std::integer_sequence<int, SLOT...>) {
    (f(std::integral_constant<int, SLOT>()), ...);
  }
  template <class F>
  static HWY_INLINE void each_slot(const F& f) {
    slots_of(f, std::make_integer_sequence<int, kSlots>());
  }

  // Where a vector of a slot stands in a row of gates, and in the row of its product.
  static HWY_INLINE std::int64_t gate_at(int slot, std::int64_t b, int v) {
    return (b * kSlots + slot) * UB + v * kLanes;
  }
  static HWY_INLINE std::int64_t product_at(int slot, std::int64_t b, int v) {
    const bool second = within(slot, kSecondFirst, kSecond);
    return (second ? b * kSecond + slot - kSecondFirst : b * kCount + slot - kFirst) * UB + v * kLanes;
  }
  // A row's products.
  struct Products {
    T *first, *second;
    HWY_INLINE T* of(int slot) const { return within(slot, kSecondFirst, kSecond) ? second : first; }
  };
  template <class N>
  static HWY_INLINE Products products_of(const N& n, std::int64_t row) {
    return {n.product[row], n.second[row]};
  }

  // Zero beyond the last unit.
  static HWY_INLINE V valid(const V& value, std::int64_t left) {
    if (HWY_LIKELY(left >= kLanes)) return value;
    return left <= 0 ? V(0) : V(hn::IfThenElseZero(hn::FirstN(D(), static_cast<std::size_t>(left)), value.v));
  }
  static HWY_INLINE T total(const V& lanes) { return hn::GetLane(hn::SumOfLanes(D(), lanes.v)); }
  static HWY_INLINE V load(const T* from) { return hn::LoadU(D(), from); }
  static HWY_INLINE void store(const V& value, T* to) { hn::StoreU(value.v, D(), to); }
  static HWY_INLINE void add(T* to, const V& value) { store(load(to) + value, to); }
  static HWY_INLINE V fma(const V& a, const V& b, const V& c) { return hn::MulAdd(a.v, b.v, c.v); }

  template <class F>
  static HWY_INLINE void each_vector(std::int64_t H, const F& f) {
    for (std::int64_t b = 0; b * UB < H; ++b)
      for (int v = 0; v < VB && b * UB + v * kLanes < H; ++v) f(b, v, b * UB + v * kLanes);
  }

  // Mean and reciprocal deviation of slots [FIRST, FIRST + COUNT) of a row of [block][STRIDE slots][UB].
  template <int STRIDE, int FIRST, int COUNT>
  static HWY_NOINLINE void moments(const T* row, std::int64_t H, T* stats) {
    constexpr int kChains = COUNT * VB;
    const std::int64_t whole = H / UB;
    const T size = static_cast<T>(H * COUNT);
    const auto sum = [&](const auto& term) {
      V chain[kChains];
      for (V& c : chain) c = V(0);
      const auto block = [&](std::int64_t b, auto masked) {
        const T* const at = row + (b * STRIDE + FIRST) * UB;
        for (int i = 0; i < kChains; ++i)
          chain[i] = term(load(at + i * kLanes), chain[i], masked ? H - b * UB - i % VB * kLanes : kLanes);
      };
      for (std::int64_t b = 0; b < whole; ++b) block(b, std::false_type());
      if (whole * UB < H) block(whole, std::true_type());
      for (int i = 1; i < kChains; ++i) chain[0] = chain[0] + chain[i];
      return total(chain[0]);
    };
    const T mean = sum([](const V& x, const V& c, std::int64_t left) { return c + valid(x, left); }) / size;
    const T squares = sum([mean](const V& x, const V& c, std::int64_t left) {
      const V far = valid(x - V(mean), left);
      return fma(far, far, c);
    });
    stats[0] = mean;
    stats[1] = T(1) / std::sqrt(squares / size + static_cast<T>(kNormEpsilon));
  }

  // Statistics of a row's groups, as far as they are known before a stage.
  template <int STAGE>
  static HWY_INLINE void row_moments(const T* gates, const Products& products, std::int64_t H, T* stats) {
    constexpr int kInputs = kTwoStages || kApart ? (kApart ? kCount - 1 : kCount) : Cell::kInputCount;
    if constexpr (!kJoint && STAGE == 0) moments<kSlots, kFirst, kInputs>(gates, H, stats + 2 * kInputGates);
    if constexpr (kApart) moments<kSlots, 0, 1>(gates, H, stats + 2 * kInputCandidate);
    if constexpr (kTwoStages && STAGE == 1)
      moments<kSlots, kSecondFirst, kSecond>(gates, H, stats + 2 * kInputCandidate);
    if constexpr (kCount > 0 && STAGE == 0)
      moments<kCount, 0, kApart ? kCount - 1 : kCount>(products.first, H, stats + 2 * kProductGates);
    if constexpr (kApart) moments<kCount, kCount - 1, 1>(products.first, H, stats + 2 * kProductCandidate);
    if constexpr (kTwoStages && STAGE == 1)
      moments<kSecond, 0, kSecond>(products.second, H, stats + 2 * kProductCandidate);
  }

  // Statistics as vectors.
  struct Stats {
    V mean[kNormGroups], rstd[kNormGroups];
    HWY_INLINE explicit Stats(const T* stats) {
      for (int g = 0; g < kNormGroups; ++g) {
        mean[g] = V(stats[2 * g]);
        rstd[g] = V(stats[2 * g + 1]);
      }
    }
    HWY_INLINE V hat(int group, const V& x) const { return (x - mean[group]) * rstd[group]; }
  };

  // The pre-activations of a vector of units: those that the stage knows (both stages: 1 knows all).
  template <int STAGE>
  static HWY_INLINE void load_normed(V (&slot)[kSlots], const Stats& stats, const NormScales<T>& scales, const T* bias,
                                     const T* gates, const Products& products, std::int64_t b, int v) {
    each_slot([&](auto i) {
      constexpr int kInput = input_group(i), kProduct = product_group(i);
      slot[i] = V(0);
      if constexpr (kInput < 0 && kProduct < 0) return;  // no product touches it
      if constexpr (stage_of(kInput < 0 ? kProduct : kInput) <= STAGE) {
        const std::int64_t at = gate_at(i, b, v);
        slot[i] = load(bias + at);
        if constexpr (kInput >= 0) slot[i] = fma(load(scales.ih + at), stats.hat(kInput, load(gates + at)), slot[i]);
        if constexpr (kProduct >= 0)
          slot[i] = fma(load(scales.hh + at), stats.hat(kProduct, load(products.of(i) + product_at(i, b, v))), slot[i]);
      }
    });
  }

  // Sums over a row of e and e hat, by group.
  struct RowSums {
    V sum[kNormGroups], dot[kNormGroups];
    HWY_INLINE RowSums() {
      for (int g = 0; g < kNormGroups; ++g) sum[g] = dot[g] = V(0);
    }
    HWY_INLINE void take(int group, const V& e, const V& hat) {
      sum[group] = sum[group] + e;
      dot[group] = fma(e, hat, dot[group]);
    }
    // Then they become means.
    HWY_INLINE void divide(int group, T size) {
      sum[group] = V(total(sum[group]) / size);
      dot[group] = V(total(dot[group]) / size);
    }
  };
  // dx of a vector with gradient e.
  static HWY_INLINE V spread(const RowSums& means, const Stats& stats, int group, const V& e, const V& x) {
    return (e - means.sum[group] - stats.hat(group, x) * means.dot[group]) * stats.rstd[group];
  }
  // Values of a group in a row.
  static T size_of(int group, std::int64_t H) {
    int count = 0;
    for (int i = 0; i < kSlots; ++i) count += input_group(i) == group || product_group(i) == group;
    return static_cast<T>(H * (group == kNormCell ? 1 : count));
  }

  // One row's things.
  struct Row {
    const NormBackward<T>& n;
    const BackwardStep<T>& s;
    std::int64_t row, units;
    T *gates, *scratch, *e_c, *sums;
    Products products;
    NormSumsLayout at;
    bool absent, resets;

    Row(const NormBackward<T>& given, std::int64_t number)
        : n(given),
          s(given.step),
          row(number),
          units(S::padded_units(given.step.H)),
          gates(s.gates + row * s.gates_row),
          scratch(n.scratch[row]),
          e_c(scratch + units * kSlots),
          sums(n.sums[row]),
          products(products_of(n, row)),
          at(units * kSlots, units),
          absent(s.flags && (s.flags[row] & kRowAbsent)),
          resets(s.flags && (s.flags[row] & kRowResets)) {}
    T* gradients() const { return s.unit_gradients ? s.unit_gradients + row * kWeights * units : nullptr; }
  };

  // A vector's gradients of the pre-activations to the scratch row, and into all sums.
  template <int STAGE>
  static HWY_INLINE void collect(const Row& r, const Stats& stats, V (&slot)[kSlots], std::int64_t b, int v,
                                 std::int64_t left, RowSums& sums) {
    each_slot([&](auto i) {
      constexpr int kInput = input_group(i), kProduct = product_group(i);
      constexpr int kGroup = kInput < 0 ? kProduct : kInput;
      const std::int64_t at = gate_at(i, b, v);
      if constexpr (kGroup >= 0 && belongs(kGroup, STAGE)) {
        const V da = valid(slot[i], left);
        add(r.sums + r.at.bias + at, da);
        const auto through = [&](int group, const T* scale, T* d_scale, const V& x) {
          const V hat = stats.hat(group, x);
          store(fma(da, hat, load(d_scale + at)), d_scale + at);
          sums.take(group, da * load(scale + at), hat);
        };
        if constexpr (kInput >= 0) through(kInput, r.n.scales.ih, r.sums + r.at.scale_ih, load(r.gates + at));
        if constexpr (kProduct >= 0)
          through(kProduct, r.n.scales.hh, r.sums + r.at.scale_hh, load(r.products.of(i) + product_at(i, b, v)));
        store(da, r.scratch + at);
      } else if constexpr (kTwoStages) {
        store(slot[i], r.scratch + at);  // for the second stage
      }
    });
  }

  // From the scratch row to the gradients of the products, where the products stood.
  template <int STAGE>
  static HWY_INLINE void spread_row(const Row& r, const Stats& stats, RowSums& sums) {
    for (int g = 0; g < kNormCell; ++g)
      if (belongs(g, STAGE)) sums.divide(g, std::max(T(1), size_of(g, r.s.H)));
    for (std::int64_t unit = 0; unit < r.units; unit += kLanes) {  // padding gets zeros
      const std::int64_t b = unit / UB, left = r.s.H - unit;
      const int v = static_cast<int>(unit % UB) / kLanes;
      each_slot([&](auto i) {
        constexpr int kInput = input_group(i), kProduct = product_group(i);
        constexpr int kGroup = kInput < 0 ? kProduct : kInput;
        if constexpr (kGroup >= 0 && belongs(kGroup, STAGE)) {
          const std::int64_t at = gate_at(i, b, v);
          const V da = valid(load(r.scratch + at), left);
          if constexpr (kInput >= 0)
            store(valid(spread(sums, stats, kInput, da * load(r.n.scales.ih + at), load(r.gates + at)), left),
                  r.gates + at);
          if constexpr (kProduct >= 0) {
            T* const product = r.products.of(i) + product_at(i, b, v);
            store(valid(spread(sums, stats, kProduct, da * load(r.n.scales.hh + at), load(product)), left), product);
          }
        }
      });
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();
#endif  // RNNCORE_RECURRENT_NORM_ROWS_INL_H_
