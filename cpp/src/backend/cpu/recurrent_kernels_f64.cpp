// The recurrent step kernels in double.
#include "backend/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/recurrent_kernels_f64.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/recurrent_kernels-inl.h"

#if HWY_ONCE
namespace rnncore::cpu {
namespace {
const CellTable<double>& table_for(std::int64_t target) RNNCORE_TABLE_FOR_TARGET(CellTable<double>, cell_table<double>)
}  // namespace

const CellKernels<double>& cell_kernels_f64(std::int64_t target, CellKind cell) {
  return *table_for(target).of[static_cast<int>(cell)];
}

}  // namespace rnncore::cpu
#endif
