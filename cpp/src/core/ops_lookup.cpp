// Embedding lookup, dropout, sampling.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/ops_common.h"

namespace rnncore {
namespace {

void check_ids(const Tensor& ids, std::int64_t vocabulary) {
  check_defined("embedding", "ids", ids);
  if (ids.dtype() != DType::int64) throw_type("embedding", "ids", "int64", name_of(ids.dtype()));
  const std::int64_t* p = ids.data<std::int64_t>();
  for (std::int64_t i = 0; i < ids.numel(); ++i) {
    if (p[i] >= 0 && p[i] < vocabulary) continue;
    throw_argument("embedding", "ids", "values in [0, V) with V = " + std::to_string(vocabulary) + " (rows of weight)",
                   std::to_string(p[i]) + " at position " + std::to_string(i) + " of shape " + to_string(ids.shape()));
  }
}

// One row's draw. `order` and `mass` are scratch of V elements.
template <typename T>
std::int64_t draw(const T* logits, std::int64_t V, const SampleOptions& options, double u,
                  std::vector<std::int64_t>& order, std::vector<double>& mass) {
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::int64_t kept = V;
  const auto larger = [logits](std::int64_t a, std::int64_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  if (options.top_p < 1.0) {
    std::sort(order.begin(), order.end(), larger);
  } else if (options.top_k > 0 && options.top_k < V) {
    std::partial_sort(order.begin(), order.begin() + options.top_k, order.end(), larger);
  }
  if (options.top_k > 0) kept = std::min(kept, options.top_k);
  const double top = static_cast<double>(*std::max_element(logits, logits + V));
  double total = 0;
  for (std::int64_t i = 0; i < kept; ++i) {
    mass[static_cast<std::size_t>(i)] =
        std::exp((static_cast<double>(logits[order[static_cast<std::size_t>(i)]]) - top) / options.temperature);
    total += mass[static_cast<std::size_t>(i)];
  }
  if (options.top_p < 1.0) {  // the fewest most probable whose probabilities reach top_p
    double reached = 0;
    std::int64_t count = 0;
    while (count < kept && (count == 0 || reached < options.top_p * total))
      reached += mass[static_cast<std::size_t>(count++)];
    kept = count;
    total = reached;
  }
  double rest = u * total;
  std::int64_t last = 0;
  for (std::int64_t i = 0; i < kept; ++i) {
    const double m = mass[static_cast<std::size_t>(i)];
    if (m <= 0) continue;
    last = i;  // rounding may leave a remainder: then the last possible one
    if (rest < m) break;
    rest -= m;
  }
  return order[static_cast<std::size_t>(last)];
}

template <typename T>
void check_logits(const T* logits, std::int64_t rows, std::int64_t V) {
  for (std::int64_t r = 0; r < rows; ++r) {
    bool possible = false;
    for (std::int64_t v = 0; v < V; ++v) {
      const T x = logits[r * V + v];
      if (std::isnan(x) || x == std::numeric_limits<T>::infinity())
        throw NumericError(
            error_message("sample", "logits", "numbers below infinity",
                          std::to_string(x) + " at (" + std::to_string(r) + ", " + std::to_string(v) + ")",
                          "has training diverged?"));
      possible = possible || x > -std::numeric_limits<T>::infinity();
    }
    if (!possible)
      throw NumericError(
          error_message("sample", "logits", "at least one finite logit per row", "none in row " + std::to_string(r)));
  }
}

template <typename T>
void sample_rows(const Tensor& logits, const SampleOptions& options, std::uint64_t seed, std::uint64_t call,
                 std::int64_t* out) {
  const std::int64_t rows = logits.size(0), V = logits.size(1);
  const T* x = logits.data<T>();
  check_logits(x, rows, V);
  std::vector<std::int64_t> order(static_cast<std::size_t>(V));
  std::vector<double> mass(static_cast<std::size_t>(V));
  for (std::int64_t r = 0; r < rows; ++r) {
    const PhiloxBlock b = philox(seed, call, static_cast<std::uint64_t>(r));
    const std::uint64_t bits = (static_cast<std::uint64_t>(b.word[0]) << 32 | b.word[1]) >> 11;
    out[r] = options.temperature == 0.0 ? std::max_element(x + r * V, x + (r + 1) * V) - (x + r * V)
                                        : draw(x + r * V, V, options, static_cast<double>(bits) * 0x1p-53, order, mass);
  }
}

}  // namespace

Tensor embedding(const Tensor& weight, const Tensor& ids, std::int64_t padding_idx) {
  check_float("embedding", "weight", weight);
  if (weight.dim() != 2) throw_argument("embedding", "weight", "shape (V, E)", to_string(weight.shape()));
  const std::int64_t V = weight.size(0), E = weight.size(1);
  if (padding_idx < -1 || padding_idx >= V)
    throw_argument("embedding", "padding_idx", "-1 or in [0, " + std::to_string(V) + ")", std::to_string(padding_idx));
  check_ids(ids, V);
  Shape shape = ids.shape();
  shape.push_back(E);
  Tensor out = Tensor::empty(shape, weight.dtype());
  const std::int64_t count = ids.numel();
  backend::gather_rows(weight.device(), weight.dtype(), count, E, weight.raw(), ids.data<std::int64_t>(),
                       out.mutable_raw());
  if (!should_record({weight})) return out;
  const Saved saved_ids(ids);
  record("embedding", {weight}, {&out}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    Tensor dweight = Tensor::zeros({V, E}, grads[0].dtype());
    backend::scatter_add_rows(dweight.device(), dweight.dtype(), V, count, E, grads[0].raw(),
                              saved_ids.get("embedding").data<std::int64_t>(), padding_idx, dweight.mutable_raw());
    return {dweight};
  });
  return out;
}

Tensor dropout(const Tensor& a, double p, bool training, Generator& generator) {
  check_float("dropout", "a", a);
  if (!(p >= 0.0 && p <= 1.0)) throw_argument("dropout", "p", "in [0, 1]", std::to_string(p));
  if (!training || p == 0.0) return a;
  const std::uint64_t seed = generator.seed(), call = generator.next_call();
  const auto masked = [p, seed, call](const Tensor& x) {  // the mask is made again in backward, never stored
    Tensor y = Tensor::empty(x.shape(), x.dtype());
    backend::dropout(x.device(), x.dtype(), x.numel(), p, seed, call, x.raw(), y.mutable_raw());
    return y;
  };
  Tensor out = masked(a);
  if (should_record({a}))
    record("dropout", {a}, {&out},
           [masked](const std::vector<Tensor>& grads) -> std::vector<Tensor> { return {masked(grads[0])}; });
  return out;
}

Tensor sample(const Tensor& logits, const SampleOptions& options, Generator& generator) {
  check_float("sample", "logits", logits);
  if (logits.dim() != 2 || logits.size(1) == 0)
    throw_argument("sample", "logits", "shape (N, V) with V >= 1", to_string(logits.shape()));
  if (!(options.temperature >= 0.0) || !std::isfinite(options.temperature))
    throw_argument("sample", "temperature", "a finite number of at least 0", std::to_string(options.temperature));
  if (options.top_k < 0) throw_argument("sample", "top_k", "at least 0 (0: all)", std::to_string(options.top_k));
  if (!(options.top_p > 0.0 && options.top_p <= 1.0))
    throw_argument("sample", "top_p", "in (0, 1]", std::to_string(options.top_p));
  Tensor out = Tensor::empty({logits.size(0)}, DType::int64);
  const std::uint64_t call = generator.next_call();
  if (logits.dtype() == DType::float32) {
    sample_rows<float>(logits, options, generator.seed(), call, out.mutable_data<std::int64_t>());
  } else {
    sample_rows<double>(logits, options, generator.seed(), call, out.mutable_data<std::int64_t>());
  }
  return out;
}

}  // namespace rnncore
