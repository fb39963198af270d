// Blocking loops around the panel kernels (Goto & van de Geijn 2008). Depth blocks continue each element's chain from
// c, so the order of additions is the index order whatever the blocking, the number of threads or of rows.
#include "backend/cpu/gemm.h"

#include "backend/cpu/targets.h"

#include <cstring>

#include "backend/cpu/targets.h"

namespace rnncore::cpu {
namespace {

constexpr std::int64_t kRowDepth = 512;  // k's of a panel at a time: 512 * 16 floats = 32 KiB
constexpr std::int64_t kRowBlock = 96;   // rows of a that stay in L2 while all panels pass

// Splits a (rows x panels) grid among the team by rows or by panels, whichever leaves the largest share smaller, or by
// panels where `by_panels` asks for it and there are enough.
struct Split {
  Range rows, panels;
};
Split split(const Member& member, std::int64_t rows, std::int64_t panels, std::int64_t tile, bool by_panels) {
  const std::int64_t tiles = (rows + tile - 1) / tile;
  const std::int64_t most_by_rows = (tiles + member.size - 1) / member.size * panels;
  const std::int64_t most_by_panels = (panels + member.size - 1) / member.size * tiles;
  if (by_panels ? panels < member.size : most_by_rows <= most_by_panels) return {member.share(rows, tile), {0, panels}};
  return {{0, rows}, member.share(panels)};
}

}  // namespace

template <typename T>
void row_product(const Member& member, const RowProduct<T>& p) {
  const GemmTable<T>& table = gemm_table<T>();
  const PanelLayout& layout = p.b->layout();
  const std::int64_t full = layout.width / table.lanes;
  const Split mine =
      split(member, p.rows, layout.panels(), full == table.row_vectors ? table.row_tile : 4, p.by_panels);
  // K in steps: parts of one run, or whole runs.
  const std::int64_t step = p.blocks == 1 ? kRowDepth : std::max<std::int64_t>(1, kRowDepth / p.run);
  const std::int64_t steps_total = p.blocks == 1 ? p.run : p.blocks;
  // A block of rows: a part of one group, or some whole groups.
  const std::int64_t block_rows = std::max<std::int64_t>(1, std::min(kRowBlock, mine.rows.size()));
  const std::int64_t block_groups = kRowBlock / block_rows;
  const std::int64_t across = (mine.rows.size() + block_rows - 1) / block_rows;
  for (std::int64_t block = 0; block < across * p.groups; block += across == 1 ? block_groups : 1) {
    const std::int64_t row = mine.rows.begin + block % across * block_rows;
    const std::int64_t rows = std::min(block_rows, mine.rows.end - row);
    const std::int64_t group = block / across;
    const std::int64_t group_end = std::min(p.groups, group + (across == 1 ? block_groups : 1));
    std::int64_t at = 0;
    do {
      const std::int64_t count = std::min(step, steps_total - at);
      PanelArgs<T> args;
      args.a_row = p.a_row;
      args.a_block = p.a_block;
      args.blocks = p.blocks == 1 ? 1 : count;
      args.run = p.blocks == 1 ? count : p.run;
      const T* const a = p.a + row * p.a_row + (p.blocks == 1 ? at : at * p.a_block);
      args.c_row = p.c_row;
      args.rows = rows;
      args.start = at == 0 ? p.start : Start::c;
      const std::int64_t k0 = p.blocks == 1 ? at : at * p.run;
      for (std::int64_t panel = mine.panels.begin; panel < mine.panels.end; ++panel) {
        const std::int64_t width = layout.width_of(panel);
        args.b = p.b->template panel<T>(panel) + k0 * width;
        args.columns = std::min(width, p.columns - panel * layout.stride);
        args.bias = p.bias ? p.bias + panel * layout.stride : nullptr;
        for (std::int64_t g = group; g < group_end; ++g) {
          args.a = a + g * p.a_group;
          args.c = p.c + g * p.c_group + row * p.c_row + panel * layout.stride;
          table.row_panel[width / table.lanes](args);
        }
      }
      at += count;
    } while (at < steps_total);
  }
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
  const std::int64_t MR = table.row_tile;
  TransTiles tiles;
  for (std::int64_t row = 0; row < g.M; row += MR) {
    tiles.row.push_back(row);
    tiles.rows.push_back(std::min(MR, g.M - row));
    tiles.of.push_back(1);
    for (std::int64_t r = 0; r < MR; ++r) tiles.column.push_back(std::min(row + r, g.M - 1));
  }
  TransProduct<T> p;
  p.a = static_cast<const T*>(g.a);
  p.a_row = g.lda;
  p.a_columns = g.M;
  p.K = g.K;
  p.order.N = g.K;
  p.tiles = &tiles;
  TransColumns<T> columns;
  columns.b = static_cast<const T*>(g.b);
  columns.b_row = g.ldb;
  columns.N = g.N;
  columns.c = static_cast<T*>(g.c);
  columns.c_row = g.ldc;
  p.columns = {columns};
  p.accumulate = g.accumulate;
  const int threads = threads_for(static_cast<double>(g.M) * g.N * g.K);
  const Buffer scratch(trans_scratch_bytes<T>({g.N}, threads));
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
