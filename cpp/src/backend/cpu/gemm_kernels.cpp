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
const GemmTable<T>& make_table() {
  using D = hn::ScalableTag<T>;
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
  constexpr int kRowVectors = kRegisters == 32 ? 4 : 2;
  static const GemmTable<T> table = {kLanes,
                                     kRowVectors,
                                     tile_rows(kRowVectors),
                                     {nullptr, row_panel<1, D>, row_panel<2, D>, row_panel<3, D>, row_panel<4, D>}};
  return table;
}

const GemmTable<float>& table_f32() { return make_table<float>(); }
const GemmTable<double>& table_f64() { return make_table<double>(); }

}  // namespace HWY_NAMESPACE
}  // namespace cpu
}  // namespace rnncore
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rnncore::cpu {

const GemmTable<float>& gemm_table_f32(std::int64_t target)
    RNNCORE_TABLE_FOR_TARGET(GemmTable<float>, table_f32) const GemmTable<double>& gemm_table_f64(std::int64_t target)
        RNNCORE_TABLE_FOR_TARGET(GemmTable<double>, table_f64)

            template <>
            const GemmTable<float>& gemm_table<float>() {
  return gemm_table_f32(active_target());
}
template <>
const GemmTable<double>& gemm_table<double>() {
  return gemm_table_f64(active_target());
}

}  // namespace rnncore::cpu
#endif
