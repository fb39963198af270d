// Losses of real values, element by element:
//   squared   (x - y)^2                                    dx = 2 (x - y)
//   absolute  |x - y|                                      dx = sign(x - y)
//   logistic  max(x, 0) - x y + log(1 + exp(-|x|))         dx = sigmoid(x) - y
//   quantile  max(q (y - x), (q - 1) (y - x))              dx = [x > y] - q, and 0 where x = y
// The third is -y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)) without overflow.
#include <algorithm>
#include <cmath>
#include <vector>

#include "backend/cpu/dispatch.h"
#include "backend/pointwise.h"

namespace rnncore {
namespace cpu {
namespace {

using Kind = backend::ValueLoss::Kind;
constexpr std::int64_t kBlock = 4096;  // elements of one partial sum

template <Kind kind, typename T>
T loss_of(T x, T y, T q) {
  const T e = x - y;
  if constexpr (kind == Kind::squared) return e * e;
  if constexpr (kind == Kind::absolute) return std::abs(e);
  if constexpr (kind == Kind::logistic) return std::max(x, T(0)) - x * y + std::log1p(std::exp(-std::abs(x)));
  return std::max(-q * e, (T(1) - q) * e);
}

template <Kind kind, typename T>
T slope_of(T x, T y, T q) {
  const T e = x - y;
  if constexpr (kind == Kind::squared) return T(2) * e;
  if constexpr (kind == Kind::absolute) return e > 0 ? T(1) : e < 0 ? T(-1) : e;
  if constexpr (kind == Kind::logistic) {
    const T z = std::exp(-std::abs(x));
    return (x >= 0 ? T(1) : z) / (T(1) + z) - y;
  }
  return e > 0 ? T(1) - q : e < 0 ? -q : e;  // not a number stays one
}

// f(kind as a constant).
template <class F>
void with_kind(Kind kind, const F& f) {
  switch (kind) {
    case Kind::squared:
      return f(std::integral_constant<Kind, Kind::squared>());
    case Kind::absolute:
      return f(std::integral_constant<Kind, Kind::absolute>());
    case Kind::logistic:
      return f(std::integral_constant<Kind, Kind::logistic>());
    case Kind::quantile:
      return f(std::integral_constant<Kind, Kind::quantile>());
  }
}

// g(i, x, y, q) for the elements begin..end-1 that count, skipped(i) for the others.
template <typename T, class G, class S>
void visit(const backend::ValueLoss& loss, std::int64_t begin, std::int64_t end, const G& g, const S& skipped) {
  const T *x = static_cast<const T*>(loss.x), *y = static_cast<const T*>(loss.y);
  for (std::int64_t i = begin; i < end; ++i) {
    if (loss.mask != nullptr && loss.mask[i / loss.masked] == 0) {
      skipped(i);
      continue;
    }
    g(i, x[i], y[i / loss.group], loss.levels != nullptr ? static_cast<T>(loss.levels[i % loss.group]) : T(0));
  }
}

int threads_of(const backend::ValueLoss& loss) {
  return threads_for((loss.kind == Kind::logistic ? 20.0 : 3.0) * static_cast<double>(loss.n));
}

}  // namespace
}  // namespace cpu

namespace backend {

double value_loss(Device, const ValueLoss& loss, void* losses) {
  const std::int64_t blocks = (loss.n + cpu::kBlock - 1) / cpu::kBlock;
  std::vector<double> sums(static_cast<std::size_t>(blocks), 0.0);
  cpu::with_float(loss.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* each = static_cast<T*>(losses);
    cpu::with_kind(loss.kind, [&](auto kind) {
      cpu::run_team(cpu::threads_of(loss), [&](const cpu::Member& member) {
        const cpu::Range mine = member.share(blocks);
        for (std::int64_t b = mine.begin; b < mine.end; ++b) {
          double sum = 0;
          cpu::visit<T>(
              loss, b * cpu::kBlock, std::min(loss.n, (b + 1) * cpu::kBlock),
              [&](std::int64_t i, T x, T y, T q) {
                const T value = cpu::loss_of<kind()>(x, y, q);
                sum += static_cast<double>(value);
                if (each != nullptr) each[i] = value;
              },
              [&](std::int64_t i) {
                if (each != nullptr) each[i] = T(0);
              });
          sums[static_cast<std::size_t>(b)] = sum;
        }
      });
    });
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

void value_loss_backward(Device, const ValueLoss& loss, double scale, const void* element_scale, void* dx) {
  cpu::with_float(loss.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *scales = static_cast<const T*>(element_scale), factor = static_cast<T>(scale);
    T* to = static_cast<T*>(dx);
    cpu::with_kind(loss.kind, [&](auto kind) {
      cpu::run_team(cpu::threads_of(loss), [&](const cpu::Member& member) {
        const cpu::Range mine = member.share(loss.n);
        cpu::visit<T>(
            loss, mine.begin, mine.end,
            [&](std::int64_t i, T x, T y, T q) {
              const T slope = cpu::slope_of<kind()>(x, y, q) * factor;
              to[i] = scales != nullptr ? slope * scales[i] : slope;
            },
            [&](std::int64_t i) { to[i] = T(0); });
      });
    });
  });
}

}  // namespace backend
}  // namespace rnncore
