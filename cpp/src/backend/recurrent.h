// Recurrent layers on a device: one layer, one direction, a whole sequence; forward, and backward for all inputs.
// The caller owns every buffer and asks for their sizes first. Part of the seam (see backend.h).
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "rnncore/recurrent.hpp"

namespace rnncore::backend {

struct RecurrentGeometry {
  CellKind cell = CellKind::lstm;
  CellOptions options;
  DType dtype = DType::float32;
  std::int64_t T = 0, N = 0, I = 0, H = 0;
  bool reverse = false;   // from the last step to the first
  bool masked = false;    // lengths or a reset mask are given
  bool training = false;  // forward keeps what backward needs
  std::int64_t V = 0;     // > 0: token inputs out of a vocabulary of V (Tokens)
};

// Layouts of the weights; each depends on one weight tensor alone.
enum class RecurrentPack : std::uint8_t {
  input,
  recurrent,
  recurrent_second,
  input_back,
  recurrent_back,
  recurrent_back_second
};
// w: weight_ih (G*H, columns = I) or weight_hh (G*H, columns = H). Null for a second stage that the cell lacks.
PackedPtr pack_recurrent(Device device, RecurrentPack layout, const LayerSpec& layer, DType dtype, std::int64_t columns,
                         const void* w);
struct RecurrentWeights {
  PackedPtr input, recurrent, recurrent_second;                 // forward
  PackedPtr input_back, recurrent_back, recurrent_back_second;  // backward (input_back may be null: dx not wanted)
  const void* bias_ih = nullptr;                                // (G*H) or null
  const void* unit = nullptr;                                   // (unit_weights_of(layer), H) or null
  const void* bias_hh = nullptr;
};

// Working memory, in elements of the geometry's dtype (flags: bytes). With geometry.training it carries forward's
// results to backward and must stay untouched in between.
struct RecurrentSizes {
  std::int64_t gates = 0, c = 0, states = 0, p = 0, bias = 0, unit = 0, flags = 0, table = 0;
};
RecurrentSizes recurrent_sizes(Device device, const RecurrentGeometry& g);
struct RecurrentBuffers {
  void *gates = nullptr, *c = nullptr, *states = nullptr, *p = nullptr, *bias = nullptr, *unit = nullptr,
       *table = nullptr;
  std::uint8_t* flags = nullptr;
};

// Token inputs: x[t, n] = embedding[ids[t, n]]. The input product is then a table of V rows (embedding times W_ih) and
// its gradient a sum into that table by token: where V < T*N, most of the layer's input work disappears.
struct Tokens {
  const std::int64_t* ids = nullptr;  // (T, N), within [0, V); null: x is given instead
  const void* embedding = nullptr;    // (V, I)
};

struct RecurrentForward {
  RecurrentGeometry geometry;
  RecurrentWeights weights;
  RecurrentBuffers buffers;
  const void* x = nullptr;  // (T, N, I), or
  Tokens tokens;
  const void *h0 = nullptr, *c0 = nullptr;  // (N, H) or null: zeros
  const std::int64_t* lengths = nullptr;    // (N) or null
  const std::uint8_t* reset = nullptr;      // (T, N) or null
  void* y = nullptr;                        // (T, N, H)
  void *h_n = nullptr, *c_n = nullptr;      // (N, H)
  bool bias_ready = false;                  // buffers.bias and .unit were filled by an earlier call, same weights
  int threads = 0;                          // 0: as the work deserves
};
void recurrent_forward(Device device, const RecurrentForward& f);

struct RecurrentBackward {
  RecurrentGeometry geometry;
  RecurrentWeights weights;
  RecurrentBuffers buffers;  // as forward left them; gates are overwritten
  const void *x = nullptr, *y = nullptr, *h0 = nullptr;
  Tokens tokens;
  const void *dy = nullptr, *dh_n = nullptr, *dc_n = nullptr;  // any may be null: zero
  void *dx = nullptr, *dh0 = nullptr, *dc0 = nullptr;          // null: not wanted; dx (V, I) with tokens
  void *dw_ih = nullptr, *dw_hh = nullptr;                     // both or neither
  void *db_ih = nullptr, *db_hh = nullptr;                     // null without bias
  void* d_unit = nullptr;                                      // gradient of weights.unit; null: not wanted
};
void recurrent_backward(Device device, const RecurrentBackward& b);

}  // namespace rnncore::backend
