// Gradients of a recurrent layer's weights and biases: one pass over the gates' gradients of all T*N rows serves
// weight_ih, weight_hh and the weights of delays.
#pragma once

#include "backend/cpu/recurrent_norm_run.h"

namespace rnncore::cpu {

template <typename T>
class WeightGradients {
 public:
  // projected, dh: m (T, N, H) and the gradients of h (T, N, R), where h is a projection.
  WeightGradients(const backend::RecurrentBackward& b, const Layout<T>& l, const NormMemory<T>& norm, int threads,
                  const T* projected, const T* dh) {
    const bool apart = norm.kernels && !norm.joint();  // the recurrent products' gradients stand in rows of their own
    for (int slot = 0; slot < l.k.slots; ++slot)
      if (const std::uint32_t bits = bits_of(l, slot) & (apart ? kInput : ~0u)) add_tiles(l, slot, bits, tiles_);
    TransProduct<T>& p = all_;
    p.a = static_cast<const T*>(b.buffers.gates);
    p.a_row = p.a_columns = l.gates_row;
    p.K = l.T_ * l.N;
    p.order = l.rows;
    p.steps = l.T_;
    p.tiles = &tiles_;
    if (apart && norm.has_product()) {
      own_rows(l, l.k.recurrent_first, l.k.recurrent_count, norm.product(0, 0, nullptr), states_, state_tiles_);
      states_.columns.push_back(columns(nullptr, l.R, l.R, b.dw_hh, l.R));
      entering_states(b, l, states_.columns.back());
    }
    if (apart && l.k.stages == 2) {
      own_rows(l, l.k.second_first, l.k.second_count, norm.second(0, 0), second_, second_tiles_);
      second_.columns.push_back(columns(b.buffers.p, l.units, l.H, b.dw_hh, l.H));
    }
    if (b.db_ih && !norm.kernels) p.sums.push_back({static_cast<T*>(b.db_ih), kInput});
    if (b.db_hh && !norm.kernels) p.sums.push_back({static_cast<T*>(b.db_hh), kState | kSecond});
    const bool tokens = b.tokens.ids != nullptr;
    p.columns.push_back(columns(tokens ? nullptr : b.x, l.I, tokens ? 0 : l.I, b.dw_ih, l.I));
    p.columns.push_back(columns(nullptr, l.R, b.dw_hh && !apart ? l.R : 0, b.dw_hh, l.R));
    entering_states(b, l, p.columns.back());
    p.columns.push_back(columns(b.buffers.p, l.units, l.k.stages == 2 && !apart ? l.H : 0, b.dw_hh, l.H));
    for (std::size_t i = 0; i < l.delays.size(); ++i) {
      const T* const delayed = static_cast<const T*>(b.buffers.delayed) + static_cast<std::int64_t>(i) * p.K * l.R;
      p.columns.push_back(columns(delayed, l.R, l.R, b.dw_delay[i], l.R));
    }
    if (l.projected) {
      add_rows(l.R, projection_tiles_);
      projection_.a = dh;
      projection_.a_row = projection_.a_columns = l.R;
      projection_.K = projection_.order.N = l.T_ * l.N;
      projection_.tiles = &projection_tiles_;
      projection_.columns.push_back(columns(projected, l.H, l.H, b.dw_hr, l.H));
    }
    if (tokens) {  // x is the embedding, and the gates' gradients were summed by token
      for (int slot = l.k.input_first; slot < l.k.input_first + l.k.input_count; ++slot)
        add_tiles(l, slot, kInput, token_tiles_);
      by_token_.a = static_cast<const T*>(b.buffers.table);
      by_token_.a_row = by_token_.a_columns = l.gates_row;
      by_token_.K = by_token_.order.N = l.V;
      by_token_.tiles = &token_tiles_;
      by_token_.columns.push_back(columns(b.tokens.embedding, l.I, l.I, b.dw_ih, l.I));
    }
    std::size_t most = 0;
    for (const TransProduct<T>* product : {&all_, &by_token_, &states_, &second_, &projection_})
      most = std::max(most, bytes(*product, threads));
    scratch_ = Buffer(most);
  }
  WeightGradients(const WeightGradients&) = delete;
  WeightGradients& operator=(const WeightGradients&) = delete;

  void run(const Member& m) const {
    trans_product(m, all_, scratch_.data());
    for (const TransProduct<T>* more : {&by_token_, &states_, &second_, &projection_}) {
      if (!more->a) continue;
      m.barrier();  // the members' parts of the scratch lie elsewhere for a product of other widths
      trans_product(m, *more, scratch_.data());
    }
  }

