// Recurrent layers: the description of a stack (RecurrentSpec), its parameters, and its evaluation over whole
// sequences (`recurrent`) or step by step (`Stream`). Arrays are time-major and row-major: (T, N, features).
//
// Parameters, in PyTorch's names, order and layout, per layer k and direction (suffix "_reverse"):
//   weight_ih_l{k} (G*H, I_k)   weight_hh_l{k} (G*H, R)   bias_ih_l{k} (G*H)   bias_hh_l{k} (G*H)
//   weight_hr_l{k} (R, H) where the LSTM projects: R, the features of h, is proj_size; elsewhere R is H
//   weight_delay_l{k}_d{d} (G*H, R) for each delay d
//   h_0_l{k} (R)   c_0_l{k} (H) where initial states are learnt
// and per layer k >= 1 (O: features of a layer's output), after its directions:
//   weight_skip_l{k} (O_k, O_{k-1}) where residual or highway connections join different sizes
//   weight_highway_l{k} (O_k, O_{k-1})   bias_highway_l{k} (O_k)
//   weight_peephole_l{k} (P, H) where the LSTM has peepholes: P = 3, in the order i f o; without a forget gate i o
//   norm_weight_ih_l{k}, norm_weight_hh_l{k} (G*H), norm_weight_c_l{k}, norm_bias_c_l{k} (H) with layer normalisation:
//   no ih for Elman's cells, no hh for the IndRNN, c for the LSTM alone; the other shifts are bias_ih and bias_hh
//   weight_u_l{k} (H) instead of weight_hh and bias_hh where the cell is an IndRNN
// Gate order: LSTM i f g o (without a forget gate i g o), GRU r z n. Equations: src/cells/.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rnncore/cell.hpp"
#include "rnncore/random.hpp"
#include "rnncore/tensor.hpp"

namespace rnncore {

// What becomes of the outputs of two directions: both (2*R features), or their sum or mean (R).
enum class Merge : std::uint8_t { concat, sum, mean };
RNNCORE_EXPORT const char* name_of(Merge merge);
RNNCORE_EXPORT Merge merge_from_name(const std::string& name);

// How layer k >= 1 is joined to what lies below (x: the output of layer k-1; f: layer k, its directions merged):
//   none      y = f(x)
//   residual  y = f(x) + x
//   highway   y = t * f(x) + (1 - t) * x,  t = sigmoid(W x + b)     (Srivastava et al. 2015; Zilly et al. 2017)
//   dense     y = f([input, output of layer 0, ..., output of layer k-1])
// Where the sizes of x and f(x) differ, residual and highway add weight_skip x in place of x.
enum class Connection : std::uint8_t { none, residual, highway, dense };
RNNCORE_EXPORT const char* name_of(Connection connection);
RNNCORE_EXPORT Connection connection_from_name(const std::string& name);

struct RNNCORE_EXPORT RecurrentSpec {
  std::int64_t input_size = 0;
  std::vector<LayerSpec> layers;  // bottom first; each has its own size, cell and options
  bool bias = true;
  bool bidirectional = false;
  double dropout = 0.0;  // between layers, in training

  Merge merge = Merge::concat;
  Connection connection = Connection::none;
  bool reverse = false;  // one direction, from the last step to the first; outputs stay in the order of time
  bool learn_initial_state = false;  // parameters h_0, c_0: where no state is given, and at resets

  // In training alone. same_mask: one mask for all steps of a sequence, for input_dropout, dropout and output_dropout
  // (Gal & Ghahramani 2016).
  double input_dropout = 0.0, output_dropout = 0.0;  // on the stack's input and output
  bool same_mask = false;
  double weight_drop = 0.0;  // on weight_hh (DropConnect; Merity et al. 2018)

