// The recurrent step kernels of the cells with options in double.
#include "backend/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/recurrent_option_kernels_f64.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/recurrent_kernels-inl.h"

#if HWY_ONCE
namespace rnncore::cpu {

const CellKernels<double>& option_kernels_f64(std::int64_t target, int index) {
  return *RNNCORE_TABLE(target, option_table<double>).of[index];
}

}  // namespace rnncore::cpu
#endif
