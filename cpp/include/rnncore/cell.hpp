// Recurrent cells: their kinds, the options that change a cell's equations, and what both decide (gates, states).
// Equations: src/cells/; the table of cells and options: docs/cells.md.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "rnncore/export.hpp"

namespace rnncore {

enum class CellKind : std::uint8_t { rnn_tanh, rnn_relu, rnn_sigmoid, lstm, gru, gru_reset_before, rnn, mgu, indrnn };

RNNCORE_EXPORT const char* name_of(CellKind cell);  // "rnn-tanh", "lstm", "gru-reset-before", ...
RNNCORE_EXPORT CellKind cell_from_name(const std::string& name);
RNNCORE_EXPORT std::int64_t states_of(CellKind cell);  // 1 (h) or 2 (h, c)

// Activation functions, with ONNX's parameters alpha and beta (src/cells/activation.h has the formulas).
// `standard` is the one that the cell's paper gives to the place.
enum class Activation : std::uint8_t {
  standard,
  sigmoid,
  tanh,
  relu,
  affine,
  leaky_relu,
  thresholded_relu,
  scaled_tanh,
  hard_sigmoid,
  hard_tanh,
  elu,
  softsign,
  softplus
};
RNNCORE_EXPORT const char* name_of(Activation activation);  // "hard-sigmoid", ...
RNNCORE_EXPORT Activation activation_from_name(const std::string& name);
RNNCORE_EXPORT std::vector<Activation> all_activations();  // but `standard`

struct ActivationSpec {
  static constexpr double kUsual = std::numeric_limits<double>::quiet_NaN();  // stands for the kind's default
  Activation kind = Activation::standard;
  double alpha = kUsual;  // affine 1, leaky-relu 0.01, thresholded-relu 1, scaled-tanh 1, hard-sigmoid 0.2, elu 1
  double beta = kUsual;   // affine 0, scaled-tanh 1, hard-sigmoid 0.5
};
// Whether a kind has the parameter, and its default.
RNNCORE_EXPORT bool has_alpha(Activation activation);
RNNCORE_EXPORT bool has_beta(Activation activation);
// With alpha and beta filled in.
RNNCORE_EXPORT ActivationSpec resolved(ActivationSpec activation);

// What a layer may change in its cell's equations. The default is the plain cell.
struct CellOptions {
  CellOptions() {}  // no aggregate: of lists of layers GCC 12 would say that group_periods may be uninitialised

  // Where activations act. LSTM: gates i f o; candidate g; hidden: on c_t. GRU: gates r z; candidate n.
  // Elman ("rnn"): candidate alone.
  ActivationSpec gate_activation, candidate_activation, hidden_activation;
  double clip = 0.0;  // > 0: what goes into gates and candidate is clipped to [-clip, clip] (ONNX)

  // All cells. In training each unit keeps its old state with these probabilities; in inference, that part of it.
  double zoneout_h = 0.0;
  double zoneout_c = 0.0;      // LSTM alone
  double state_dropout = 0.0;  // in training, of what enters recurrent products: one mask for all steps of a sequence
  bool layer_norm = false;     // of the products and of c, inside the step (Ba et al. 2016)
  double leak = 1.0;           // Elman: h_t = (1 - leak) h_{t-1} + leak f(...), 0 < leak <= 1

  // Clockwork groups (Koutnik et al. 2014): the units fall into as many groups of one size, in order; group i runs at
  // the steps t of a sequence with t mod group_periods[i] = 0 and keeps its state in between. Ascending; a group
  // receives the states of groups as slow as itself or slower, not of faster ones. Empty: no groups.
  std::vector<std::int64_t> group_periods = {};

  // LSTM alone.
  bool peephole = false;        // i and f see c_{t-1}, o sees c_t
  bool coupled = false;         // f = 1 - i: no forget gate of its own (ONNX: input_forget)
  bool forget_gate = true;      // false: f = 1, the cell of 1997
  bool truncate_gates = false;  // errors flow back in time through c alone (the gradient of 1997)
};

constexpr std::int64_t kLongestPeriod = 1 << 16;

struct LayerSpec {
  CellKind cell = CellKind::lstm;
  std::int64_t hidden_size = 0;
  CellOptions options = {};
  // Ascending, each at least 2: h_{t-d} enters beside x_t, with weights of its own.
  std::vector<std::int64_t> delays = {};
  std::int64_t period = 1;     // the layer runs at every period-th step of a sequence; in between its output is held
  std::int64_t proj_size = 0;  // LSTM: > 0: h_t is a projection of o * tanh(c_t) to so many features (Sak et al. 2014)

  std::int64_t state_size() const { return proj_size > 0 ? proj_size : hidden_size; }  // features of h; c has H
};
// ArgumentError where an option is out of range, does not belong to the cell or contradicts another.
RNNCORE_EXPORT void check(const LayerSpec& layer);
RNNCORE_EXPORT bool is_plain(const CellOptions& options);     // nothing differs from the default
RNNCORE_EXPORT bool draws_masks(const CellOptions& options);  // training needs random numbers

// G: the row blocks of weight_ih and weight_hh.
RNNCORE_EXPORT std::int64_t gates_of(CellKind cell);
RNNCORE_EXPORT std::int64_t gates_of(const LayerSpec& layer);     // the LSTM without a forget gate of its own has 3
RNNCORE_EXPORT std::string gate_letters(const LayerSpec& layer);  // in row order: "ifgo", "rzn", "h", ...
RNNCORE_EXPORT bool has_recurrent_product(CellKind cell);         // weight_hh: not the IndRNN
RNNCORE_EXPORT bool normalises_sum(CellKind cell);  // layer_norm acts on W_ih x + W_hh h (Elman), not on each apart
// Rows of the per-unit weights: peepholes, IndRNN's u.
RNNCORE_EXPORT std::int64_t unit_weights_of(CellKind cell, const CellOptions& options);

// One line of JSON with the options that differ from the default: {"clip": 3.0, "peephole": true}; {} for none.
RNNCORE_EXPORT std::string to_json(const CellOptions& options);
RNNCORE_EXPORT CellOptions cell_options_from_json(const std::string& json);  // strict: unknown keys are errors

}  // namespace rnncore
