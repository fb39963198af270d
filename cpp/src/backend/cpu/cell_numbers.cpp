// Which kernel a cell with its options runs on, and its options as that kernel takes them.
#include "backend/cpu/recurrent_steps.h"

namespace rnncore::cpu {
namespace {

ActivationNumbers numbers_of(const ActivationSpec& given, Activation standard) {
  ActivationSpec a = resolved(given);
  if (a.kind == Activation::standard) a.kind = standard;
  return {static_cast<int>(a.kind), a.alpha, a.beta};
}

Activation standard_candidate(CellKind cell) {
  if (cell == CellKind::rnn_relu || cell == CellKind::indrnn) return Activation::relu;
  return cell == CellKind::rnn_sigmoid ? Activation::sigmoid : Activation::tanh;
}

}  // namespace

CellNumbers numbers_of(CellKind cell, const CellOptions& o) {
  CellNumbers n;
  n.gate = numbers_of(o.gate_activation, Activation::sigmoid);
  n.candidate = numbers_of(o.candidate_activation, standard_candidate(cell));
  n.hidden = numbers_of(o.hidden_activation, Activation::tanh);
  n.clip = o.clip;
  n.peephole = o.peephole;
  n.coupled = o.coupled;
  n.truncate_gates = o.truncate_gates;
  n.keep_h = o.leak < 1 ? 1 - o.leak : o.zoneout_h;
  n.keep_c = o.zoneout_c;
  return n;
}

Kernel kernel_of(CellKind cell, const CellOptions& o) {
  const bool plain = is_plain(o);
  switch (cell) {
    case CellKind::rnn:
    case CellKind::rnn_tanh:
      return plain ? Kernel::rnn_tanh : Kernel::elman_options;
    case CellKind::rnn_relu:
      return plain ? Kernel::rnn_relu : Kernel::elman_options;
    case CellKind::rnn_sigmoid:
      return plain ? Kernel::rnn_sigmoid : Kernel::elman_options;
    case CellKind::lstm:
      if (o.coupled || !o.forget_gate) return Kernel::lstm_options_no_forget;
      return plain ? Kernel::lstm : Kernel::lstm_options;
    case CellKind::gru:
      return plain ? Kernel::gru : Kernel::gru_options;
    case CellKind::gru_reset_before:
      return plain ? Kernel::gru_reset_before : Kernel::gru_reset_before_options;
    case CellKind::mgu:
      return Kernel::mgu;
    case CellKind::indrnn:
      return Kernel::indrnn;
  }
  return Kernel::lstm;
}

}  // namespace rnncore::cpu
