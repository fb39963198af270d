// What the kinds of cells and their options are called, and what may go with what.
#include "rnncore/cell.hpp"

#include <array>
#include <cmath>
#include <cstring>

#include "rnncore/error.hpp"

namespace rnncore {
namespace {

enum class Family : std::uint8_t { elman, lstm, gru, indrnn };

struct CellFacts {
  CellKind kind;
  const char* name;
  Family family;
  std::int64_t states;
  const char* gates;
};
constexpr std::array<CellFacts, 9> kCells = {{
    {CellKind::rnn_tanh, "rnn-tanh", Family::elman, 1, "h"},
    {CellKind::rnn_relu, "rnn-relu", Family::elman, 1, "h"},
    {CellKind::rnn_sigmoid, "rnn-sigmoid", Family::elman, 1, "h"},
    {CellKind::lstm, "lstm", Family::lstm, 2, "ifgo"},
    {CellKind::gru, "gru", Family::gru, 1, "rzn"},
    {CellKind::gru_reset_before, "gru-reset-before", Family::gru, 1, "rzn"},
    {CellKind::rnn, "rnn", Family::elman, 1, "h"},
    {CellKind::mgu, "mgu", Family::gru, 1, "fn"},
    {CellKind::indrnn, "indrnn", Family::indrnn, 1, "h"},
}};

const CellFacts& facts(CellKind cell) { return kCells[static_cast<std::size_t>(cell)]; }

struct ActivationFacts {
  Activation kind;
  const char* name;
  double alpha, beta;  // defaults; NaN: the kind has none
};
constexpr double kNone = ActivationSpec::kUsual;
constexpr std::array<ActivationFacts, 13> kActivations = {{
    {Activation::standard, "standard", kNone, kNone},
    {Activation::sigmoid, "sigmoid", kNone, kNone},
    {Activation::tanh, "tanh", kNone, kNone},
    {Activation::relu, "relu", kNone, kNone},
    {Activation::affine, "affine", 1, 0},
    {Activation::leaky_relu, "leaky-relu", 0.01, kNone},
    {Activation::thresholded_relu, "thresholded-relu", 1, kNone},
    {Activation::scaled_tanh, "scaled-tanh", 1, 1},
    {Activation::hard_sigmoid, "hard-sigmoid", 0.2, 0.5},
    {Activation::hard_tanh, "hard-tanh", kNone, kNone},
    {Activation::elu, "elu", 1, kNone},
    {Activation::softsign, "softsign", kNone, kNone},
    {Activation::softplus, "softplus", kNone, kNone},
}};

const ActivationFacts& facts(Activation a) { return kActivations[static_cast<std::size_t>(a)]; }

template <class Table>
auto kind_from_name(const Table& table, const char* argument, const std::string& name) {
  std::string known;
  for (const auto& f : table) {
    if (name == f.name) return f.kind;
    known += (known.empty() ? "" : ", ") + std::string(f.name);
  }
  throw_argument("recurrent", argument, "one of " + known, "'" + name + "'");
}

bool is_standard(const ActivationSpec& a) { return a.kind == Activation::standard; }

std::string shown(bool value) { return value ? "true" : "false"; }
std::string shown(double value) { return std::to_string(value); }
std::string shown(std::int64_t value) { return std::to_string(value); }
std::string shown(const ActivationSpec& a) { return std::string("'") + facts(a.kind).name + "'"; }

template <class Value>
void refuse(CellKind cell, const char* option, const Value& value, const char* hint) {
  throw_argument("recurrent", option, std::string("its default for the cell '") + name_of(cell) + "'", shown(value),
                 hint);
}

void check_activation(const char* argument, const ActivationSpec& a) {
  const ActivationFacts& f = facts(a.kind);
  const auto parameter = [&](const char* name, double value, double usual, double least) {
    if (std::isnan(value)) return;
    const std::string what = std::string(argument) + "." + name;
    if (std::isnan(usual))
      throw_argument("recurrent", what, std::string("none for '") + f.name + "'", std::to_string(value));
    if (!std::isfinite(value) || value < least)
      throw_argument("recurrent", what, least == 0 ? "at least 0" : "a finite number", std::to_string(value));
  };
  // Their derivative is told from their value, which a negative slope would leave open.
  const bool from_sign = a.kind == Activation::leaky_relu || a.kind == Activation::elu;
  parameter("alpha", a.alpha, f.alpha, from_sign ? 0 : -std::numeric_limits<double>::infinity());
  parameter("beta", a.beta, f.beta, -std::numeric_limits<double>::infinity());
  if (a.kind == Activation::scaled_tanh && a.alpha == 0)
    throw_argument("recurrent", std::string(argument) + ".alpha", "a number other than 0", "0");
}

void check_lstm(const CellOptions& o) {
  if (o.coupled && !o.forget_gate)
    throw_argument("recurrent", "coupled", "false where forget_gate is false", "true",
                   "f is either 1 - i or 1, not both");
}

void check_groups(const LayerSpec& layer) {
  const CellOptions& o = layer.options;
  if (o.group_periods.empty()) return;
  constexpr std::size_t kMost = 64;
  const std::size_t count = o.group_periods.size();
  std::string got;
  bool right = count <= kMost;
  for (std::size_t i = 0; i < count; ++i) {
    got += (i > 0 ? ", " : "") + std::to_string(o.group_periods[i]);
    right = right && o.group_periods[i] >= 1 && o.group_periods[i] <= kLongestPeriod &&
            (i == 0 || o.group_periods[i] > o.group_periods[i - 1]);
  }
  if (!right)
    throw_argument("recurrent", "group_periods",
                   "at most " + std::to_string(kMost) + " numbers of steps, ascending, from 1 to " +
                       std::to_string(kLongestPeriod),
                   "[" + got + "]", "one for each group of units, the fastest first");
  if (layer.hidden_size % static_cast<std::int64_t>(count) != 0)
    throw_argument("recurrent", "hidden_size", "a multiple of the " + std::to_string(count) + " groups",
                   std::to_string(layer.hidden_size), "all groups of group_periods have one size");
  const auto alone = [](const char* option, const std::string& value, const char* hint) {
    throw_argument("recurrent", option, "its default with group_periods", value, hint);
  };
  if (layer.proj_size > 0) alone("proj_size", std::to_string(layer.proj_size), "h has no units of its own then");
  if (o.layer_norm) alone("layer_norm", "true", "its statistics would cover units that do not run");
  const char* keep = "both say which units keep their state";
  if (o.zoneout_h > 0.0) alone("zoneout_h", shown(o.zoneout_h), keep);
  if (o.zoneout_c > 0.0) alone("zoneout_c", shown(o.zoneout_c), keep);
  if (o.leak < 1.0) alone("leak", shown(o.leak), keep);
  if (layer.period > 1)
    alone("period", std::to_string(layer.period), "multiply every group's period by the layer's instead");
}

}  // namespace

const char* name_of(CellKind cell) { return facts(cell).name; }
CellKind cell_from_name(const std::string& name) { return kind_from_name(kCells, "cell", name); }
std::int64_t states_of(CellKind cell) { return facts(cell).states; }
std::int64_t gates_of(CellKind cell) { return static_cast<std::int64_t>(std::string(facts(cell).gates).size()); }

const char* name_of(Activation activation) { return facts(activation).name; }
Activation activation_from_name(const std::string& name) { return kind_from_name(kActivations, "activation", name); }
std::vector<Activation> all_activations() {
  std::vector<Activation> all;
  for (const ActivationFacts& f : kActivations)
    if (f.kind != Activation::standard) all.push_back(f.kind);
  return all;
}
bool has_alpha(Activation activation) { return !std::isnan(facts(activation).alpha); }
bool has_beta(Activation activation) { return !std::isnan(facts(activation).beta); }

ActivationSpec resolved(ActivationSpec a) {
  if (std::isnan(a.alpha)) a.alpha = has_alpha(a.kind) ? facts(a.kind).alpha : 0;
  if (std::isnan(a.beta)) a.beta = has_beta(a.kind) ? facts(a.kind).beta : 0;
  return a;
}

namespace {
const char* letters_of(CellKind cell, const CellOptions& o) {
  return cell == CellKind::lstm && (o.coupled || !o.forget_gate) ? "igo" : facts(cell).gates;
}
}  // namespace

std::string gate_letters(const LayerSpec& layer) { return letters_of(layer.cell, layer.options); }
std::int64_t gates_of(const LayerSpec& layer) { return static_cast<std::int64_t>(gate_letters(layer).size()); }
bool has_recurrent_product(CellKind cell) { return cell != CellKind::indrnn; }
bool normalises_sum(CellKind cell) { return facts(cell).family == Family::elman; }
std::int64_t unit_weights_of(CellKind cell, const CellOptions& options) {
  if (cell == CellKind::indrnn) return 1;
  if (!options.peephole) return 0;
  return static_cast<std::int64_t>(std::strlen(letters_of(cell, options))) - 1;  // one for each gate but the candidate
}

bool draws_masks(const CellOptions& o) { return o.zoneout_h > 0.0 || o.zoneout_c > 0.0 || o.state_dropout > 0.0; }

bool is_plain(const CellOptions& o) {
  return is_standard(o.gate_activation) && is_standard(o.candidate_activation) && is_standard(o.hidden_activation) &&
         o.clip == 0.0 && o.zoneout_h == 0.0 && o.zoneout_c == 0.0 && o.state_dropout == 0.0 && o.leak == 1.0 &&
         !o.layer_norm && o.group_periods.empty() && !o.peephole && !o.coupled && o.forget_gate && !o.truncate_gates;
}

void check(const LayerSpec& layer) {
  if (layer.hidden_size < 1)
    throw_argument("recurrent", "hidden_size", "at least 1", std::to_string(layer.hidden_size));
  if (layer.proj_size != 0) {
    if (facts(layer.cell).family != Family::lstm)
      refuse(layer.cell, "proj_size", layer.proj_size, "only the LSTM has a projection");
    if (layer.proj_size < 0 || layer.proj_size >= layer.hidden_size)
      throw_argument("recurrent", "proj_size",
                     "0 (none) or less than hidden_size = " + std::to_string(layer.hidden_size),
                     std::to_string(layer.proj_size));
  }
  const CellOptions& o = layer.options;
  if (!(o.clip >= 0.0) || !std::isfinite(o.clip))
    throw_argument("recurrent", "clip", "0 (none) or a positive number", std::to_string(o.clip));
  check_activation("activations.gate", o.gate_activation);
  check_activation("activations.candidate", o.candidate_activation);
  check_activation("activations.hidden", o.hidden_activation);
  const auto probability = [](const char* name, double p) {
    if (!(p >= 0.0 && p < 1.0)) throw_argument("recurrent", name, "a probability in [0, 1)", std::to_string(p));
  };
  probability("zoneout_h", o.zoneout_h);
  probability("zoneout_c", o.zoneout_c);
  probability("state_dropout", o.state_dropout);
  if (!(o.leak > 0.0 && o.leak <= 1.0))
    throw_argument("recurrent", "leak", "a number in (0, 1]", std::to_string(o.leak));
  if (o.leak < 1.0 && o.zoneout_h > 0.0)
    throw_argument("recurrent", "zoneout_h", "0 for leaky units", std::to_string(o.zoneout_h),
                   "both say how much of the old state stays");
  const Family family = facts(layer.cell).family;
  if (family == Family::indrnn && o.state_dropout > 0.0)
    refuse(layer.cell, "state_dropout", o.state_dropout, "it has no recurrent product");
  if (family != Family::elman && o.leak < 1.0) refuse(layer.cell, "leak", o.leak, "leaky units are Elman's");
  if (o.layer_norm && !layer.delays.empty()) throw_argument("recurrent", "delays", "none with layer_norm", "some");
  check_groups(layer);
  if (o.truncate_gates && !layer.delays.empty())
    throw_argument("recurrent", "delays", "none with truncate_gates", "some",
                   "errors through delayed states would not be truncated");
  if (family != Family::lstm) {
    if (o.peephole) refuse(layer.cell, "peephole", o.peephole, "only the LSTM has peepholes");
    if (o.coupled) refuse(layer.cell, "coupled", o.coupled, "only the LSTM has an input and a forget gate");
    if (!o.forget_gate) refuse(layer.cell, "forget_gate", o.forget_gate, "only the LSTM has a forget gate");
    if (o.truncate_gates)
      refuse(layer.cell, "truncate_gates", o.truncate_gates, "only the LSTM has a memory cell for errors to stay in");
    if (o.zoneout_c > 0.0) refuse(layer.cell, "zoneout_c", o.zoneout_c, "only the LSTM has a second state");
    if (!is_standard(o.hidden_activation))
      refuse(layer.cell, "activations.hidden", o.hidden_activation, "only the LSTM has one");
  }
  if ((family == Family::elman || family == Family::indrnn) && !is_standard(o.gate_activation))
    refuse(layer.cell, "activations.gate", o.gate_activation,
           "the cell has no gates; its activation is the candidate's");
  if (family == Family::elman && layer.cell != CellKind::rnn && !is_standard(o.candidate_activation))
    refuse(layer.cell, "activations.candidate", o.candidate_activation, "the cell's name fixes it; use the cell 'rnn'");
  if (family == Family::lstm) check_lstm(o);
}

}  // namespace rnncore