  std::int64_t directions() const { return bidirectional ? 2 : 1; }
  std::int64_t layer_input_size(std::int64_t layer) const;
  std::int64_t layer_output_size(std::int64_t layer) const;
  std::int64_t output_size() const;
  bool has_periods() const;      // any layer, or group of units in one, does not run at every step
  bool needs_generator() const;  // in training
  bool has_cell_state() const;   // any layer has c
  bool has_delays() const;       // any layer has past
};
RNNCORE_EXPORT void check(const RecurrentSpec& spec);  // ArgumentError on nonsense
// One line of JSON, as in model files; strict: unknown or missing keys are errors.
RNNCORE_EXPORT std::string to_json(const RecurrentSpec& spec);
RNNCORE_EXPORT RecurrentSpec recurrent_spec_from_json(const std::string& json);

struct ParameterInfo {
  std::string name;
  Shape shape;
  std::int64_t fan_hidden;                     // H: the default initialisation is U(-1/sqrt(H), 1/sqrt(H))
  std::optional<double> start = std::nullopt;  // or this value: 0 for initial states, -1 for bias_highway
};
// In PyTorch's order: per layer, per direction: weight_ih, weight_hh, bias_ih, bias_hh when spec.bias, weight_hr.
RNNCORE_EXPORT std::vector<ParameterInfo> parameters_of(const RecurrentSpec& spec);

// State: per state kind (h, then c) one tensor per (layer, direction), layer-major: h (N, R_layer), c (N, H_layer),
// where R is the layer's state_size(): H, or proj_size. c is undefined
// where the layer's cell has none, and empty where no layer has one. Given: undefined or an empty vector means zeros.
// past: where a layer has delays, (d_max - 1, N, R_layer): h of two steps ago, of three steps ago, ...
struct RecurrentState {
  std::vector<Tensor> h;
  std::vector<Tensor> c;
  std::vector<Tensor> past;
  Tensor clock;  // int64 (N): steps since the sequence began; where layers have periods
};

struct RecurrentInput {
  Tensor x;          // (T, N, I), or else
  Tensor ids;        // int64 (T, N) with
  Tensor embedding;  // (V, I): x[t, n] = embedding[ids[t, n]], at a fraction of the work where V < T*N
  RecurrentState state;
  Tensor lengths;     // int64 (N), 0 <= length <= T, or undefined: steps t >= length leave the state and output zeros
  Tensor reset_mask;  // uint8 (T, N) or undefined: nonzero at (t, n) = a new sequence starts there:
                      // the state before that step is the learnt initial state, else the one given (or zero)
  bool training = false;           // dropout acts
  Generator* generator = nullptr;  // needed when training with dropout > 0
};

struct RecurrentOutput {
  Tensor y;  // (T, N, spec.output_size())
  RecurrentState state;
};

// Differentiable in x (or embedding), the initial state and every parameter.
RNNCORE_EXPORT RecurrentOutput recurrent(const RecurrentSpec& spec, const std::vector<Tensor>& parameters,
                                         const RecurrentInput& input);

// Steps a stack one time step at a time for N parallel streams; the same bits as `recurrent`.
// Everything is allocated at construction: step() allocates nothing, locks nothing and starts no thread, unless
// use_threads(true) was called.
// Made for the instruction set in use then: after set_target() (tests, benchmarks) make the stream again.
class RNNCORE_EXPORT Stream {
 public:
  // parameters: as parameters_of(spec), all float32 or all float64, as they are now. Neither bidirectional nor reverse.
  Stream(const RecurrentSpec& spec, const std::vector<Tensor>& parameters, std::int64_t batch = 1);
  ~Stream();
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;

  std::int64_t batch() const;
  DType dtype() const;
  // in: (N, I), out: (N, spec.output_size()); element type must be the stream's dtype.
  void step(const float* in, float* out) noexcept;
  void step(const double* in, double* out) noexcept;
  // Tokens in place of features: x = embedding[id] with the embedding (V, I), copied here. The first layer's input
  // products of the tokens are kept from step to step (for a batch: where V is small). ids: (N), each within [0, V).
  void set_embedding(const Tensor& embedding);
  void step(const std::int64_t* ids, float* out) noexcept;
  void step(const std::int64_t* ids, double* out) noexcept;
  // At most get_num_threads() threads where the work of a step deserves them, instead of one. The bits stay the same.
  void use_threads(bool on);
  void reset() noexcept;                     // all streams to the initial state: learnt, or zero
  void reset(std::int64_t stream) noexcept;  // one stream
  RecurrentState state() const;
  void set_state(const RecurrentState& state);
  // The same as plain bytes, for snapshots in a program's own memory: nothing is allocated.
  std::size_t state_bytes() const noexcept;
  void save_state(void* out) const noexcept;
  void restore_state(const void* in) noexcept;  // of a stream of the same spec, dtype and batch
  // Of one of the N streams: the bytes of a Stream with a batch of one (state_bytes() / batch() of them), so that a
  // state can be handed to any number of streams. An index outside 0..N-1: nothing is done.
  void save_state(std::int64_t stream, void* out) const noexcept;
  void restore_state(std::int64_t stream, const void* in) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rnncore
