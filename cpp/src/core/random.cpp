// Generator: uniform, normal, integers, permutations from Philox blocks.
#include "rnncore/random.hpp"

#include <cmath>
#include <numeric>

#include "backend/philox.h"
#include "core/tensor_impl.h"

namespace rnncore {
namespace {

// [0, 1): 24 bits of one word, 53 bits of two.
float unit(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }
double unit(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = (static_cast<std::uint64_t>(high) << 32 | low) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

void check_out(const char* operation, const Tensor& out) {
  if (!out.defined()) throw_argument(operation, "out", "a tensor", "none (undefined)");
  if (!is_float(out.dtype())) throw_type(operation, "out", "float32 or float64", name_of(out.dtype()));
  if (out.requires_grad() && grad_enabled())
    throw_argument(operation, "out", "a tensor that does not require grad, or grad mode off", "one that requires grad");
}

template <typename T>
void fill_uniform(std::uint64_t seed, std::uint64_t call, std::int64_t n, T low, T high, T* out) {
  constexpr std::int64_t kPerBlock = 16 / sizeof(T);
  for (std::int64_t i = 0; i < n; i += kPerBlock) {
    const PhiloxBlock b = philox(seed, call, static_cast<std::uint64_t>(i / kPerBlock));
    for (std::int64_t j = 0; j < kPerBlock && i + j < n; ++j) {
      T u;
      if constexpr (sizeof(T) == 4) {
        u = unit(b.word[j]);
      } else {
        u = unit(b.word[2 * j], b.word[2 * j + 1]);
      }
      const T value = low + u * (high - low);
      out[i + j] = value < high || low == high ? value : std::nextafter(high, low);  // rounding must not reach `high`
    }
  }
}

// Box-Muller: elements 2i and 2i + 1 from block i.
template <typename T>
void fill_normal(std::uint64_t seed, std::uint64_t call, std::int64_t n, double mean, double stddev, T* out) {
  constexpr double kTwoPi = 6.283185307179586476925;
  for (std::int64_t i = 0; i < n; i += 2) {
    const PhiloxBlock b = philox(seed, call, static_cast<std::uint64_t>(i / 2));
    const double radius = std::sqrt(-2.0 * std::log(1.0 - unit(b.word[0], b.word[1])));  // 1 - u is in (0, 1]
    const double angle = kTwoPi * unit(b.word[2], b.word[3]);
    out[i] = static_cast<T>(mean + stddev * radius * std::cos(angle));
    if (i + 1 < n) out[i + 1] = static_cast<T>(mean + stddev * radius * std::sin(angle));
  }
}

// Uniform in [0, bound) from the words of consecutive blocks, by rejection: no bias.
std::uint64_t bounded(std::uint64_t seed, std::uint64_t call, std::uint64_t& block, std::uint64_t bound) {
  const std::uint64_t limit = ~std::uint64_t{0} - (~std::uint64_t{0} % bound + 1) % bound;
  for (;;) {
    const PhiloxBlock b = philox(seed, call, block++);
    const std::uint64_t value = static_cast<std::uint64_t>(b.word[0]) << 32 | b.word[1];
    if (value <= limit) return value % bound;
  }
}

}  // namespace

PhiloxBlock philox(std::uint64_t seed, std::uint64_t call, std::uint64_t block) {
  PhiloxBlock out;
  backend::philox(seed, call, block, out.word);
  return out;
}

void Generator::uniform_(Tensor& out, double low, double high) {
  check_out("uniform_", out);
  if (!(low <= high) || !std::isfinite(high - low))
    throw_argument("uniform_", "low, high", "finite numbers with low <= high",
                   std::to_string(low) + ", " + std::to_string(high));
  const std::uint64_t call = next_call();
  if (out.dtype() == DType::float32) {
    fill_uniform(seed_, call, out.numel(), static_cast<float>(low), static_cast<float>(high),
                 out.mutable_data<float>());
  } else {
    fill_uniform(seed_, call, out.numel(), low, high, out.mutable_data<double>());
  }
  finish_write(out);
}

void Generator::normal_(Tensor& out, double mean, double stddev) {
  check_out("normal_", out);
  if (!std::isfinite(mean) || !std::isfinite(stddev) || stddev < 0)
    throw_argument("normal_", "mean, stddev", "finite numbers with stddev >= 0",
                   std::to_string(mean) + ", " + std::to_string(stddev));
  const std::uint64_t call = next_call();
  if (out.dtype() == DType::float32) {
    fill_normal(seed_, call, out.numel(), mean, stddev, out.mutable_data<float>());
  } else {
    fill_normal(seed_, call, out.numel(), mean, stddev, out.mutable_data<double>());
  }
  finish_write(out);
}

std::int64_t Generator::below(std::int64_t bound) {
  if (bound < 1) throw_argument("below", "bound", "at least 1", std::to_string(bound));
  std::uint64_t block = 0;
  return static_cast<std::int64_t>(bounded(seed_, next_call(), block, static_cast<std::uint64_t>(bound)));
}

// Fisher and Yates.
Tensor Generator::permutation(std::int64_t n) {
  if (n < 0) throw_argument("permutation", "n", "at least 0", std::to_string(n));
  Tensor out = Tensor::empty({n}, DType::int64);
  std::int64_t* p = out.mutable_data<std::int64_t>();
  std::iota(p, p + n, std::int64_t{0});
  const std::uint64_t call = next_call();
  std::uint64_t block = 0;
  for (std::int64_t i = n - 1; i > 0; --i)
    std::swap(p[i], p[bounded(seed_, call, block, static_cast<std::uint64_t>(i) + 1)]);
  return out;
}

}  // namespace rnncore
