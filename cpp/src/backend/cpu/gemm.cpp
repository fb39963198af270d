// Blocking loops around the panel kernels (Goto & van de Geijn 2008). Depth blocks continue each element's chain from
// c, so the order of additions is the index order whatever the blocking, the number of threads or of rows.
#include "backend/cpu/gemm.h"

#include "backend/cpu/targets.h"

#include <cstring>
#include <numeric>

#include "backend/cpu/targets.h"

namespace rnncore::cpu {
namespace {

constexpr std::int64_t kRowDepth = 512;    // k's of a panel at a time: 512 * 16 floats = 32 KiB
constexpr std::int64_t kRowBlock = 96;     // rows of a that stay in L2 while all panels pass
constexpr std::int64_t kTransDepth = 480;  // rows of a and b copied at a time for weight gradients
constexpr std::int64_t kTransTiles = 12;   // tiles of a copied at a time

constexpr std::int64_t kRowTile = 6;  // GemmTable::row_tile on every target

// Splits a (rows x panels) grid among the team by rows or by panels, whichever leaves the largest share smaller.
struct Split {
  Range rows, panels;
};
Split split(const Member& member, std::int64_t rows, std::int64_t panels, std::int64_t tile) {
  const std::int64_t tiles = (rows + tile - 1) / tile;
  const std::int64_t by_rows = (tiles + member.size - 1) / member.size * panels;
  const std::int64_t by_panels = (panels + member.size - 1) / member.size * tiles;
  if (by_rows <= by_panels) return {member.share(rows, tile), {0, panels}};
  return {{0, rows}, member.share(panels)};
}

}  // namespace

template <typename T>
void row_product(const Member& member, const RowProduct<T>& p) {
  const GemmTable<T>& table = gemm_table<T>();
  const PanelLayout& layout = p.b->layout();
  const std::int64_t full = layout.width / table.lanes;
  const Split mine = split(member, p.rows, layout.panels(), full == table.row_vectors ? table.row_tile : 4);
  // K in steps: parts of one run, or whole runs.
  const std::int64_t step = p.blocks == 1 ? kRowDepth : std::max<std::int64_t>(1, kRowDepth / p.run);
  const std::int64_t steps_total = p.blocks == 1 ? p.run : p.blocks;
  for (std::int64_t row = mine.rows.begin; row < mine.rows.end; row += kRowBlock) {
    const std::int64_t rows = std::min(kRowBlock, mine.rows.end - row);
    std::int64_t at = 0;
    do {
      const std::int64_t count = std::min(step, steps_total - at);
      PanelArgs<T> args;
      args.a_row = p.a_row;
      args.a_block = p.a_block;
      args.blocks = p.blocks == 1 ? 1 : count;
      args.run = p.blocks == 1 ? count : p.run;
      args.a = p.a + row * p.a_row + (p.blocks == 1 ? at : at * p.a_block);
      args.c_row = p.c_row;
      args.rows = rows;
      args.start = at == 0 ? p.start : Start::c;
      const std::int64_t k0 = p.blocks == 1 ? at : at * p.run;
      for (std::int64_t panel = mine.panels.begin; panel < mine.panels.end; ++panel) {
        const std::int64_t width = layout.width_of(panel);
        args.b = p.b->template panel<T>(panel) + k0 * width;
        args.c = p.c + row * p.c_row + panel * layout.stride;
        args.columns = std::min(width, p.columns - panel * layout.stride);
        args.bias = p.bias ? p.bias + panel * layout.stride : nullptr;
        table.row_panel[width / table.lanes](args);
      }
      at += count;
    } while (at < steps_total);
  }
}

template <typename T>
std::size_t trans_scratch_bytes(std::int64_t N, int size) {
  const GemmTable<T>& table = gemm_table<T>();
  const std::int64_t padded = (N + table.lanes - 1) / table.lanes * table.lanes;
  return static_cast<std::size_t>(kTransDepth * (2 * padded + size * kTransTiles * table.row_tile)) * sizeof(T);
}

namespace {

template <typename T>
void copy_b_panel(T* dst, const TransProduct<T>& p, std::int64_t k0, std::int64_t depth, std::int64_t first,
                  std::int64_t width) {
  const std::int64_t valid = std::min(width, p.N - first);
  for (std::int64_t k = 0; k < depth; ++k, dst += width) {
    const T* src = p.b + (k0 + k) * p.b_row + first;
    for (std::int64_t j = 0; j < valid; ++j) dst[j] = src[j];
    for (std::int64_t j = valid; j < width; ++j) dst[j] = T(0);
  }
}

// Copies tile t as [k][MR], zero-padded, and adds its columns up where asked. MR is a constant of the instruction set.
template <std::int64_t MR, typename T>
void copy_a_tile(T* dst, const TransProduct<T>& p, std::int64_t k0, std::int64_t depth, std::int64_t t) {
  const std::int64_t valid = p.tile_rows[t];
  const std::int64_t* const column = p.column + t * MR;
  const T* src = p.a + k0 * p.a_row;
  if (valid == MR) {
    std::int64_t at[MR];
    for (std::int64_t r = 0; r < MR; ++r) at[r] = column[r];
    for (std::int64_t k = 0; k < depth; ++k, src += p.a_row)
      for (std::int64_t r = 0; r < MR; ++r) dst[k * MR + r] = src[at[r]];
  } else {
    for (std::int64_t k = 0; k < depth; ++k, src += p.a_row)
      for (std::int64_t r = 0; r < MR; ++r) dst[k * MR + r] = r < valid ? src[column[r]] : T(0);
  }
  if (!p.column_sum) return;
  T sum[MR] = {};
  for (std::int64_t r = 0; r < valid; ++r) sum[r] = k0 == 0 && !p.accumulate ? T(0) : p.column_sum[p.tile_c[t] + r];
  for (std::int64_t k = 0; k < depth; ++k)
    for (std::int64_t r = 0; r < MR; ++r) sum[r] += dst[k * MR + r];
  for (std::int64_t r = 0; r < valid; ++r) p.column_sum[p.tile_c[t] + r] = sum[r];
}

}  // namespace

template <typename T>
void trans_product(const Member& member, const TransProduct<T>& p, void* scratch) {
  const GemmTable<T>& table = gemm_table<T>();
  const std::int64_t L = table.lanes, MR = table.row_tile;
  PanelLayout layout;
  layout.N = (p.N + L - 1) / L * L;
  layout.width = table.row_vectors * L;
  T* const b_base = static_cast<T*>(scratch);
  T* const a_copy = b_base + kTransDepth * (2 * layout.N + member.rank * kTransTiles * MR);
  const Range panels = member.share(layout.panels()), tiles = member.share(p.tiles);
  std::int64_t k0 = 0;
  int half = 0;
  do {
    const std::int64_t depth = std::min(kTransDepth, p.K - k0);
    layout.K = depth;
    T* const b_copy = b_base + half * kTransDepth * layout.N;
    for (std::int64_t j = panels.begin; j < panels.end; ++j)
      copy_b_panel(b_copy + layout.offset(j), p, k0, depth, j * layout.width, layout.width_of(j));
    member.barrier();  // b_copy is whole; the other half may be overwritten once everybody has come here again
    for (std::int64_t t0 = tiles.begin; t0 < tiles.end; t0 += kTransTiles) {
      const std::int64_t t1 = std::min(tiles.end, t0 + kTransTiles);
      for (std::int64_t t = t0; t < t1; ++t) copy_a_tile<kRowTile>(a_copy + (t - t0) * depth * MR, p, k0, depth, t);
      PanelArgs<T> args;
      args.a_row = 1;
      args.a_k = MR;
      args.run = depth;
      args.c_row = p.c_row;
      args.start = k0 == 0 && !p.accumulate ? Start::zero : Start::c;
      for (std::int64_t j = 0; j < layout.panels(); ++j) {
        const std::int64_t width = layout.width_of(j);
        args.b = b_copy + layout.offset(j);
        args.columns = std::min(width, p.N - j * layout.width);
        for (std::int64_t t = t0; t < t1; ++t) {
          args.a = a_copy + (t - t0) * depth * MR;
          args.rows = p.tile_rows[t];
          args.c = p.c + p.tile_c[t] * p.c_row + j * layout.width;
          table.row_panel[width / L](args);
        }
      }
    }
    k0 += depth;
    half ^= 1;
  } while (k0 < p.K);
}

namespace {

template <typename T>
PanelLayout matrix_layout(std::int64_t N, std::int64_t K) {
  const GemmTable<T>& table = gemm_table<T>();
  PanelLayout layout;
  layout.K = K;
  layout.N = (N + table.lanes - 1) / table.lanes * table.lanes;
  layout.width = layout.stride = table.row_vectors * table.lanes;
  return layout;
}

template <typename T>
backend::PackedPtr pack_plain(bool trans_b, std::int64_t N, std::int64_t K, const void* b, std::int64_t ldb) {
  PackSource<T> source;
  source.w = static_cast<const T*>(b);
  source.ld = ldb;
  source.trans = trans_b;
  source.columns = N;
  return pack<T>(matrix_layout<T>(N, K), source);
}

template <typename T>
void gemm_rows(const backend::Gemm& g) {
  backend::PackedPtr made;
  if (!g.packed_b) made = pack_plain<T>(g.trans_b, g.N, g.K, g.b, g.ldb);
  const std::int64_t padded = matrix_layout<T>(g.N, g.K).N;
  Buffer bias(g.bias ? static_cast<std::size_t>(padded) * sizeof(T) : 0);
  if (g.bias) {
    std::memcpy(bias.data(), g.bias, static_cast<std::size_t>(g.N) * sizeof(T));
    std::memset(static_cast<T*>(bias.data()) + g.N, 0, static_cast<std::size_t>(padded - g.N) * sizeof(T));
  }
  RowProduct<T> p;
  p.a = static_cast<const T*>(g.a);
  p.a_row = g.lda;
  p.run = g.K;
  p.b = g.packed_b ? g.packed_b : made.get();
  p.c = static_cast<T*>(g.c);
  p.c_row = g.ldc;
  p.rows = g.M;
  p.columns = g.N;
  p.bias = static_cast<const T*>(bias.data());
  p.start = g.accumulate ? Start::c : g.bias ? Start::bias : Start::zero;
  const int threads = g.threads > 0 ? g.threads : threads_for(static_cast<double>(g.M) * g.N * g.K);
  run_team(threads, [&](const Member& m) { row_product(m, p); });
}

template <typename T>
void gemm_trans(const backend::Gemm& g) {
  const GemmTable<T>& table = gemm_table<T>();
  const std::int64_t MR = table.row_tile, tiles = (g.M + MR - 1) / MR;
  std::vector<std::int64_t> column(tiles * MR), first(tiles), rows(tiles);
  std::iota(column.begin(), column.end(), 0);
  for (std::int64_t i = 0; i < tiles; ++i) {
    first[i] = i * MR;
    rows[i] = std::min(MR, g.M - i * MR);
  }
  TransProduct<T> p;
  p.a = static_cast<const T*>(g.a);
  p.a_row = g.lda;
  p.b = static_cast<const T*>(g.b);
  p.b_row = g.ldb;
  p.K = g.K;
  p.N = g.N;
  p.c = static_cast<T*>(g.c);
  p.c_row = g.ldc;
  p.tiles = tiles;
  p.column = column.data();
  p.tile_c = first.data();
  p.tile_rows = rows.data();
  p.accumulate = g.accumulate;
  const int threads = threads_for(static_cast<double>(g.M) * g.N * g.K);
  const Buffer scratch(trans_scratch_bytes<T>(g.N, threads));
  run_team(threads, [&](const Member& m) { trans_product(m, p, scratch.data()); });
}

// Copies op(x) to row-major (rows, columns): the rare product whose operands both lie the wrong way round.
template <typename T>
Buffer transposed(const void* x, std::int64_t ld, std::int64_t rows, std::int64_t columns) {
  Buffer out(static_cast<std::size_t>(rows * columns) * sizeof(T));
  T* to = static_cast<T*>(out.data());
  const T* from = static_cast<const T*>(x);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) to[i * columns + j] = from[j * ld + i];
  return out;
}

template <typename T>
void gemm_of(const backend::Gemm& g) {
  if (g.M == 0 || g.N == 0) return;
  if (!g.trans_a) return gemm_rows<T>(g);
  if (!g.trans_b && !g.packed_b && !g.bias) return gemm_trans<T>(g);
  const Buffer a = transposed<T>(g.a, g.lda, g.M, g.K);
  backend::Gemm straight = g;
  straight.trans_a = false;
  straight.a = a.data();
  straight.lda = g.K;
  gemm_rows<T>(straight);
}

}  // namespace

template void row_product<float>(const Member&, const RowProduct<float>&);
template void row_product<double>(const Member&, const RowProduct<double>&);
template void trans_product<float>(const Member&, const TransProduct<float>&, void*);
template void trans_product<double>(const Member&, const TransProduct<double>&, void*);
template std::size_t trans_scratch_bytes<float>(std::int64_t, int);
template std::size_t trans_scratch_bytes<double>(std::int64_t, int);

}  // namespace rnncore::cpu

namespace rnncore::backend {

std::uint64_t pack_epoch(Device) { return cpu::target_epoch(); }

void gemm(Device, const Gemm& g) { g.dtype == DType::float64 ? cpu::gemm_of<double>(g) : cpu::gemm_of<float>(g); }

PackedPtr pack_matrix(Device, DType dtype, bool trans_b, std::int64_t N, std::int64_t K, const void* b,
                      std::int64_t ldb) {
  return dtype == DType::float64 ? cpu::pack_plain<double>(trans_b, N, K, b, ldb)
                                 : cpu::pack_plain<float>(trans_b, N, K, b, ldb);
}

}  // namespace rnncore::backend
