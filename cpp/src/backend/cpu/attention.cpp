// Attention of every step of one sequence over the steps of another. A sequence belongs to one thread; of (T, N, F) its
// rows lie N * F apart. The rows are few (tens), so they stay in cache and nothing is packed: a score is one chain of
// multiply-adds per lane and then the sum over the lanes; a context is one chain per element in the order of the steps.
// So the bits of a sequence depend neither on its neighbours, nor on padding, nor on the number of threads.
#include "backend/cpu/targets.h"  // before any Highway header

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/attention.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "backend/cpu/map.h"
#include "backend/cpu/simd_math.h"

#include "backend/pointwise.h"

#ifndef RNNCORE_BACKEND_CPU_ATTENTION_TABLE
#define RNNCORE_BACKEND_CPU_ATTENTION_TABLE
namespace rnncore {
namespace cpu {

// Rows that lie `row` elements apart.
template <typename T>
struct Rows {
  T* at;
  std::int64_t row;
  T* operator[](std::int64_t i) const { return at + i * row; }
};

// What the score v . tanh(q + k) sends back.
template <typename T>
struct AdditiveGradients {
  Rows<T> dq, dk;  // added to
  T* dv;           // added to
};

template <typename T>
struct AttentionKernels {
  // out[i][j] = x[i] . y[j]
  void (*dots)(std::int64_t m, std::int64_t n, std::int64_t F, Rows<const T> x, Rows<const T> y, Rows<T> out);
  // out[i] = sum over j of w[i * w_row + j * w_column] y[j]
  void (*combine)(std::int64_t m, std::int64_t n, std::int64_t F, const T* w, std::int64_t w_row, std::int64_t w_column,
                  Rows<const T> y, Rows<T> out);
  // out[i][j] = v . tanh(q[i] + k[j])
  void (*additive)(std::int64_t m, std::int64_t n, std::int64_t F, Rows<const T> q, Rows<const T> k, const T* v,
                   Rows<T> out);
  void (*additive_backward)(std::int64_t m, std::int64_t n, std::int64_t F, Rows<const T> q, Rows<const T> k,
                            const T* v, Rows<const T> dscore, const AdditiveGradients<T>& out);
};
using AttentionTable = KernelTable<AttentionKernels>;

}  // namespace cpu
}  // namespace rnncore
#endif

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// COUNT rows of y against one of x, each in a chain of its own.
template <int COUNT, typename T>
HWY_INLINE void DotStrip(std::int64_t F, const T* x, Rows<const T> y, T* out) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> sum[COUNT];
  for (int j = 0; j < COUNT; ++j) sum[j] = hn::Zero(d);
  std::int64_t f = 0;
  for (; f + lanes <= F; f += lanes) {
    const auto v = hn::LoadU(d, x + f);
    for (int j = 0; j < COUNT; ++j) sum[j] = hn::MulAdd(v, hn::LoadU(d, y[j] + f), sum[j]);
  }
  if (f < F) {
    const auto v = LoadPart(d, x + f, F - f);
    for (int j = 0; j < COUNT; ++j) sum[j] = hn::MulAdd(v, LoadPart(d, y[j] + f, F - f), sum[j]);
  }
  for (int j = 0; j < COUNT; ++j) out[j] = hn::GetLane(hn::SumOfLanes(d, sum[j]));
}

template <typename T>
void Dots(std::int64_t m, std::int64_t n, std::int64_t F, Rows<const T> x, Rows<const T> y, Rows<T> out) {
  for (std::int64_t i = 0; i < m; ++i) {
    std::int64_t j = 0;
    for (; j + 8 <= n; j += 8) DotStrip<8>(F, x[i], {y[j], y.row}, out[i] + j);
    for (; j < n; ++j) DotStrip<1>(F, x[i], {y[j], y.row}, out[i] + j);
  }
}

// VECTORS vectors of one row of the result.
template <int VECTORS, typename T>
HWY_INLINE void CombineStrip(std::int64_t n, const T* w, std::int64_t w_column, Rows<const T> y, std::int64_t f,
                             T* out) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> sum[VECTORS];
  for (int v = 0; v < VECTORS; ++v) sum[v] = hn::Zero(d);
  for (std::int64_t j = 0; j < n; ++j) {
    const auto a = hn::Set(d, w[j * w_column]);
    for (int v = 0; v < VECTORS; ++v) sum[v] = hn::MulAdd(a, hn::LoadU(d, y[j] + f + v * lanes), sum[v]);
  }
  for (int v = 0; v < VECTORS; ++v) hn::StoreU(sum[v], d, out + f + v * lanes);
}

