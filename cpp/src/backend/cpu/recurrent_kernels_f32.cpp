// The recurrent step kernels in float.
#include "backend/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/recurrent_kernels_f32.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/recurrent_kernels-inl.h"

#if HWY_ONCE
namespace rnncore::cpu {

const CellKernels<float>& cell_kernels_f32(std::int64_t target, CellKind cell) {
  return *RNNCORE_TABLE(target, cell_table<float>).of[static_cast<int>(cell)];
}

}  // namespace rnncore::cpu
#endif
