// Layer normalisation inside the step in float.
#include "backend/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/recurrent_norm_kernels_f32.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/recurrent_norm-inl.h"

#if HWY_ONCE
namespace rnncore::cpu {

const NormKernels<float>& norm_kernels_f32(std::int64_t target, Kernel kernel) {
  return *RNNCORE_TABLE(target, norm_table<float>).of[static_cast<int>(kernel) - kPlainKernels];
}

}  // namespace rnncore::cpu
#endif
