// Helpers of the callers of kernels: choosing float or double, and the grain that threads share work by.
#pragma once

#include <cstdint>

#include "backend/cpu/targets.h"
#include "backend/cpu/team.h"
#include "rnncore/tensor.hpp"

namespace rnncore::cpu {

// Elements: a multiple of every vector and of a cache line, so that no two threads share one.
constexpr std::int64_t kGrain = 1024;

// f(float()) or f(double()).
template <class F>
void with_float(DType dtype, const F& f) {
  if (dtype == DType::float32) {
    f(float());
  } else {
    f(double());
  }
}

}  // namespace rnncore::cpu
