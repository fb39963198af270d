// Row kernels of layer normalisation inside the step, for every instruction set. Contract: recurrent_norm.h; the cells:
// src/cells. Normalisation of a group x of n values (Ba, Kiros & Hinton 2016, equation 3, and its gradient):
//
//   hat = (x - mean) rstd,   rstd = 1 / sqrt(mean of (x - mean)^2 + 1e-5)
//   dx  = rstd (e - mean(e) - hat mean(e hat)),   e = dhat
//
//   LSTM (equations 20 to 22)  a = scale_ih hat(W_ih x) + scale_hh hat(W_hh h) + bias_ih + bias_hh
//                              h = o tanh(scale_c hat(c) + bias_c)
//   GRU (23 to 25)             r and z as one group, the candidate's two products as groups of their own
//   Elman (4)                  a = scale_hh hat(W_ih x + W_hh h) + bias_ih + bias_hh
//
// Sums run over the blocks of a row in order, lane by lane, and then over the lanes: the same for any sharing of rows.
#if defined(RNNCORE_RECURRENT_NORM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RNNCORE_RECURRENT_NORM_INL_H_
#undef RNNCORE_RECURRENT_NORM_INL_H_
#else
#define RNNCORE_RECURRENT_NORM_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstring>

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
  using typename S::Options;
  using typename S::T;
  using typename S::V;
  using typename S::Weights;
  using S::kLanes;
  using S::kSlots;
  using S::kWeights;
  using S::UB;
  using S::VB;
  static constexpr int kFirst = Cell::kRecurrentFirst, kCount = Cell::kRecurrentCount;
  static constexpr bool kJoint = kSlots == 1;                // Elman: the sum is normalised
  static constexpr bool kSplit = kSlots > kCount || kSlots > Cell::kInputCount;  // GRU: the candidate's group
  static constexpr int kHead = kSplit ? kCount - 1 : kCount;  // slots of the first group of a hat row

  // A group of values in rows of [block][stride slots][UB].
  struct Group {
    std::int64_t H;
    int stride, first, count;
    template <class F>
    HWY_INLINE void each(const F& f) const {
      const std::int64_t blocks = (H + UB - 1) / UB;
      for (std::int64_t b = 0; b < blocks; ++b)
        for (int slot = first; slot < first + count; ++slot)
          for (int v = 0; v < VB; ++v) f((b * stride + slot) * UB + v * kLanes, H - b * UB - v * kLanes);
    }
    T size() const { return static_cast<T>(H * count); }
  };
  // Zero beyond the last unit.
  static HWY_INLINE V valid(const V& value, std::int64_t left) {
    if (HWY_LIKELY(left >= kLanes)) return value;
    return left <= 0 ? V(0) : V(hn::IfThenElseZero(hn::FirstN(D(), static_cast<std::size_t>(left)), value.v));
  }
  static HWY_INLINE T total(const V& lanes) { return hn::GetLane(hn::SumOfLanes(D(), lanes.v)); }

  static T normalise(const Group& g, T* row) {
    const D d;
    V sum(0), squares(0);
    g.each([&](std::int64_t at, std::int64_t left) { sum = sum + valid(hn::LoadU(d, row + at), left); });
    const V mean(total(sum) / g.size());
    g.each([&](std::int64_t at, std::int64_t left) {
      const V x = valid(V(hn::LoadU(d, row + at)) - mean, left);
      squares = squares + x * x;
    });
    const T rstd = T(1) / std::sqrt(total(squares) / g.size() + static_cast<T>(kNormEpsilon));
    g.each([&](std::int64_t at, std::int64_t left) {
      hn::StoreU(valid((V(hn::LoadU(d, row + at)) - mean) * V(rstd), left).v, d, row + at);
    });
    return rstd;
  }

  // dx into out; e and hat are rows of the same layout (out may be either).
  static void normalise_back(const Group& g, const T* e, const T* hat, T rstd, T* out) {
    const D d;
    V sum(0), dot(0);
    g.each([&](std::int64_t at, std::int64_t left) {
      const V value = valid(hn::LoadU(d, e + at), left);
      sum = sum + value;
      dot = dot + value * V(hn::LoadU(d, hat + at));
    });
    const V mean(total(sum) / g.size()), slope(total(dot) / g.size());
    g.each([&](std::int64_t at, std::int64_t left) {
      const V x = hn::LoadU(d, hat + at);
      hn::StoreU(valid((V(hn::LoadU(d, e + at)) - mean - x * slope) * V(rstd), left).v, d, out + at);
    });
  }

  // Groups of a hat row, and of an input row.
  template <class F>
  static HWY_INLINE void hat_groups(std::int64_t H, const F& f) {
    f(Group{H, kCount, 0, kHead}, 0);
    if constexpr (kSplit) f(Group{H, kCount, kHead, 1}, 1);
  }
  template <class F>
  static HWY_INLINE void input_groups(std::int64_t H, const F& f) {
    f(Group{H, kSlots, kFirst, kHead}, 0);
    if constexpr (kSplit) f(Group{H, kSlots, 0, 1}, 1);
  }

  static void input(const NormInput<T>& n) {
    const D d;
    for (std::int64_t row = n.row_begin; row < n.row_end; ++row) {
      T* const gates = n.gates + row * n.gates_row;
      input_groups(n.H, [&](const Group& g, int i) {
        const T rstd = normalise(g, gates);
        if (n.rstd) n.rstd[row * kNormStats + i] = rstd;
        T* const hat = n.hat ? n.hat + row * n.gates_row : nullptr;
        g.each([&](std::int64_t at, std::int64_t) {
          const V x = hn::LoadU(d, gates + at);
          if (hat) hn::StoreU(x.v, d, hat + at);
          hn::StoreU((V(hn::LoadU(d, n.bias + at)) + V(hn::LoadU(d, n.scale + at)) * x).v, d, gates + at);
        });
      });
    }
  }
  static void input_back(const NormInput<T>& n) {
    const D d;
    for (std::int64_t row = n.row_begin; row < n.row_end; ++row) {
      T* const gates = n.gates + row * n.gates_row;
      input_groups(n.H, [&](const Group& g, int i) {
        g.each([&](std::int64_t at, std::int64_t) {
          hn::StoreU((V(hn::LoadU(d, gates + at)) * V(hn::LoadU(d, n.scale + at))).v, d, gates + at);
        });
        normalise_back(g, gates, n.hat + row * n.gates_row, n.rstd[row * kNormStats + i], gates);
      });
    }
  }

  // The pre-activations of a vector of units: the input's part (or a bias) and the normalised product.
  static HWY_INLINE void load_normed(V (&slot)[kSlots], const NormForward<T>& n, const T* gates, const T* hat,
                                     std::int64_t b, int vector) {
    const D d;
    for (int i = 0; i < kSlots; ++i) {
      const std::int64_t at = i * UB + vector * kLanes;
      const bool from_bias = kJoint || i >= Cell::kInputFirst + Cell::kInputCount;
      slot[i] = hn::LoadU(d, from_bias ? n.step.bias + b * kSlots * UB + at : gates + at);
      if (i < kFirst) continue;
      const std::int64_t hat_at = (b * kCount + i - kFirst) * UB + vector * kLanes;
      slot[i] = slot[i] + V(hn::LoadU(d, n.scale + hat_at)) * V(hn::LoadU(d, hat + hat_at));
    }
  }

  template <class F>
  static HWY_INLINE void each_vector(std::int64_t H, const F& f) {
    for (std::int64_t b = 0; b * UB < H; ++b)
      for (int v = 0; v < VB && b * UB + v * kLanes < H; ++v) f(b, v, b * UB + v * kLanes);
  }

  static void forward(const NormForward<T>& n) {
    const D d;
    const ForwardStep<T>& s = n.step;
    const Options options = S::options_of(s);
    const std::int64_t units = S::padded_units(s.H);
    for (std::int64_t row = s.row_begin; row < s.row_end; ++row) {
      T* const hat = n.hat + row * n.hat_row;
      T* const gates = s.gates + row * s.gates_row;
      T* const rstd = n.rstd + row * kNormStats;
      hat_groups(s.H, [&](const Group& g, int i) { rstd[i] = normalise(g, hat); });
      each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
        V slot[kSlots];
        Weights w;
        S::load_weights(w, s.unit_weights, units, unit);
        load_normed(slot, n, gates + b * kSlots * UB, hat, b, v);
        if constexpr (Cell::kCell) {
          V c(0);
          Cell::forward_state(options, w, slot, V(hn::LoadU(d, s.c_prev + row * units + unit)), c);
          hn::StoreU(c.v, d, s.c + row * units + unit);
          hn::StoreU(c.v, d, n.c_hat + row * units + unit);
        } else {
          const V h_prev = load_units(d, s.h_prev + row * s.H + unit, s.H - unit), no_c(0);
          V h(0), c(0);
          Cell::forward(options, w, slot, h_prev, no_c, h, c);
          S::leave(s, row, unit, h, c, h_prev, no_c);
        }
        S::store_slots(slot, gates + b * kSlots * UB, v);
      });
      if constexpr (Cell::kCell) {
        T* const c_hat = n.c_hat + row * units;
        rstd[2] = normalise(Group{s.H, 1, 0, 1}, c_hat);
        each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
          V slot[kSlots], h(0);
          Weights w;
          S::load_weights(w, s.unit_weights, units, unit);
          S::load_slots(slot, gates + b * kSlots * UB, v);
          const V c = hn::LoadU(d, s.c + row * units + unit), x = hn::LoadU(d, c_hat + unit);
          const V seen = V(hn::LoadU(d, n.scale_c + unit)) * x + V(hn::LoadU(d, n.shift_c + unit));
          Cell::forward_output(options, w, slot, c, seen, h);
          S::store_slots(slot, gates + b * kSlots * UB, v);
          S::leave(s, row, unit, h, c, V(load_units(d, s.h_prev + row * s.H + unit, s.H - unit)),
                   V(hn::LoadU(d, s.c_prev + row * units + unit)));
        });
      }
    }
  }

  static HWY_INLINE void add(T* to, const V& value) { hn::StoreU((V(hn::LoadU(D(), to)) + value).v, D(), to); }

  static void backward(const NormBackward<T>& n) {
    const BackwardStep<T>& s = n.step;
    const std::int64_t hat_values = (s.H + UB - 1) / UB * kCount * UB;
    for (std::int64_t row = s.row_begin; row < s.row_end; ++row) {
      T* const e = n.scratch + row * (hat_values + S::padded_units(s.H));
      backward_row(n, row, e, e + hat_values);
    }
  }

  static void backward_row(const NormBackward<T>& n, std::int64_t row, T* e, T* e_c) {
    const D d;
    const BackwardStep<T>& s = n.step;
    const Options options = S::options_of(s);
    const std::int64_t units = S::padded_units(s.H);
    const bool absent = s.flags && (s.flags[row] & kRowAbsent), resets = s.flags && (s.flags[row] & kRowResets);
    T* const gates = s.gates + row * s.gates_row;
    T* const hat = n.hat + row * n.hat_row;
    const T* const rstd = n.rstd + row * kNormStats;
    // dh of the step (kept in the row of dh), then through the output where there is a c to normalise.
    each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
      const std::int64_t at = row * units + unit, left = s.H - unit;
      V dh = hn::LoadU(d, s.dh + at);
      if (s.product)
        dh = dh + V(hn::LoadU(d, s.product + at)) * V(load_units(d, s.drop + row * s.H + unit, left));
      if (HWY_UNLIKELY(resets)) {
        add(s.dh0 + at, dh);
        dh = V(0);
        if constexpr (Cell::kCell) {
          add(s.dc0 + at, V(hn::LoadU(d, s.dc + at)));
          hn::StoreU(hn::Zero(d), d, s.dc + at);
        }
      }
      if (!absent && s.dy) dh = dh + V(load_units(d, s.dy + row * s.H + unit, left));
      hn::StoreU(dh.v, d, s.dh + at);
      if (absent) return;
      if constexpr (Cell::kCell) {
        V slot[kSlots];
        S::load_slots(slot, gates + b * kSlots * UB, v);
        const V x = hn::LoadU(d, n.c_hat + at), scale = hn::LoadU(d, n.scale_c + unit);
        V dh_new = dh;
        if (S::carries(s))
          cells::carried_back(S::kept_part(s.zone_h, s.numbers->keep_h, row * s.H + unit, left), dh_new);
        const V dseen =
            Cell::backward_output(options, slot, scale * x + V(hn::LoadU(d, n.shift_c + unit)), dh_new);
        S::store_slots(slot, gates + b * kSlots * UB, v);
        hn::StoreU((dseen * scale).v, d, e_c + unit);
        add(n.d_scale_c + at, valid(dseen * x, left));
        add(n.d_shift_c + at, valid(dseen, left));
      }
    });
    if (absent) {
      std::memset(gates, 0, static_cast<std::size_t>(units * kSlots) * sizeof(T));
      std::memset(hat, 0, static_cast<std::size_t>(units * kCount) * sizeof(T));
      return;
    }
    if constexpr (Cell::kCell) normalise_back(Group{s.H, 1, 0, 1}, e_c, n.c_hat + row * units, rstd[2], e_c);
    each_vector(s.H, [&](std::int64_t b, int v, std::int64_t unit) {
      const std::int64_t at = row * units + unit, left = s.H - unit, mask_at = row * s.H + unit;
      V slot[kSlots], dh = hn::LoadU(d, s.dh + at), dc(0), direct(0), h_past(0), c_past(0);
      Weights w, dw;
      T* const gradients = s.unit_gradients ? s.unit_gradients + row * kWeights * units : nullptr;
      S::load_weights(w, s.unit_weights, units, unit);
      S::load_weights(dw, gradients, units, unit);
      S::load_slots(slot, gates + b * kSlots * UB, v);
      if (S::carries(s))
        h_past = cells::carried_back(S::kept_part(s.zone_h, s.numbers->keep_h, mask_at, left), dh);
      if constexpr (Cell::kCell) {
        const V c_prev = hn::LoadU(d, s.c_prev + at), c = Cell::state(options, slot, c_prev);
        dc = hn::LoadU(d, s.dc + at);
        if (S::carries(s))
          c_past = cells::carried_back(S::kept_part(s.zone_c, s.numbers->keep_c, mask_at, left), dc);
        dc = dc + V(hn::LoadU(d, e_c + unit));
        Cell::backward_state(options, w, slot, c_prev, c, dc, dw);
        hn::StoreU((dc + c_past).v, d, s.dc + at);
      } else {
        const V h_prev = load_units(d, s.h_prev + mask_at, left), none(0);
        Cell::backward(options, w, slot, h_prev, none, none, dh, dc, direct, dw);
      }
      S::store_weights(dw, gradients, units, unit);
      hn::StoreU((direct + h_past).v, d, s.dh + at);
      for (int i = 0; i < kSlots; ++i) {
        slot[i] = valid(slot[i], left);
        add(n.d_bias + row * s.gates_row + (b * kSlots + i) * UB + v * kLanes, slot[i]);
        if (i < kFirst) continue;
        const std::int64_t hat_at = (b * kCount + i - kFirst) * UB + v * kLanes;
        add(n.d_scale + row * n.hat_row + hat_at, slot[i] * V(hn::LoadU(d, hat + hat_at)));
        hn::StoreU((slot[i] * V(hn::LoadU(d, n.scale + hat_at))).v, d, e + hat_at);
      }
      S::store_slots(slot, gates + b * kSlots * UB, v);
    });
    for (std::int64_t unit = (s.H + kLanes - 1) / kLanes * kLanes; unit < units; unit += kLanes)  // padding
      for (int i = 0; i < kSlots; ++i)
        hn::StoreU(hn::Zero(d), d, gates + unit / UB * (kSlots * UB) + i * UB + unit % UB);
    hat_groups(s.H, [&](const Group& g, int i) { normalise_back(g, e, hat, rstd[i], hat); });
    if constexpr (kJoint) std::memcpy(gates, hat, static_cast<std::size_t>(units) * sizeof(T));
  }
};

template <class Cell, class D, typename T = hn::TFromD<D>>
const NormKernels<T>& norm_kernels() {
  using S = NormSteps<Cell, D>;
  static const NormKernels<T> kernels = [] {
    NormKernels<T> k{};
    k.forward = S::forward;
    k.backward = S::backward;
    if constexpr (!S::kJoint) {
      k.input = S::input;
      k.input_back = S::input_back;
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
  }};
  return table;
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();
#endif  // RNNCORE_RECURRENT_NORM_INL_H_
