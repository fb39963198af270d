// Row kernels of layer normalisation inside the step, for every instruction set. Contract: recurrent_norm.h; the cells:
// src/cells. Normalisation of a group x of n values (Ba, Kiros & Hinton 2016, equation 3, and its gradient):
//
//   hat = (x - mean) rstd,   rstd = 1 / sqrt(mean of (x - mean)^2 + 1e-5)
//   dx  = rstd (e - mean(e) - hat mean(e hat)),   e = dhat
//
//   LSTM (equations 20 to 22)  a = scale_ih hat(W_ih x) + scale_hh hat(W_hh h) + bias_ih + bias_hh
//                              h = o tanh(scale_c hat(c) + bias_c)
//   GRU (23 to 25)             r and z as one group, the candidate's two products as groups of their own; the second
//                              of them is W_hn h, or with the reset gate before the product W_hn (r h)
//   MGU                        as that, f in place of r and z
//   Elman (4)                  a = scale_hh hat(W_ih x + W_hh h) + bias_ih + bias_hh
//   IndRNN                     a = scale_ih hat(W_ih x) + bias_ih + u h: a unit still sees its own past alone
//
// A row's passes, all within L1: forward mean, variance, and one with normalisation, gates and cell (the LSTM: one more
// for the output, after the statistics of c). Backward one that makes the cell's gradients and all sums over the row,
// and one that makes the products' gradients from them (the LSTM: one more before). Sums run over the blocks of a row
// in order, lane by lane, a chain for each vector of a block, and then over the chains and the lanes: the same for any
// sharing of rows.
#if defined(RNNCORE_RECURRENT_NORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RNNCORE_RECURRENT_NORM_INL_H_
#undef RNNCORE_RECURRENT_NORM_INL_H_
#else
#define RNNCORE_RECURRENT_NORM_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "backend/cpu/recurrent_kernels-inl.h"
#include "backend/cpu/recurrent_norm.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class Cell, class D>
struct NormSteps : Steps<Cell, D> {
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

