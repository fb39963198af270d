// The recurrent step kernels of the cells with options in float.
#include "backend/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/recurrent_option_kernels_f32.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/recurrent_kernels-inl.h"

#if HWY_ONCE
namespace rnncore::cpu {

const CellKernels<float>& option_kernels_f32(std::int64_t target, int index) {
  return *RNNCORE_TABLE(target, option_table<float>).of[index];
}

}  // namespace rnncore::cpu
#endif