template <typename T>
void Combine(std::int64_t m, std::int64_t n, std::int64_t F, const T* w, std::int64_t w_row, std::int64_t w_column,
             Rows<const T> y, Rows<T> out) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < m; ++i, w += w_row) {
    std::int64_t f = 0;
    for (; f + 8 * lanes <= F; f += 8 * lanes) CombineStrip<8>(n, w, w_column, y, f, out[i]);
    for (; f + lanes <= F; f += lanes) CombineStrip<1>(n, w, w_column, y, f, out[i]);
    if (f == F) continue;
    auto sum = hn::Zero(d);
    for (std::int64_t j = 0; j < n; ++j)
      sum = hn::MulAdd(hn::Set(d, w[j * w_column]), LoadPart(d, y[j] + f, F - f), sum);
    StorePart(d, sum, out[i] + f, F - f);
  }
}

template <typename T>
void Additive(std::int64_t m, std::int64_t n, std::int64_t F, Rows<const T> q, Rows<const T> k, const T* v,
              Rows<T> out) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      auto sum = hn::Zero(d);
      std::int64_t f = 0;
      for (; f + lanes <= F; f += lanes) {
        const auto t = Tanh(d, hn::Add(hn::LoadU(d, q[i] + f), hn::LoadU(d, k[j] + f)));
        sum = hn::MulAdd(t, hn::LoadU(d, v + f), sum);
      }
      if (f < F) {
        const auto t = Tanh(d, hn::Add(LoadPart(d, q[i] + f, F - f), LoadPart(d, k[j] + f, F - f)));
        sum = hn::MulAdd(t, LoadPart(d, v + f, F - f), sum);
      }
      out[i][j] = hn::GetLane(hn::SumOfLanes(d, sum));
    }
}

// One vector of the sums for dscore = g: t = tanh(q + k); dq and dk grow by g v (1 - t^2), dv by g t.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void AddBack(D d, V g, V q, V k, V v, V& dq, V& dk, V& dv) {
  const V t = Tanh(d, hn::Add(q, k));
  const V back = hn::Mul(hn::Mul(g, v), hn::NegMulAdd(t, t, hn::Set(d, hn::TFromD<D>(1))));
  dq = hn::Add(dq, back);
  dk = hn::Add(dk, back);
  dv = hn::MulAdd(g, t, dv);
}

// tanh is made again: to keep it would take m * n * F numbers.
template <typename T>
void AdditiveBackward(std::int64_t m, std::int64_t n, std::int64_t F, Rows<const T> q, Rows<const T> k, const T* v,
                      Rows<const T> dscore, const AdditiveGradients<T>& out) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < m; ++i) {
    T* const dq = out.dq[i];
    for (std::int64_t j = 0; j < n; ++j) {
      const auto g = hn::Set(d, dscore[i][j]);
      T* const dk = out.dk[j];
      for (std::int64_t f = 0; f < F; f += lanes) {
        const std::int64_t count = HWY_MIN(lanes, F - f);
        const bool whole = count == lanes;
        const auto load = [&](const T* p) HWY_ATTR { return whole ? hn::LoadU(d, p + f) : LoadPart(d, p + f, count); };
        auto a = load(dq), b = load(dk), c = load(out.dv);
        AddBack(d, g, load(q[i]), load(k[j]), load(v), a, b, c);
        const auto store = [&](auto value, T* p)
                               HWY_ATTR { whole ? hn::StoreU(value, d, p + f) : StorePart(d, value, p + f, count); };
        store(a, dq);
        store(b, dk);
        store(c, out.dv);
      }
    }
  }
}

template <typename T>
constexpr AttentionKernels<T> Kernels() {
  return {Dots<T>, Combine<T>, Additive<T>, AdditiveBackward<T>};
}

}  // namespace

