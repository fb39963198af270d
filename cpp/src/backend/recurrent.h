// Recurrent layers on a device: one layer, one direction, a whole sequence; forward, and backward for all inputs.
// The caller owns every buffer and asks for their sizes first. Part of the seam (see backend.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "rnncore/recurrent.hpp"

namespace rnncore::backend {

struct RecurrentGeometry {
  CellKind cell = CellKind::lstm;
  CellOptions options;
  DType dtype = DType::float32;
  std::int64_t T = 0, N = 0, I = 0, H = 0;
  std::int64_t P = 0;                // > 0: h is a projection of the cell's output to P features
  bool reverse = false;              // from the last step to the first
  bool masked = false;               // lengths or a reset mask are given
  bool training = false;             // forward keeps what backward needs
  std::int64_t V = 0;                // > 0: token inputs out of a vocabulary of V (Tokens)
  std::vector<std::int64_t> delays;  // ascending, each at least 2: h_{t-d} enters the gates beside x_t
  bool own_reset = false;            // resets lead to h_reset and c_reset (and a past of zeros), not to h0, c0, past
  std::int64_t parts = 1;            // of the batch, which members of a team walk through time (recurrent_parts)
  bool dropped = false;              // what enters recurrent products is multiplied by Masks::drop
  std::int64_t past_steps() const { return delays.empty() ? 0 : delays.back() - 1; }
  std::int64_t R() const { return P > 0 ? P : H; }  // features of h
};

// Layouts of the weights; each depends on one weight tensor alone.
enum class RecurrentPack : std::uint8_t {
  input,
  recurrent,
  recurrent_second,
  input_back,
  recurrent_back,
  recurrent_back_second,
  delay,
  delay_back,
  projection,
  projection_back
};
// w: weight_ih (G*H, columns = I), weight_hh or weight_delay (G*H, columns = R), or weight_hr (R, columns = H). Null
// for a second stage that the cell lacks.
PackedPtr pack_recurrent(Device device, RecurrentPack layout, const LayerSpec& layer, DType dtype, std::int64_t columns,
                         const void* w);
struct RecurrentWeights {
  PackedPtr input, recurrent, recurrent_second;                 // forward
  PackedPtr input_back, recurrent_back, recurrent_back_second;  // backward (input_back may be null: dx not wanted)
  std::vector<PackedPtr> delay, delay_back;                     // one per delay
  PackedPtr projection, projection_back;                        // where h is a projection
  const void* bias_ih = nullptr;                                // (G*H) or null
  const void* unit = nullptr;                                   // (unit_weights_of(layer), H) or null
  const void* bias_hh = nullptr;
  const void *norm_ih = nullptr, *norm_hh = nullptr;     // (G*H): scales of layer normalisation, or null
  const void *norm_c = nullptr, *norm_bias_c = nullptr;  // (H): scale and shift of c's
};

// Working memory, in elements of the geometry's dtype (flags: bytes). With geometry.training it carries forward's
// results to backward and must stay untouched in between.
struct RecurrentSizes {
  std::int64_t gates = 0, c = 0, states = 0, p = 0, bias = 0, unit = 0, flags = 0, table = 0;
  std::int64_t delayed = 0, c_reset = 0, ages = 0, past_source = 0;  // the last two: int64
  std::int64_t entering = 0, norm = 0, projected = 0;
};
// The parts that serve this geometry best with the threads of now; forward and backward must use the same.
std::int64_t recurrent_parts(Device device, const RecurrentGeometry& g);
RecurrentSizes recurrent_sizes(Device device, const RecurrentGeometry& g);
struct RecurrentBuffers {
  void *gates = nullptr, *c = nullptr, *states = nullptr, *p = nullptr, *bias = nullptr, *unit = nullptr,
       *table = nullptr, *delayed = nullptr, *c_reset = nullptr, *entering = nullptr, *norm = nullptr,
       *projected = nullptr;
  std::int64_t* ages = nullptr;
  std::int64_t* past_source = nullptr;  // (past_steps, N): what past_n was copied from
  std::uint8_t* flags = nullptr;
};

// Token inputs: x[t, n] = embedding[ids[t, n]]. The input product is then a table of V rows (embedding times W_ih) and
// its gradient a sum into that table by token: where V < T*N, most of the layer's input work disappears.
struct Tokens {
  const std::int64_t* ids = nullptr;  // (T, N), within [0, V); null: x is given instead
  const void* embedding = nullptr;    // (V, I)
};

// Drawn by the caller, the same for forward and backward; each may be null.
struct Masks {
  const void *zone_h = nullptr, *zone_c = nullptr;  // (T, N, R or H): 0 where a unit keeps its old state (zoneout)
  const void* drop = nullptr;                       // (N, R): factors of what enters recurrent products, at every step
};

// Values of past_source, beside rows of y (t * N + n).
constexpr std::int64_t kFromNothing = -1, kFromReset = -2;  // zeros; row n of h_reset
constexpr std::int64_t kFromStart = -2;  // kFromStart - number: row n of h_{-number}, h0 for number 1, else past

// What a layer runs on, for reports.
struct RecurrentKernel {
  std::string name;
  std::int64_t units = 0;  // padded to whole blocks
  int input_slots = 0, recurrent_slots = 0;
  int activations = 0;         // for each unit and step
  int saved = 0;               // values for each unit and step that training keeps
  std::int64_t projected = 0;  // features of h, padded, where it is a projection
};
RecurrentKernel recurrent_kernel(Device device, const LayerSpec& layer, DType dtype);

struct RecurrentForward {
  RecurrentGeometry geometry;
  RecurrentWeights weights;
  RecurrentBuffers buffers;
  const void* x = nullptr;  // (T, N, I), or
  Tokens tokens;
  const void *h0 = nullptr, *c0 = nullptr;            // (N, R), (N, H) or null: zeros
  const void* past = nullptr;                         // (past_steps, N, R): h_{-2}, h_{-3}, ... or null: zeros
  std::int64_t past_first = 0;                        // where h_{-2} stands in past; the others follow, around its end
  const void *h_reset = nullptr, *c_reset = nullptr;  // (N, R), (N, H) or null: zeros; with own_reset
  Masks masks;
  const std::int64_t* lengths = nullptr;  // (N) or null
  const std::uint8_t* reset = nullptr;    // (T, N) or null
  void* y = nullptr;                      // (T, N, R)
  void *h_n = nullptr, *c_n = nullptr;    // (N, R), (N, H)
  void* past_n = nullptr;                 // (past_steps, N, R) or null: not wanted
  bool bias_ready = false;                // buffers.bias and .unit were filled by an earlier call, same weights
  bool table_ready = false;               // and buffers.table
  int threads = 0;                        // 0: as the work deserves
};
void recurrent_forward(Device device, const RecurrentForward& f);
// What forward kept of the gates, after their functions: (T, N, G*H) in the order of weight_ih's rows. Of a geometry
// with training and without layer normalisation; before backward.
void recurrent_gates(Device device, const RecurrentGeometry& g, const RecurrentBuffers& buffers, void* out);

struct RecurrentBackward {
  RecurrentGeometry geometry;
  RecurrentWeights weights;
  RecurrentBuffers buffers;  // as forward left them; gates are overwritten
  const void *x = nullptr, *y = nullptr, *h0 = nullptr;
  Tokens tokens;
  Masks masks;
  const void *dy = nullptr, *dh_n = nullptr, *dc_n = nullptr;  // any may be null: zero
  void *dx = nullptr, *dh0 = nullptr, *dc0 = nullptr;          // null: not wanted; dx (V, I) with tokens
  void *dpast = nullptr, *dh_reset = nullptr, *dc_reset = nullptr;
  void *dw_ih = nullptr, *dw_hh = nullptr;  // both or neither
  void *db_ih = nullptr, *db_hh = nullptr;  // null without bias
  void* d_unit = nullptr;                   // gradient of weights.unit; null: not wanted
  void *d_norm_ih = nullptr, *d_norm_hh = nullptr, *d_norm_c = nullptr, *d_norm_bias_c = nullptr;
  std::vector<void*> dw_delay;  // with dw_hh, one per delay
  void* dw_hr = nullptr;        // with dw_hh, where h is a projection
};
void recurrent_backward(Device device, const RecurrentBackward& b);

// A stack that steps one row at a time, forward: what Stream runs when its batch is one. Everything is decided when it
// is made; step() is the cells' work and nothing else.
class RowStack {
 public:
  struct Layer {
    LayerSpec spec;
    std::int64_t I = 0;
    PackedPtr input, recurrent;                         // RecurrentPack::delay of weight_ih, ::recurrent of weight_hh
    PackedPtr projection;                               // of weight_hr, or null
    const void *bias_ih = nullptr, *bias_hh = nullptr;  // or null; copied
  };
  virtual ~RowStack() = default;
  virtual void step(const void* x, void* y) noexcept = 0;  // x (I of the first layer), y (R of the last one)
  // Whether a step may be shared by a team, where reading the weights takes long enough; at first: no.
  virtual void use_threads(bool on) = 0;
  // x = embedding[token] instead: (V, I), which must live on. A token's product with the first layer's weights is kept
  // when it is first made.
  virtual void set_embedding(std::int64_t V, const void* embedding) = 0;
  virtual void step_token(std::int64_t token, void* y) noexcept = 0;
  // The state that enters the next step: R and H values; c is null for a cell without one. At first: zeros.
  virtual void get_state(std::size_t layer, void* h, void* c) const noexcept = 0;
  virtual void set_state(std::size_t layer, const void* h, const void* c) noexcept = 0;
};
// Not with delays, options of the cell or two products a step.
bool row_stack_serves(Device device, DType dtype, const LayerSpec& layer);
std::unique_ptr<RowStack> make_row_stack(Device device, DType dtype, const std::vector<RowStack::Layer>& layers);

}  // namespace rnncore::backend