  // Forward ----------------------------------------------------------------------------------------------------
  template <int STAGE>
  static void forward(const NormForward<T>& n) {
    const ForwardStep<T>& s = n.step;
    const Options options = S::options_of(s);
    const std::int64_t units = S::padded_units(s.H);
    for (std::int64_t row = s.row_begin; row < s.row_end; ++row) {
      const T* const gates = s.gates + row * s.gates_row;
      const Products products = products_of(n, row);
      T* const moments_of_row = n.stats + row * kNormStats;
      row_moments<STAGE>(gates, products, s.H, moments_of_row);
      const Stats stats(moments_of_row);
      each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
        V slot[kSlots], h(0), c(0);
        Weights w;
        S::load_weights(w, s.unit_weights, units, unit);
        load_normed<STAGE>(slot, stats, n.scales, s.bias, gates, products, b, v);
        if constexpr (Cell::kCell) {
          Cell::forward_state(options, w, slot, load(s.c_prev + row * units + unit), c);
          store(c, s.c + row * units + unit);
          return;
        } else {
          const V h_prev = load_units(D(), s.h_prev + row * s.H + unit, s.H - unit), no_c(0);
          if constexpr (kTwoStages) {
            V p(0);
            Cell::forward_first(options, slot, h_prev, p);
            if (STAGE == 0) {
              if (s.drop) p = p * V(load_units(D(), s.drop + row * s.H + unit, s.H - unit));
              return store(p, s.p + row * units + unit);
            }
          }
          Cell::forward(options, w, slot, h_prev, no_c, h, c);
          S::leave(s, row, unit, h, c, h_prev, no_c);
        }
      });
      if constexpr (Cell::kCell) normed_output(n, options, row, gates, products, stats);
    }
  }

  // h = o h(scale_c hat(c) + shift_c), with c in its row.
  static HWY_INLINE void normed_output(const NormForward<T>& n, const Options& options, std::int64_t row,
                                       const T* gates, const Products& products, const Stats& stats) {
    const ForwardStep<T>& s = n.step;
    const std::int64_t units = S::padded_units(s.H);
    T* const c_stats = n.stats + row * kNormStats + 2 * kNormCell;
    moments<1, 0, 1>(s.c + row * units, s.H, c_stats);
    const V mean(c_stats[0]), rstd(c_stats[1]);
    each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
      V slot[kSlots], h(0);
      Weights w;
      S::load_weights(w, s.unit_weights, units, unit);
      load_normed<1>(slot, stats, n.scales, s.bias, gates, products, b, v);  // all but o's falls away
      const V c = load(s.c + row * units + unit);
      const V seen = fma(load(n.scales.c + unit), (c - mean) * rstd, load(n.scales.shift_c + unit));
      Cell::forward_output(options, w, slot, c, seen, h);
      S::leave(s, row, unit, h, c, V(load_units(D(), s.h_prev + row * s.H + unit, s.H - unit)),
               load(s.c_prev + row * units + unit));
    });
  }

  // Backward ---------------------------------------------------------------------------------------------------
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

  // dL/dh of a vector; what arrives from later steps of another sequence goes to the initial state.
  static HWY_INLINE V arriving(const Row& r, std::int64_t unit) {
    const D d;
    const BackwardStep<T>& s = r.s;
    const std::int64_t at = r.row * r.units + unit, left = s.H - unit;
    V dh = load(s.dh + at);
    if (s.product) dh = dh + load(s.product + at) * V(load_units(d, s.drop + r.row * s.H + unit, left));
    if (HWY_UNLIKELY(r.resets)) {
      add(s.dh0 + at, dh);
      dh = V(0);
      if constexpr (Cell::kCell) {
        add(s.dc0 + at, load(s.dc + at));
        store(V(0), s.dc + at);
      }
    }
    if (!r.absent && s.dy) dh = dh + V(load_units(d, s.dy + r.row * s.H + unit, left));
    return dh;
  }
  // The part of h_t (of c_t) that was kept.
  static HWY_INLINE V kept_back(const Row& r, const T* mask, double part, std::int64_t unit, V& dh) {
    if (!S::carries(r.s)) return V(0);
    return cells::carried_back(S::kept_part(mask, part, r.row * r.s.H + unit, r.s.H - unit), dh);
  }

  static HWY_INLINE void absent_row(const Row& r) {
    each_vector(r.s.H, [&](std::int64_t, int, std::int64_t unit) {
      store(arriving(r, unit), r.s.dh + r.row * r.units + unit);
    });
    const auto clear = [&](T* row, int count) {
      std::memset(row, 0, static_cast<std::size_t>(r.units * count) * sizeof(T));
    };
    clear(r.gates, kSlots);
    if (!kJoint) clear(r.products.first, kCount);
    if (kTwoStages) clear(r.products.second, kSecond);
  }

  // The first stage, or the only one.
  static void backward(const NormBackward<T>& n) {
    const Options options = S::options_of(n.step);
    for (std::int64_t row = n.step.row_begin; row < n.step.row_end; ++row) {
      const Row r(n, row);
      if (HWY_UNLIKELY(r.absent)) {
        absent_row(r);
        continue;
      }
      const Stats stats(n.stats + row * kNormStats);
      RowSums sums;
      if constexpr (Cell::kCell) {
        output_back(r, options, stats);
        state_back(r, options, stats, sums);
      } else {
        cell_back(r, options, stats, sums);
      }
      spread_row<kTwoStages ? 1 : 0>(r, stats, sums);
    }
  }

  static HWY_INLINE void cell_back(const Row& r, const Options& options, const Stats& stats, RowSums& sums) {
    const BackwardStep<T>& s = r.s;
    each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
      const std::int64_t left = s.H - unit;
      V slot[kSlots], dh = arriving(r, unit), h(0), direct(0), none(0);
      Weights w, dw;
      S::load_weights(w, s.unit_weights, r.units, unit);
      S::load_weights(dw, r.gradients(), r.units, unit);
      const V h_prev = load_units(D(), s.h_prev + r.row * s.H + unit, left);
      load_normed<1>(slot, stats, r.n.scales, r.n.bias, r.gates, r.products, b, v);
      if constexpr (kTwoStages) Cell::forward_first(options, slot, h_prev, h);
      Cell::forward(options, w, slot, h_prev, none, h, none);
      const V h_past = kept_back(r, s.zone_h, s.numbers->keep_h, unit, dh);
      Cell::backward(options, w, slot, h_prev, V(0), V(0), dh, none, direct, dw);
      S::store_weights(dw, r.gradients(), r.units, unit);
      store(direct + h_past, s.dh + r.row * r.units + unit);
      collect<kTwoStages ? 1 : 0>(r, stats, slot, b, v, left, sums);
    });
  }

  // LSTM: activations again; through h = o h(seen) and the normalisation of c: e_c becomes dL/dc of that way.
  static HWY_INLINE void output_back(const Row& r, const Options& options, const Stats& stats) {
    const BackwardStep<T>& s = r.s;
    RowSums of_c;
    each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
      const std::int64_t at = r.row * r.units + unit, left = s.H - unit;
      V slot[kSlots], c(0), h(0), dh = arriving(r, unit);
      Weights w;
      S::load_weights(w, s.unit_weights, r.units, unit);
      load_normed<1>(slot, stats, r.n.scales, r.n.bias, r.gates, r.products, b, v);
      Cell::forward_state(options, w, slot, load(s.c_prev + at), c);
      const V hat = stats.hat(kNormCell, c), scale = load(r.n.scales.c + unit);
      const V seen = fma(scale, hat, load(r.n.scales.shift_c + unit));
      Cell::forward_output(options, w, slot, c, seen, h);
      const V h_past = kept_back(r, s.zone_h, s.numbers->keep_h, unit, dh);
      store(h_past, s.dh + at);
      const V d_seen = valid(Cell::backward_output(options, slot, seen, dh), left), e = d_seen * scale;
      S::store_slots(slot, r.scratch + b * kSlots * UB, v);
      store(e, r.e_c + unit);
      store(fma(d_seen, hat, load(r.sums + r.at.scale_c + unit)), r.sums + r.at.scale_c + unit);
      add(r.sums + r.at.shift_c + unit, d_seen);
      of_c.take(kNormCell, e, hat);
    });
    of_c.divide(kNormCell, static_cast<T>(s.H));
    each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
      V slot[kSlots];
      S::load_slots(slot, r.scratch + b * kSlots * UB, v);
      const V c = Cell::state(options, slot, load(s.c_prev + r.row * r.units + unit));
      store(spread(of_c, stats, kNormCell, load(r.e_c + unit), c), r.e_c + unit);
    });
  }
  // ... then through c_t.
  static HWY_INLINE void state_back(const Row& r, const Options& options, const Stats& stats, RowSums& sums) {
    const BackwardStep<T>& s = r.s;
    each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
      const std::int64_t at = r.row * r.units + unit;
      V slot[kSlots], dc = load(s.dc + at);
      Weights w, dw;
      S::load_weights(w, s.unit_weights, r.units, unit);
      S::load_weights(dw, r.gradients(), r.units, unit);
      S::load_slots(slot, r.scratch + b * kSlots * UB, v);
      const V c_prev = load(s.c_prev + at), c = Cell::state(options, slot, c_prev);
      const V c_past = kept_back(r, s.zone_c, s.numbers->keep_c, unit, dc);
      dc = dc + load(r.e_c + unit);
      Cell::backward_state(options, w, slot, c_prev, c, dc, dw);
      store(dc + c_past, s.dc + at);
      S::store_weights(dw, r.gradients(), r.units, unit);
      collect<0>(r, stats, slot, b, v, s.H - unit, sums);
    });
  }

  // Two-stage cells, given dp.
  static void backward_second(const NormBackward<T>& n) {
    const BackwardStep<T>& s = n.step;
    const Options options = S::options_of(s);
    for (std::int64_t row = s.row_begin; row < s.row_end; ++row) {
      const Row r(n, row);
      if (r.absent) continue;
      const Stats stats(n.stats + row * kNormStats);
      RowSums sums;
      each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
        const std::int64_t at = row * r.units + unit, left = s.H - unit;
        V slot[kSlots], direct = load(s.dh + at), dp = load(s.dp + at);
        S::load_slots(slot, r.scratch + b * kSlots * UB, v);
        if (s.drop) dp = dp * V(load_units(D(), s.drop + row * s.H + unit, left));
        const V h_prev = load_units(D(), s.h_prev + row * s.H + unit, left);
        Cell::backward_second(options, slot, h_prev, dp, direct);
        store(direct, s.dh + at);
        collect<0>(r, stats, slot, b, v, left, sums);
      });
      spread_row<0>(r, stats, sums);
    }
  }
};

template <class Cell, class D, typename T = hn::TFromD<D>>
const NormKernels<T>& norm_kernels() {
  using S = NormSteps<Cell, D>;
  static const NormKernels<T> kernels = [] {
    NormKernels<T> k{};
    k.joint = S::kJoint;
    k.forward[0] = S::template forward<0>;
    k.backward[0] = S::backward;
    if constexpr (S::kTwoStages) {
      k.forward[1] = S::template forward<1>;
      k.backward[1] = S::backward_second;
    }
    return k;
  }();
  return kernels;
}

template <typename T>
const NormTable<T>& norm_table() {
  using D = hn::ScalableTag<T>;
  static const NormTable<T> table = {{
      &norm_kernels<cells::ElmanOptions, D>(),
      &norm_kernels<cells::LstmOptions<true>, D>(),
      &norm_kernels<cells::LstmOptions<false>, D>(),
      &norm_kernels<cells::GruOptions, D>(),
      &norm_kernels<cells::GruResetBeforeOptions, D>(),
      &norm_kernels<cells::Mgu, D>(),
      &norm_kernels<cells::IndRnn, D>(),
  }};
  return table;
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();
#endif  // RNNCORE_RECURRENT_NORM_INL_H_
