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

#include <cstring>
#include <type_traits>

#include "backend/cpu/recurrent_norm_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class Cell, class D>
struct NormSteps : NormRows<Cell, D> {
  using N = NormRows<Cell, D>;
  using S = typename N::S;
  using N::add;
  using N::each_vector;
  using N::fma;
  using N::kCount;
  using N::kJoint;
  using N::kSecond;
  using N::kSlots;
  using N::kTwoStages;
  using N::load;
  using N::products_of;
  using N::spread;
  using N::store;
  using N::UB;
  using N::valid;
  using typename N::Options;
  using typename N::Products;
  using typename N::Row;
  using typename N::RowSums;
  using typename N::Stats;
  using typename N::T;
  using typename N::V;
  using typename N::Weights;

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
      N::template row_moments<STAGE>(gates, products, s.H, moments_of_row);
      const Stats stats(moments_of_row);
      each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
        V slot[kSlots], h(0), c(0);
        Weights w;
        S::load_weights(w, s.unit_weights, units, unit);
        N::template load_normed<STAGE>(slot, stats, n.scales, s.bias, gates, products, b, v);
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
    N::template moments<1, 0, 1>(s.c + row * units, s.H, c_stats);
    const V mean(c_stats[0]), rstd(c_stats[1]);
    each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
      V slot[kSlots], h(0);
      Weights w;
      S::load_weights(w, s.unit_weights, units, unit);
      N::template load_normed<1>(slot, stats, n.scales, s.bias, gates, products, b, v);  // all but o's falls away
      const V c = load(s.c + row * units + unit);
      const V seen = fma(load(n.scales.c + unit), (c - mean) * rstd, load(n.scales.shift_c + unit));
      Cell::forward_output(options, w, slot, c, seen, h);
      S::leave(s, row, unit, h, c, V(load_units(D(), s.h_prev + row * s.H + unit, s.H - unit)),
               load(s.c_prev + row * units + unit));
    });
  }

  // Backward ---------------------------------------------------------------------------------------------------
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
      N::template spread_row<kTwoStages ? 1 : 0>(r, stats, sums);
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
      N::template load_normed<1>(slot, stats, r.n.scales, r.n.bias, r.gates, r.products, b, v);
      if constexpr (kTwoStages) Cell::forward_first(options, slot, h_prev, h);
      Cell::forward(options, w, slot, h_prev, none, h, none);
      const V h_past = kept_back(r, s.zone_h, s.numbers->keep_h, unit, dh);
      Cell::backward(options, w, slot, h_prev, V(0), V(0), dh, none, direct, dw);
      S::store_weights(dw, r.gradients(), r.units, unit);
      store(direct + h_past, s.dh + r.row * r.units + unit);
      N::template collect<kTwoStages ? 1 : 0>(r, stats, slot, b, v, left, sums);
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
      N::template load_normed<1>(slot, stats, r.n.scales, r.n.bias, r.gates, r.products, b, v);
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
      N::template collect<0>(r, stats, slot, b, v, s.H - unit, sums);
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
        N::template collect<0>(r, stats, slot, b, v, left, sums);
      });
      N::template spread_row<0>(r, stats, sums);
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
