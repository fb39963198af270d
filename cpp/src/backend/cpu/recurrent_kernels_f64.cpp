// The recurrent step kernels of the plain cells in double.
#include "backend/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/recurrent_kernels_f64.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/recurrent_kernels-inl.h"

#if HWY_ONCE
namespace rnncore::cpu {

const CellKernels<double>& cell_kernels_f64(std::int64_t target, Kernel kernel) {
  const int index = static_cast<int>(kernel);
  if (index >= kPlainKernels) return option_kernels_f64(target, index - kPlainKernels);
  return *RNNCORE_TABLE(target, plain_table<double>).of[index];
}

}  // namespace rnncore::cpu
#endif
