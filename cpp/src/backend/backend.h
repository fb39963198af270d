// The seam between the engine and a device: coarse verbs over raw, row-major, contiguous memory.
// Owns nothing. Included by core/ (callers) and by the backends (implementers); core sees no other backend header.
// Shapes were checked by the caller. Verbs do not throw, but for allocation (std::bad_alloc) before work starts.
#pragma once

#include <cstdint>
#include <memory>

#include "rnncore/recurrent.hpp"
#include "rnncore/tensor.hpp"

namespace rnncore::backend {

// Memory ----------------------------------------------------------------------------------------------------
void* allocate(Device device, std::size_t bytes);  // 64-byte aligned, pooled, uninitialised
void release(Device device, void* pointer, std::size_t bytes) noexcept;

// Products --------------------------------------------------------------------------------------------------
// A weight laid out for the kernels; opaque, immutable, shared. Made once per (storage version, layout).
class Packed;
using PackedPtr = std::shared_ptr<const Packed>;

// c (M, N) = [c +] op(a) op(b) [+ bias]; each element is one fused-multiply-add chain over K in index order,
// started from c, bias or 0. a is (M, K), or (K, M) if trans_a; b is (K, N), or (N, K) if trans_b.
struct Gemm {
  DType dtype = DType::float32;
  bool trans_a = false, trans_b = false;
  std::int64_t M = 0, N = 0, K = 0;
  const void* a = nullptr;
  std::int64_t lda = 0;  // elements between rows of a as stored
  const void* b = nullptr;
  std::int64_t ldb = 0;
  void* c = nullptr;
  std::int64_t ldc = 0;
  const void* bias = nullptr;        // (N) or null; not together with accumulate
  bool accumulate = false;           // start from c
  const Packed* packed_b = nullptr;  // pack_matrix of b, or null: packed on the fly
  int threads = 0;                   // 0: as the work deserves
};
void gemm(Device device, const Gemm& g);
// Packed weights made under another epoch must be made again (the instruction set changed).
std::uint64_t pack_epoch(Device device);
// b as Gemm has it: (K, N), or (N, K) if trans_b.
PackedPtr pack_matrix(Device device, DType dtype, bool trans_b, std::int64_t N, std::int64_t K, const void* b,
                      std::int64_t ldb);

// Recurrent layers: backend/recurrent.h. Element-wise, reductions, losses, updates: backend/pointwise.h.

}  // namespace rnncore::backend