const AttentionTable& attention_table() {
  static const AttentionTable instance = {Kernels<float>(), Kernels<double>()};
  return instance;
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "backend/cpu/dispatch.h"
#include "backend/cpu/packed.h"
#include "backend/cpu/softmax.h"

namespace rnncore {
namespace cpu {
namespace {

using backend::Attention;
using backend::AttentionGradients;

template <typename T>
const AttentionKernels<T>& kernels() {
  return RNNCORE_TABLE(active_target(), attention_table).of<T>();
}

// The rows of sequence n in x (T, N, F).
template <typename T, typename P>
Rows<T> rows_of(P* x, std::int64_t n, std::int64_t N, std::int64_t F) {
  return {static_cast<T*>(x) + n * F, N * F};
}

std::int64_t steps_of(const Attention& a, std::int64_t n) { return a.lengths != nullptr ? a.lengths[n] : a.Ts; }

template <typename T>
void zero_rows(Rows<T> x, std::int64_t begin, std::int64_t end, std::int64_t F) {
  for (std::int64_t i = begin; i < end; ++i) std::fill(x[i], x[i] + F, T(0));
}

template <typename T>
void attend(const Attention& a, std::int64_t n) {
  const AttentionKernels<T>& k = kernels<T>();
  const std::int64_t steps = steps_of(a, n);
  const auto query = rows_of<const T>(a.query, n, a.N, a.K), keys = rows_of<const T>(a.keys, n, a.N, a.K);
  const auto weights = rows_of<T>(a.weights, n, a.N, a.Ts);
  if (a.v != nullptr)
    k.additive(a.Tq, steps, a.K, query, keys, static_cast<const T*>(a.v), weights);
  else
    k.dots(a.Tq, steps, a.K, query, keys, weights);
  for (std::int64_t t = 0; t < a.Tq; ++t) {
    if (steps > 0) softmax_row<T>(steps, weights[t], weights[t]);
    std::fill(weights[t] + steps, weights[t] + a.Ts, T(0));
  }
  k.combine(a.Tq, steps, a.V, weights.at, weights.row, 1, rows_of<const T>(a.values, n, a.N, a.V),
            rows_of<T>(a.context, n, a.N, a.V));
}

// space: (Tq, Ts), the gradients of weights and then of scores.
template <typename T>
void attend_backward(const Attention& a, const AttentionGradients& g, std::int64_t n, T* space) {
  const AttentionKernels<T>& k = kernels<T>();
  const std::int64_t steps = steps_of(a, n);
  const auto query = rows_of<const T>(a.query, n, a.N, a.K), keys = rows_of<const T>(a.keys, n, a.N, a.K);
  const auto weights = rows_of<const T>(a.weights, n, a.N, a.Ts);
  const auto dquery = rows_of<T>(g.dquery, n, a.N, a.K), dkeys = rows_of<T>(g.dkeys, n, a.N, a.K);
  const auto dvalues = rows_of<T>(g.dvalues, n, a.N, a.V);
  const auto dcontext = rows_of<const T>(g.dcontext, n, a.N, a.V);
  const Rows<T> dscore{space, a.Ts};

  if (g.dcontext != nullptr) {
    k.dots(a.Tq, steps, a.V, dcontext, rows_of<const T>(a.values, n, a.N, a.V), dscore);
    k.combine(steps, a.Tq, a.V, weights.at, 1, weights.row, dcontext, dvalues);
    zero_rows(dvalues, steps, a.Ts, a.V);
  } else {
    zero_rows(dscore, 0, a.Tq, steps);
    zero_rows(dvalues, 0, a.Ts, a.V);
  }
  const auto dweights = rows_of<const T>(g.dweights, n, a.N, a.Ts);
  for (std::int64_t t = 0; t < a.Tq && steps > 0; ++t) {
    for (std::int64_t s = 0; g.dweights != nullptr && s < steps; ++s) dscore[t][s] += dweights[t][s];
    softmax_row_backward<T>(steps, dscore[t], weights[t], dscore[t]);
  }
  const Rows<const T> dscores{space, a.Ts};
  if (a.v != nullptr) {
    T* const dv = static_cast<T*>(g.dv) + n * a.K;
    zero_rows(dquery, 0, a.Tq, a.K);
    zero_rows(dkeys, 0, a.Ts, a.K);
    std::fill(dv, dv + a.K, T(0));
    k.additive_backward(a.Tq, steps, a.K, query, keys, static_cast<const T*>(a.v), dscores, {dquery, dkeys, dv});
    return;
  }
  k.combine(a.Tq, steps, a.K, space, a.Ts, 1, keys, dquery);
  k.combine(steps, a.Tq, a.K, space, 1, a.Ts, query, dkeys);
  zero_rows(dkeys, steps, a.Ts, a.K);
}

int threads_of(const Attention& a) {
  const double score = static_cast<double>(a.K) * (a.v != nullptr ? 10 : 1);  // a tanh counts as ten
  return threads_for(static_cast<double>(a.Tq * a.Ts * a.N) * (score + static_cast<double>(a.V)));
}

}  // namespace
}  // namespace cpu

namespace backend {

void attention(Device, const Attention& a) {
  cpu::with_float(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::run_team(cpu::threads_of(a), [&](const cpu::Member& member) {
      const cpu::Range mine = member.share(a.N);
      for (std::int64_t n = mine.begin; n < mine.end; ++n) cpu::attend<T>(a, n);
    });
  });
}

void attention_backward(Device, const Attention& a, const AttentionGradients& g) {
  cpu::with_float(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int threads = cpu::threads_of(a);
    const std::int64_t size = a.Tq * a.Ts;
    const cpu::Buffer space(static_cast<std::size_t>(threads * size) * sizeof(T));
    cpu::run_team(threads, [&](const cpu::Member& member) {
      const cpu::Range mine = member.share(a.N);
      for (std::int64_t n = mine.begin; n < mine.end; ++n)
        cpu::attend_backward<T>(a, g, n, static_cast<T*>(space.data()) + member.rank * size);
    });
  });
}

}  // namespace backend
}  // namespace rnncore
#endif  // HWY_ONCE
