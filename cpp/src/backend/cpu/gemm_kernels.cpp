// Panel kernels of the matrix product for every instruction set.
#include "backend/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/gemm_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "backend/cpu/panel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rnncore {
namespace cpu {
namespace HWY_NAMESPACE {

template <typename T>
const GemmTable<T>& gemm_table() {
  using D = hn::ScalableTag<T>;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
  constexpr int kRowVectors = kRegisters == 32 ? 4 : 2;
  static const GemmTable<T> table = {kLanes,
                                     kRowVectors,
                                     tile_rows(kRowVectors),
                                     {nullptr, row_panel<1, D>, row_panel<2, D>, row_panel<3, D>, row_panel<4, D>}};
  return table;
}

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rnncore::cpu {

template <typename T>
const GemmTable<T>& gemm_table() {
  return RNNCORE_TABLE(active_target(), gemm_table<T>);
}
template const GemmTable<float>& gemm_table<float>();
template const GemmTable<double>& gemm_table<double>();

}  // namespace rnncore::cpu
#endif
