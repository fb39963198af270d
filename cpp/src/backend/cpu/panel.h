// The panel kernel's contract: a tall strip of C times one packed panel. Every product of the engine runs here.
#pragma once

#include <cstdint>

namespace rnncore::cpu {

enum class Start : std::uint8_t { zero, bias, c };  // what each element's chain of multiply-adds starts from

// c (rows, width) = start + sum over k of a[r, k] * b[k, :]
// a's element (r, k): a[r * a_row + ...k]; K is `blocks` runs of `run` elements, `a_block` apart, elements a_k apart.
template <typename T>
struct PanelArgs {
  const T* a = nullptr;
  std::int64_t a_row = 0, a_k = 1, a_block = 0;
  std::int64_t blocks = 1, run = 0;
  const T* b = nullptr;
  T* c = nullptr;
  std::int64_t c_row = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;  // valid columns of c in this panel: fewer than the panel's width at a ragged edge
  const T* bias = nullptr;   // the panel's part
  Start start = Start::zero;
};

// Rows cut into as few tiles of at most `most` as can be, all about as high: a tile of one or two rows has too few
// chains of additions to keep the multipliers busy.
constexpr std::int64_t even_height(std::int64_t rows, std::int64_t most) {
  const std::int64_t tiles = rows > most ? (rows + most - 1) / most : 1;
  return rows > 0 ? (rows + tiles - 1) / tiles : most;
}

template <typename T>
using PanelFunction = void (*)(const PanelArgs<T>&);

// What the blocking loops need to know of an instruction set.
template <typename T>
struct GemmTable {
  std::int64_t lanes;
  std::int64_t row_vectors;       // vectors in a full panel
  std::int64_t row_tile;          // rows of its register tile
  PanelFunction<T> row_panel[5];  // by number of vectors in the panel
};

template <typename T>
const GemmTable<T>& gemm_table();  // of the active target

}  // namespace rnncore::cpu
