// Which instruction sets are compiled, and how a kernel file offers its table for each of them.
// Included first by every kernel file (before any Highway header).
//
// A kernel file names itself in HWY_TARGET_INCLUDE, includes hwy/foreach_target.h and hwy/highway.h, and defines
// inside HWY_NAMESPACE a function `const Table& table()`; then, under HWY_ONCE, RNNCORE_TABLE_FOR_TARGET(table)
// is the body of `const Table& some_table(std::int64_t target)`. Pointers are taken from the table of the target
// chosen when the library loads: Highway's own dynamic dispatch (and so libhwy.so) is not used.
#ifndef RNNCORE_BACKEND_CPU_TARGETS_H_
#define RNNCORE_BACKEND_CPU_TARGETS_H_

// SVE and RVV vectors cannot be members of a struct; the further AVX-512 variants and SSSE3 add build time alone.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV | HWY_AVX3_DL | HWY_SSSE3)

#include <cstdint>

namespace rnncore::cpu {

// Highway's target bit of the instruction set in use.
std::int64_t active_target();
// Grows by one with every set_target(): packed weights made for another target are stale.
std::uint64_t target_epoch();

template <typename Table>
using TableFunction = const Table& (*)();

template <typename Table>
TableFunction<Table> pick(TableFunction<Table> candidate, TableFunction<Table> fallback) {
  return candidate != nullptr ? candidate : fallback;
}

}  // namespace rnncore::cpu

#define RNNCORE_TABLE_FOR_TARGET(TYPE, FUNCTION)                                                    \
  {                                                                                                 \
    ::rnncore::cpu::TableFunction<TYPE> chosen = HWY_CHOOSE_FALLBACK(FUNCTION);                     \
    if (target == HWY_AVX3) chosen = ::rnncore::cpu::pick<TYPE>(HWY_CHOOSE_AVX3(FUNCTION), chosen); \
    if (target == HWY_AVX2) chosen = ::rnncore::cpu::pick<TYPE>(HWY_CHOOSE_AVX2(FUNCTION), chosen); \
    if (target == HWY_SSE4) chosen = ::rnncore::cpu::pick<TYPE>(HWY_CHOOSE_SSE4(FUNCTION), chosen); \
    if (target == HWY_NEON) chosen = ::rnncore::cpu::pick<TYPE>(HWY_CHOOSE_NEON(FUNCTION), chosen); \
    return chosen();                                                                                \
  }

#endif  // RNNCORE_BACKEND_CPU_TARGETS_H_
