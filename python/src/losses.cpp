// Losses of real values, CTC loss and decoding (rnncore/ops.hpp).
#include "bindings.h"

namespace rnncore::python {
namespace {

using T = const Tensor&;

// Targets: numbers of the input's dtype; another tensor as it is, so that the engine says what is wrong with it.
Tensor as_values(T input, const py::object& target) {
  if (py::isinstance<Tensor>(target)) return target.cast<Tensor>();
  return to_tensor(target, input.dtype());
}

// Anything that NumPy can compare with 0, as uint8.
Tensor as_mask(const py::object& mask) {
  if (mask.is_none()) return {};
  const py::object array = py::isinstance<Tensor>(mask) ? py::object(numpy_view(mask.cast<const Tensor&>())) : mask;
  const py::object truth = py::module_::import("numpy").attr("not_equal")(array, 0);
  return to_tensor(truth.attr("astype")("uint8"));
}

ValueLossOptions value_options(const std::string& reduction, const py::object& mask) {
  ValueLossOptions options;
  options.reduction = reduction_from_name(reduction);
  options.mask = as_mask(mask);
  return options;
}

void bind_value_losses(py::module_& m) {
  using Loss = Tensor (*)(T, T, const ValueLossOptions&);
  const std::pair<const char*, Loss> losses[] = {
      {"mse_loss", &mse_loss},
      {"l1_loss", &l1_loss},
      {"binary_cross_entropy_with_logits", &binary_cross_entropy_with_logits}};
  for (const auto& [name, loss] : losses)
    m.def(
        name,
        [loss = loss](T input, const py::object& target, const std::string& reduction, const py::object& mask) {
          const Tensor y = as_values(input, target);
          const ValueLossOptions options = value_options(reduction, mask);
          return without_gil([&] { return loss(input, y, options); });
        },
        py::arg("input"), py::arg("target"), py::arg("reduction") = "mean", py::arg("mask") = py::none());
  m.def(
      "quantile_loss",
      [](T input, const py::object& target, const std::vector<double>& quantiles, const std::string& reduction,
         const py::object& mask) {
        const Tensor y = as_values(input, target);
        const ValueLossOptions options = value_options(reduction, mask);
        return without_gil([&] { return quantile_loss(input, y, quantiles, options); });
      },
      py::arg("input"), py::arg("target"), py::arg("quantiles"), py::arg("reduction") = "mean",
      py::arg("mask") = py::none());
}

py::tuple to_tuple(const CtcHypothesis& h) { return py::make_tuple(h.labels, h.log_prob); }

void bind_ctc(py::module_& m) {
  m.def(
      "ctc_loss",
      [](T log_probs, const py::object& targets, const py::object& input_lengths, const py::object& target_lengths,
         std::int64_t blank, const std::string& reduction, bool zero_infinity) {
        CtcOptions options;
        options.blank = blank;
        options.reduction = reduction_from_name(reduction);
        options.zero_infinity = zero_infinity;
        const Tensor labels = as_ids("ctc_loss", "targets", targets);
        const Tensor frames = as_ids("ctc_loss", "input_lengths", input_lengths);
        const Tensor lengths = as_ids("ctc_loss", "target_lengths", target_lengths);
        return without_gil([&] { return ctc_loss(log_probs, labels, frames, lengths, options); });
      },
      py::arg("log_probs"), py::arg("targets"), py::arg("input_lengths"), py::arg("target_lengths"),
      py::arg("blank") = 0, py::arg("reduction") = "mean", py::arg("zero_infinity") = false);
  m.def(
      "ctc_greedy_search",
      [](T log_probs, const py::object& input_lengths, std::int64_t blank) {
        const Tensor frames = as_ids("ctc_greedy_search", "input_lengths", input_lengths);
        const auto found = without_gil([&] { return ctc_greedy_search(log_probs, frames, blank); });
        py::list result;
        for (const CtcHypothesis& h : found) result.append(to_tuple(h));
        return result;
      },
      py::arg("log_probs"), py::arg("input_lengths"), py::arg("blank") = 0,
      "Per sequence (labels, log-probability of the best path).");
  m.def(
      "ctc_beam_search",
      [](T log_probs, const py::object& input_lengths, std::int64_t beam, std::int64_t top, std::int64_t blank) {
        const Tensor frames = as_ids("ctc_beam_search", "input_lengths", input_lengths);
        const auto found = without_gil([&] { return ctc_beam_search(log_probs, frames, beam, top, blank); });
        py::list result;
        for (const auto& hypotheses : found) {
          py::list each;
          for (const CtcHypothesis& h : hypotheses) each.append(to_tuple(h));
          result.append(each);
        }
        return result;
      },
      py::arg("log_probs"), py::arg("input_lengths"), py::arg("beam") = 16, py::arg("top") = 1, py::arg("blank") = 0,
      "Per sequence a list of (labels, log-probability), best first.");
}

void bind_crf(py::module_& m) {
  const auto ids = [](const char* argument, const py::object& value) {
    return value.is_none() ? Tensor() : as_ids("crf", argument, value);
  };
  m.def(
      "crf_loss",
      [ids](T emissions, const py::object& targets, T transitions, T start, T end, const py::object& lengths) {
        const Tensor tags = ids("targets", targets), steps = ids("lengths", lengths);
        return without_gil([&] { return crf_loss(emissions, {transitions, start, end}, tags, steps); });
      },
      py::arg("emissions"), py::arg("targets"), py::arg("transitions"), py::arg("start"), py::arg("end"),
      py::arg("lengths") = py::none(), "log Z - score of the targets (T, N), for each sequence.");
  m.def(
      "crf_decode",
      [ids](T emissions, T transitions, T start, T end, const py::object& lengths) {
        const Tensor steps = ids("lengths", lengths);
        return without_gil([&] { return crf_decode(emissions, {transitions, start, end}, steps); });
      },
      py::arg("emissions"), py::arg("transitions"), py::arg("start"), py::arg("end"), py::arg("lengths") = py::none(),
      "The best tags (T, N), -100 beyond a sequence's length.");
  m.def(
      "bio_penalties",
      [](const std::vector<std::string>& labels, const py::object& dtype) {
        const CrfWeights penalties = bio_penalties(labels, to_dtype(dtype));
        return py::make_tuple(penalties.transitions, penalties.start, penalties.end);
      },
      py::arg("labels"), py::arg("dtype") = "float32",
      "(transitions, start, end): -infinity where labels would not be BIO.");
}

using Cluster = std::tuple<std::optional<Tensor>, Tensor, std::optional<Tensor>>;  // projection, weight, bias

ClusteredSoftmax to_softmax(const std::vector<std::int64_t>& cutoffs, T weight, const std::optional<Tensor>& bias,
                            const std::vector<Cluster>& clusters) {
  ClusteredSoftmax softmax{cutoffs, weight, or_undefined(bias), {}};
  for (const auto& [projection, words, words_bias] : clusters)
    softmax.clusters.push_back({or_undefined(projection), words, or_undefined(words_bias)});
  return softmax;
}

void bind_clustered(py::module_& m) {
  m.def(
      "clustered_cross_entropy",
      [](T input, const std::vector<std::int64_t>& cutoffs, T weight, const std::optional<Tensor>& bias,
         const std::vector<Cluster>& clusters, const py::object& target, const std::string& reduction,
         std::int64_t ignore_index) {
        const Tensor ids = as_ids("clustered_cross_entropy", "target", target);
        LossOptions options;
        options.reduction = reduction_from_name(reduction);
        options.ignore_index = ignore_index;
        const ClusteredSoftmax softmax = to_softmax(cutoffs, weight, bias, clusters);
        return without_gil([&] { return clustered_cross_entropy(input, softmax, ids, options); });
      },
      py::arg("input"), py::arg("cutoffs"), py::arg("head_weight"), py::arg("head_bias"), py::arg("clusters"),
      py::arg("target"), py::arg("reduction") = "mean", py::arg("ignore_index") = -100,
      "clusters: (projection or None, weight, bias or None) of each.");
  m.def(
      "clustered_log_prob",
      [](T input, const std::vector<std::int64_t>& cutoffs, T weight, const std::optional<Tensor>& bias,
         const std::vector<Cluster>& clusters) {
        const ClusteredSoftmax softmax = to_softmax(cutoffs, weight, bias, clusters);
        return without_gil([&] { return clustered_log_prob(input, softmax); });
      },
      py::arg("input"), py::arg("cutoffs"), py::arg("head_weight"), py::arg("head_bias"), py::arg("clusters"),
      "(R, V).");
}

}  // namespace

void bind_losses(py::module_& m) {
  bind_clustered(m);
  bind_crf(m);
  bind_value_losses(m);
  bind_ctc(m);
}

}  // namespace rnncore::python
