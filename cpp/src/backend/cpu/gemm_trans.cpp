// Weight gradients: blocks of K rows of a and of b are copied to the panel kernels' layout, then every tile of a meets
// every panel of b. Depth blocks continue each element's chain, so the order of additions is the index order.
#include <cstring>

#include "backend/cpu/gemm.h"

namespace rnncore::cpu {
namespace {

constexpr std::int64_t kDepth = 480;  // rows copied at a time
constexpr std::int64_t kTiles = 12;   // tiles of a copied at a time: with a panel of b they fit L2
constexpr std::int64_t kMR = 6;       // GemmTable::row_tile on every target
constexpr std::int64_t kWide = 8;     // elements that a fast copy of a tile's row may write: more than it keeps

// A panel of some b.
struct Panel {
  std::size_t of;
  std::int64_t first, width;  // columns; width: padded to whole vectors
  std::int64_t copy;          // where its copy begins, in columns
};

std::int64_t padded(std::int64_t n, std::int64_t lanes) { return (n + lanes - 1) / lanes * lanes; }

template <typename T>
std::vector<Panel> panels_of(const TransProduct<T>& p, const GemmTable<T>& table) {
  std::vector<Panel> panels;
  std::int64_t at = 0;
  for (std::size_t j = 0; j < p.columns.size(); ++j)
    for (std::int64_t first = 0; first < p.columns[j].N; first += table.row_vectors * table.lanes) {
      const std::int64_t left = p.columns[j].N - first;
      panels.push_back({j, first, padded(std::min(left, table.row_vectors * table.lanes), table.lanes), at});
      at += panels.back().width;
    }
  return panels;
}

// The team as a grid over tiles and panels: of all shapes the one that copies least.
struct Grid {
  Range tiles, panels;
  bool first;  // of those that share these tiles
};
Grid share(const Member& m, std::int64_t tiles, std::int64_t panels, std::int64_t rows, std::int64_t columns) {
  int across = m.size;  // members along the tiles
  double least = 0;
  for (int a = m.size; a >= 1; --a) {
    if (m.size % a != 0) continue;
    const double copied = static_cast<double>(rows) / a + static_cast<double>(columns) * a / m.size;
    if (a == m.size || copied < least) {
      least = copied;
      across = a;
    }
  }
  const int down = m.size / across;
  return {part_of(tiles, m.rank % across, across), part_of(panels, m.rank / across, down), m.rank < across};
}

template <typename T>
void copy_panel(T* dst, const TransProduct<T>& p, const Panel& panel, std::int64_t k0, std::int64_t depth) {
  const TransColumns<T>& b = p.columns[panel.of];
  const std::int64_t valid = std::min(panel.width, b.N - panel.first);
  for (std::int64_t k = 0; k < depth; ++k, dst += panel.width) {
    const std::int64_t row = k0 + k + b.shift;
    const T* src = row >= 0 && row < p.K ? b.b + row * b.b_row
                   : !b.edge             ? nullptr
                                         : b.edge + (row < 0 ? k0 + k : row - p.K) * b.N;
    if (src)
      std::memcpy(dst, src + panel.first, static_cast<std::size_t>(valid) * sizeof(T));
    else
      std::memset(dst, 0, static_cast<std::size_t>(valid) * sizeof(T));
    for (std::int64_t j = valid; j < panel.width; ++j) dst[j] = T(0);
  }
}

// Tile t as [k][kMR]: from at most two runs of columns by copies that write past the row (what follows puts that
// right), else one by one. Columns beyond the tile's rows are never read.
template <typename T>
void copy_tile(T* dst, const TransProduct<T>& p, std::int64_t k0, std::int64_t depth, std::int64_t t) {
  const std::int64_t* const column = p.tiles->column.data() + t * kMR;
  std::int64_t first = 1, second = 0;  // lengths of the runs
  while (first < kMR && column[first] == column[0] + first) ++first;
  while (first + second < kMR && column[first + second] == column[first] + second) ++second;
  const std::int64_t begin[2] = {column[0], first < kMR ? column[first] : 0};
  const bool fast = first + second == kMR && std::max(begin[0], begin[1]) + kWide <= p.a_columns;
  const std::int64_t valid = p.tiles->rows[t];
  for (std::int64_t k = 0; k < depth;) {
    const RowParts::Run run = p.order.run(p.steps, k0 + k);
    const std::int64_t rows = std::min(run.rows, depth - k);
    const T* src = p.a + run.at * p.a_row;
    T* out = dst + k * kMR;
    k += rows;
    if (!fast) {
      for (std::int64_t i = 0; i < rows; ++i, src += p.a_row, out += kMR)
        for (std::int64_t r = 0; r < valid; ++r) out[r] = src[column[r]];
    } else if (second == 0) {
      for (std::int64_t i = 0; i < rows; ++i, src += p.a_row, out += kMR)
        std::memcpy(out, src + begin[0], kWide * sizeof(T));
    } else {
      for (std::int64_t i = 0; i < rows; ++i, src += p.a_row, out += kMR) {
        std::memcpy(out, src + begin[0], kWide * sizeof(T));
        std::memcpy(out + first, src + begin[1], kWide * sizeof(T));
      }
    }
  }
}

// Adds up the columns of COUNT copied tiles together, so that their chains overlap.
template <std::int64_t COUNT, typename T>
void add_columns(const TransProduct<T>& p, const T* copy, std::int64_t k0, std::int64_t depth, std::int64_t t) {
  T sum[COUNT * kMR] = {};
  const auto each = [&](auto&& visit) {
    for (std::int64_t i = 0; i < COUNT; ++i)
      for (const TransSums<T>& to : p.sums)
        if (to.out && (p.tiles->of[t + i] & to.of))
          for (std::int64_t r = 0; r < p.tiles->rows[t + i]; ++r)
            visit(to.out[p.tiles->row[t + i] + r], sum[i * kMR + r]);
  };
  if (k0 > 0 || p.accumulate) each([](const T& out, T& s) { s = out; });
  for (std::int64_t k = 0; k < depth; ++k)
    for (std::int64_t i = 0; i < COUNT; ++i)
      for (std::int64_t r = 0; r < kMR; ++r) sum[i * kMR + r] += copy[(i * depth + k) * kMR + r];
  each([](T& out, const T& s) { out = s; });
}

}  // namespace

template <typename T>
std::size_t trans_scratch_bytes(const std::vector<std::int64_t>& widths, int size) {
  std::int64_t columns = 0;
  for (const std::int64_t width : widths) columns += padded(width, gemm_table<T>().lanes);
  return static_cast<std::size_t>(size * (kDepth * (columns + kTiles * kMR) + 64)) * sizeof(T);
}

template <typename T>
void trans_product(const Member& member, const TransProduct<T>& p, void* scratch) {
  const GemmTable<T>& table = gemm_table<T>();
  const std::vector<Panel> panels = panels_of(p, table);
  const std::int64_t columns = panels.empty() ? 0 : panels.back().copy + panels.back().width;
  const TransTiles& tiles = *p.tiles;
  const Grid mine = share(member, tiles.size(), static_cast<std::int64_t>(panels.size()), tiles.size() * kMR, columns);
  T* const a_copy = static_cast<T*>(scratch) + member.rank * (kDepth * (columns + kTiles * kMR) + 64);
  T* const b_copy = a_copy + kDepth * kTiles * kMR + 64;
  std::int64_t k0 = 0;
  do {
    const std::int64_t depth = std::min(kDepth, p.K - k0);
    for (std::int64_t j = mine.panels.begin; j < mine.panels.end; ++j)
      copy_panel(b_copy + panels[j].copy * kDepth, p, panels[j], k0, depth);
    for (std::int64_t t0 = mine.tiles.begin; t0 < mine.tiles.end; t0 += kTiles) {
      const std::int64_t t1 = std::min(mine.tiles.end, t0 + kTiles);
      for (std::int64_t t = t0; t < t1; ++t) copy_tile(a_copy + (t - t0) * depth * kMR, p, k0, depth, t);
      if (!p.sums.empty() && mine.first) {
        std::int64_t t = t0;
        for (; t + 4 <= t1; t += 4) add_columns<4>(p, a_copy + (t - t0) * depth * kMR, k0, depth, t);
        for (; t < t1; ++t) add_columns<1>(p, a_copy + (t - t0) * depth * kMR, k0, depth, t);
      }
      PanelArgs<T> args;
      args.a_row = 1;
      args.a_k = kMR;
      args.run = depth;
      args.start = k0 == 0 && !p.accumulate ? Start::zero : Start::c;
      for (std::int64_t j = mine.panels.begin; j < mine.panels.end; ++j) {
        const Panel& panel = panels[j];
        const TransColumns<T>& to = p.columns[panel.of];
        args.b = b_copy + panel.copy * kDepth;
        args.columns = std::min(panel.width, to.N - panel.first);
        args.c_row = to.c_row;
        for (std::int64_t t = t0; t < t1; ++t) {
          if (!(tiles.of[t] >> panel.of & 1)) continue;
          args.a = a_copy + (t - t0) * depth * kMR;
          args.rows = tiles.rows[t];
          args.c = to.c + tiles.row[t] * to.c_row + panel.first;
          table.row_panel[panel.width / table.lanes](args);
        }
      }
    }
    k0 += depth;
  } while (k0 < p.K);
}

template std::size_t trans_scratch_bytes<float>(const std::vector<std::int64_t>&, int);
template std::size_t trans_scratch_bytes<double>(const std::vector<std::int64_t>&, int);
template void trans_product<float>(const Member&, const TransProduct<float>&, void*);
template void trans_product<double>(const Member&, const TransProduct<double>&, void*);

}  // namespace rnncore::cpu
