// Central differences against the tape, in float64. Header only; for any function of tensors.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "rnncore/rnncore.hpp"

namespace rnncore::test {

// Smooth numbers in (-1, 1) that differ from element to element and from salt to salt.
inline Tensor numbers(Shape shape, std::uint64_t salt, DType dtype = DType::float64) {
  Tensor t = Tensor::empty(std::move(shape), dtype);
  Generator generator(1000 + salt);
  generator.uniform_(t, -1.0, 1.0);
  return t;
}

inline Tensor leaf(const Tensor& t) {
  Tensor copy = Tensor::from_bytes(t.raw(), t.shape(), t.dtype());
  copy.set_requires_grad(true);
  return copy;
}

// Checks d/dinput of sum(f(inputs) * weights) for every element of every float64 input, with fixed random weights, so
// that no output's gradient can hide behind another's. `tol` is absolute for small and relative for large derivatives.
inline void expect_gradients(const std::function<Tensor(const std::vector<Tensor>&)>& f,
                             const std::vector<Tensor>& values, double tol = 1e-6) {
  std::vector<Tensor> inputs;
  for (const Tensor& v : values) inputs.push_back(v.dtype() == DType::float64 ? leaf(v) : v);
  const Tensor out = f(inputs);
  ASSERT_TRUE(out.requires_grad()) << "the result is not on the tape";
  const Tensor weights = numbers(out.shape(), 77);
  sum(mul(out, weights)).backward();

  const auto loss = [&] {
    const NoGradGuard guard;
    const Tensor y = f(inputs);
    long double total = 0;
    for (std::int64_t i = 0; i < y.numel(); ++i)
      total += static_cast<long double>(y.data<double>()[i]) * static_cast<long double>(weights.data<double>()[i]);
    return total;
  };
  constexpr double kStep = 1e-5;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (inputs[k].dtype() != DType::float64) continue;
    const Tensor grad = inputs[k].grad();
    ASSERT_TRUE(grad.defined()) << "input " << k << " got no gradient";
    ASSERT_EQ(grad.shape(), inputs[k].shape());
    for (std::int64_t i = 0; i < inputs[k].numel(); ++i) {
      const double before = inputs[k].data<double>()[i];
      inputs[k].mutable_data<double>()[i] = before + kStep;
      const long double up = loss();
      inputs[k].mutable_data<double>()[i] = before - kStep;
      const long double down = loss();
      inputs[k].mutable_data<double>()[i] = before;
      const double want = static_cast<double>((up - down) / (2.0L * kStep)), got = grad.data<double>()[i];
      ASSERT_NEAR(got, want, tol * std::max(1.0, std::abs(want))) << "input " << k << " element " << i;
    }
  }
}

}  // namespace rnncore::test