 private:
  // Bits of TransTiles, by column group: x, the entering state, what the second stage multiplies, delayed states.
  static constexpr std::uint32_t kInput = 1, kState = 2, kSecond = 4, kFirstDelay = 8;

  static std::uint32_t bits_of(const Layout<T>& l, int slot) {
    const auto within = [slot](int first, int count) { return slot >= first && slot < first + count; };
    std::uint32_t bits = 0;
    if (within(l.k.input_first, l.k.input_count)) bits |= kInput | ((kFirstDelay << l.delays.size()) - kFirstDelay);
    if (within(l.k.recurrent_first, l.k.recurrent_count)) bits |= kState;
    if (l.k.stages == 2 && within(l.k.second_first, l.k.second_count)) bits |= kSecond;
    return bits;
  }

  // With layer normalisation the gradients of recurrent products stand in rows of their own: `count` slots, the first
  // of them number `first` of a row of gates.
  static void own_rows(const Layout<T>& l, int first, int count, const NormRows<T>& rows, TransProduct<T>& product,
                       TransTiles& tiles) {
    for (int slot = first; slot < first + count; ++slot) add_tiles(l, slot, kInput, tiles, count, slot - first);
    product.a = rows.at;
    product.a_row = product.a_columns = rows.row;
    product.K = l.T_ * l.N;
    product.order = l.rows;
    product.steps = l.T_;
    product.tiles = &tiles;
  }

  // A tile is a run of units of one gate; in the gates' rows it may lie across blocks.
  static void add_tiles(const Layout<T>& l, int slot, std::uint32_t bits, TransTiles& tiles, int row_slots = 0,
                        int row_slot = 0) {
    const std::int64_t tile = gemm_table<T>().row_tile;
    for (std::int64_t unit = 0; unit < l.H; unit += tile) {
      for (std::int64_t u = unit; u < unit + tile; ++u)
        tiles.column.push_back((u / l.k.block * (row_slots ? row_slots : l.k.slots) + (row_slots ? row_slot : slot)) *
                                   l.k.block +
                               u % l.k.block);
      tiles.row.push_back(l.k.gate[slot] * l.H + unit);
      tiles.rows.push_back(std::min(tile, l.H - unit));
      tiles.of.push_back(bits);
    }
  }

  // Tiles of a matrix whose columns are the result's rows.
  static void add_rows(std::int64_t rows, TransTiles& tiles) {
    const std::int64_t tile = gemm_table<T>().row_tile;
    for (std::int64_t row = 0; row < rows; row += tile) {
      for (std::int64_t r = row; r < row + tile; ++r) tiles.column.push_back(std::min(r, rows - 1));
      tiles.row.push_back(row);
      tiles.rows.push_back(std::min(tile, rows - row));
      tiles.of.push_back(1);
    }
  }

  static TransColumns<T> columns(const void* b, std::int64_t b_row, std::int64_t N, void* c, std::int64_t c_row) {
    TransColumns<T> made;
    made.b = static_cast<const T*>(b);
    made.b_row = b_row;
    made.N = N;
    made.c = static_cast<T*>(c);
    made.c_row = c_row;
    return made;
  }

  // With masks every step's entering state was kept, in the order of time, after the initial one; else the first step
  // processed met the initial state and every other step its neighbour's output.
  static void entering_states(const backend::RecurrentBackward& b, const Layout<T>& l, TransColumns<T>& to) {
    if (l.dropped) {
      to.b = static_cast<const T*>(b.buffers.entering);
    } else if (l.masked) {
      to.b = static_cast<const T*>(b.buffers.states) + l.N * l.R;
    } else {
      to.b = static_cast<const T*>(b.y);
      to.shift = l.reverse ? l.N : -l.N;
      to.edge = static_cast<const T*>(b.h0);
    }
  }

  static std::size_t bytes(const TransProduct<T>& p, int threads) {
    std::vector<std::int64_t> widths;
    for (const TransColumns<T>& c : p.columns) widths.push_back(c.N);
    return trans_scratch_bytes<T>(widths, threads);
  }

  TransTiles tiles_, token_tiles_, state_tiles_, second_tiles_, projection_tiles_;
  TransProduct<T> all_, by_token_, states_, second_, projection_;
  Buffer scratch_;
};

}  // namespace rnncore::cpu
