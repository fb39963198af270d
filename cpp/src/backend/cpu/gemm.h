// Matrix products as parts of a team's work, and packing. Internal to the CPU backend.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/cpu/packed.h"
#include "backend/cpu/panel.h"
#include "backend/cpu/team.h"

namespace rnncore::cpu {

// Packing ---------------------------------------------------------------------------------------------------
// Where element (k, j) of the packed matrix comes from: w[column(j) * ld + row(k)] if trans, else
// w[row(k) * ld + column(j)]. The maps (null: identity) give -1 for padding, which is filled with zeros.
template <typename T>
struct PackSource {
  const T* w = nullptr;
  std::int64_t ld = 0;
  bool trans = false;
  const std::int64_t* column = nullptr;  // layout.N entries
  const std::int64_t* row = nullptr;     // layout.K entries
  std::int64_t columns = 0;              // without a column map: the true number of columns
};
template <typename T>
backend::PackedPtr pack(const PanelLayout& layout, const PackSource<T>& source);

// Row-major a -----------------------------------------------------------------------------------------------
// c (rows, columns) = start + a b. K of b = blocks * run of a.
template <typename T>
struct RowProduct {
  const T* a = nullptr;
  std::int64_t a_row = 0, a_block = 0, blocks = 1, run = 0;
  const backend::Packed* b = nullptr;
  T* c = nullptr;
  std::int64_t c_row = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;  // of c; the packed columns beyond are not stored
  const T* bias = nullptr;   // laid out as c's columns, readable to whole vectors
  Start start = Start::zero;
};
// The caller puts a barrier where it needs one.
template <typename T>
void row_product(const Member& member, const RowProduct<T>& p);

// Transposed a ----------------------------------------------------------------------------------------------
// c = [c +] a^T b with a (K, .) and b (K, N) row-major: weight gradients. The result's rows are made of tiles of at
// most row_tile rows: tile i goes to rows [tile_c[i], tile_c[i] + tile_rows[i]) of c, and its row r comes from column
// column[i * row_tile + r] of a (any columns: a is copied on the way in).
template <typename T>
struct TransProduct {
  const T* a = nullptr;
  std::int64_t a_row = 0;
  const T* b = nullptr;
  std::int64_t b_row = 0;
  std::int64_t K = 0, N = 0;
  T* c = nullptr;
  std::int64_t c_row = 0;
  std::int64_t tiles = 0;
  const std::int64_t* column = nullptr;
  const std::int64_t* tile_c = nullptr;
  const std::int64_t* tile_rows = nullptr;
  bool accumulate = false;
  T* column_sum = nullptr;  // or null: per c row, [+=] the sum over K of a's column, in index order
};
// Shared scratch of trans_product for a team of `size`.
template <typename T>
std::size_t trans_scratch_bytes(std::int64_t N, int size);
template <typename T>
void trans_product(const Member& member, const TransProduct<T>& p, void* scratch);

}  // namespace rnncore::cpu
