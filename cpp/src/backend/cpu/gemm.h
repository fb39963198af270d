// Matrix products as parts of a team's work, and packing. Internal to the CPU backend.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/cpu/packed.h"
#include "backend/cpu/panel.h"
#include "backend/cpu/row_parts.h"
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
// c (rows, columns) = start + a b. K of b = blocks * run of a. The rows may come in `groups` (a few sequences at
// several steps): group g begins g * a_group (c_group) elements further on.
template <typename T>
struct RowProduct {
  const T* a = nullptr;
  std::int64_t a_row = 0, a_block = 0, blocks = 1, run = 0;
  const backend::Packed* b = nullptr;
  T* c = nullptr;
  std::int64_t c_row = 0;
  std::int64_t rows = 0;  // of a group
  std::int64_t groups = 1, a_group = 0, c_group = 0;
  std::int64_t columns = 0;  // of c; the packed columns beyond are not stored
  const T* bias = nullptr;   // laid out as c's columns, readable to whole vectors
  Start start = Start::zero;
  bool by_panels = false;  // each member makes the same columns of every row, if there are panels for all
};
// The caller puts a barrier where it needs one.
template <typename T>
void row_product(const Member& member, const RowProduct<T>& p);

// Transposed a ----------------------------------------------------------------------------------------------
// Weight gradients: c = [c +] a^T b with a and b of K rows, for several b at once (what one copy of a serves).
// The rows of the results are made of tiles of at most row_tile rows: tile i goes to rows [row[i], row[i] + rows[i]) of
// c, and its row r comes from column column[i * row_tile + r] of a (any columns: a is copied on the way in).
struct TransTiles {
  std::vector<std::int64_t> column, row, rows;
  std::vector<std::uint32_t> of;  // bit j: the tile takes part in the product with b number j

  std::int64_t size() const { return static_cast<std::int64_t>(row.size()); }
};
template <typename T>
struct TransColumns {
  const T* b = nullptr;
  std::int64_t b_row = 0, N = 0;
  std::int64_t shift = 0;   // row k of the product is row k + shift of b; outside of b: rows of `edge`
  const T* edge = nullptr;  // its rows follow one another; null: zeros
  T* c = nullptr;
  std::int64_t c_row = 0;
};
template <typename T>
struct TransSums {  // sums over K of a's columns, in index order, for tiles with one of the bits
  T* out = nullptr;
  std::uint32_t of = 0;
};
template <typename T>
struct TransProduct {
  const T* a = nullptr;
  std::int64_t a_row = 0, a_columns = 0;  // a_columns: that may be read
  std::int64_t K = 0;
  RowParts order;          // how the rows of a lie; by default one after another
  std::int64_t steps = 1;  // K = steps * order.N
  const TransTiles* tiles = nullptr;
  std::vector<TransColumns<T>> columns;
  std::vector<TransSums<T>> sums;
  bool accumulate = false;
};
// Scratch of a team of `size` for results of these widths together. Members share nothing and do not wait.
template <typename T>
std::size_t trans_scratch_bytes(const std::vector<std::int64_t>& widths, int size);
template <typename T>
void trans_product(const Member& member, const TransProduct<T>& p, void* scratch);

}  // namespace rnncore::cpu
