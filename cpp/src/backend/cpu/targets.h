// Which instruction sets are compiled, and how a kernel file offers its table for each of them.
// Included first by every kernel file (before any Highway header).
//
// A kernel file names itself in HWY_TARGET_INCLUDE, includes hwy/foreach_target.h and hwy/highway.h, and defines
// inside HWY_NAMESPACE a function `const Table& some_table()`; then, under HWY_ONCE, RNNCORE_TABLE(target, some_table)
// is the table of one instruction set. Pointers are taken from the table of the target chosen when the library loads:
// Highway's own dynamic dispatch (and so libhwy.so) is not used.
#ifndef RNNCORE_BACKEND_CPU_TARGETS_H_
#define RNNCORE_BACKEND_CPU_TARGETS_H_

// SVE and RVV vectors cannot be members of a struct; the further AVX-512 variants and SSSE3 add build time alone.
// Builds with sanitizers, whose kernels take minutes each to compile, have the narrower half of the rest.
#ifdef RNNCORE_FEW_TARGETS
#define RNNCORE_LEFT_OUT (HWY_AVX3 | HWY_SSE4)
#else
#define RNNCORE_LEFT_OUT 0
#endif
#define HWY_DISABLED_TARGETS \
  (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV | HWY_AVX3_DL | HWY_SSSE3 | RNNCORE_LEFT_OUT)

#include <hwy/detect_targets.h>

#include <cstdint>
#include <type_traits>

namespace rnncore::cpu {

// Highway's target bit of the instruction set in use.
std::int64_t active_target();
// Grows by one with every set_target(): packed weights made for another target are stale.
std::uint64_t target_epoch();

// The functions of a kernel file in both precisions.
template <template <typename> class Kernels>
struct KernelTable {
  Kernels<float> f32;
  Kernels<double> f64;
  template <typename T>
  const Kernels<T>& of() const {
    if constexpr (std::is_same_v<T, float>) {
      return f32;
    } else {
      return f64;
    }
  }
};

// Of the functions that give each instruction set's table (null where it is not compiled), calls the target's.
template <typename Table>
using TableFunction = const Table& (*)();
template <typename Table>
using OtherFunction = std::common_type_t<TableFunction<Table>>;  // Table is deduced from the fallback, never null

template <typename Table>
const Table& table_of_target(std::int64_t target, TableFunction<Table> fallback, OtherFunction<Table> avx3,
                             OtherFunction<Table> avx2, OtherFunction<Table> sse4, OtherFunction<Table> neon) {
  TableFunction<Table> chosen = nullptr;
  if (target == HWY_AVX3) chosen = avx3;
  if (target == HWY_AVX2) chosen = avx2;
  if (target == HWY_SSE4) chosen = sse4;
  if (target == HWY_NEON) chosen = neon;
  return chosen != nullptr ? chosen() : fallback();
}

}  // namespace rnncore::cpu

#define RNNCORE_TABLE(TARGET, FUNCTION)                                                             \
  ::rnncore::cpu::table_of_target(TARGET, HWY_CHOOSE_FALLBACK(FUNCTION), HWY_CHOOSE_AVX3(FUNCTION), \
                                  HWY_CHOOSE_AVX2(FUNCTION), HWY_CHOOSE_SSE4(FUNCTION), HWY_CHOOSE_NEON(FUNCTION))

#endif  // RNNCORE_BACKEND_CPU_TARGETS_H_
