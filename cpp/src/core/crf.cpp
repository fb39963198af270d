// Linear-chain conditional random fields (Lafferty, McCallum & Pereira 2001): loss, best path, BIO constraints.
#include <cmath>
#include <limits>

#include "core/ops_common.h"

namespace rnncore {
namespace {

struct Problem {
  backend::Crf crf;
  Tensor lengths;  // keeps crf.lengths alive
};

Problem check_problem(const char* name, const Tensor& emissions, const CrfWeights& weights, const Tensor& lengths) {
  check_float(name, "emissions", emissions);
  if (emissions.dim() != 3 || emissions.size(2) == 0)
    throw_argument(name, "emissions", "shape (T, N, K) with K >= 1", to_string(emissions.shape()));
  Problem problem;
  backend::Crf& crf = problem.crf;
  crf.dtype = emissions.dtype();
  crf.T = emissions.size(0);
  crf.N = emissions.size(1);
  crf.K = emissions.size(2);
  const std::pair<const char*, std::pair<const Tensor*, Shape>> wanted[] = {
      {"transitions", {&weights.transitions, {crf.K, crf.K}}},
      {"start", {&weights.start, {crf.K}}},
      {"end", {&weights.end, {crf.K}}}};
  for (const auto& [argument, tensor] : wanted) {
    check_same_dtype(name, argument, *tensor.first, crf.dtype);
    if (tensor.first->shape() != tensor.second)
      throw_argument(name, argument, "shape " + to_string(tensor.second), to_string(tensor.first->shape()));
  }
  problem.lengths = lengths.defined() ? lengths : Tensor::full({crf.N}, static_cast<double>(crf.T), DType::int64);
  if (problem.lengths.dtype() != DType::int64) throw_type(name, "lengths", "int64", name_of(lengths.dtype()));
  if (problem.lengths.shape() != Shape{crf.N})
    throw_argument(name, "lengths", "shape (N,) = " + to_string({crf.N}), to_string(lengths.shape()));
  crf.lengths = problem.lengths.data<std::int64_t>();
  for (std::int64_t n = 0; n < crf.N; ++n)
    if (crf.lengths[n] < 0 || crf.lengths[n] > crf.T)
      throw_argument(name, "lengths[" + std::to_string(n) + "]", "0 <= length <= T = " + std::to_string(crf.T),
                     std::to_string(crf.lengths[n]));
  crf.emissions = emissions.raw();
  crf.transitions = weights.transitions.raw();
  crf.start = weights.start.raw();
  crf.end = weights.end.raw();
  return problem;
}

void check_tags(const char* name, const backend::Crf& crf, const Tensor& targets) {
  check_defined(name, "targets", targets);
  if (targets.dtype() != DType::int64) throw_type(name, "targets", "int64", name_of(targets.dtype()));
  if (targets.shape() != Shape{crf.T, crf.N})
    throw_argument(name, "targets", "shape (T, N) = " + to_string({crf.T, crf.N}), to_string(targets.shape()));
  const std::int64_t* tags = targets.data<std::int64_t>();
  for (std::int64_t n = 0; n < crf.N; ++n)
    for (std::int64_t t = 0; t < crf.lengths[n]; ++t)
      if (const std::int64_t tag = tags[t * crf.N + n]; tag < 0 || tag >= crf.K)
        throw_argument(name, "targets[" + std::to_string(t) + ", " + std::to_string(n) + "]",
                       "a tag in [0, " + std::to_string(crf.K) + ")", std::to_string(tag));
}

// dweights (K*K + 2*K) -> the gradients of transitions, start and end.
std::vector<Tensor> weight_gradients(const Tensor& dweights, std::int64_t K, DType dtype) {
  const Tensor all = dweights.to(dtype);
  return {slice(all, 0, 0, K * K).reshape({K, K}), slice(all, 0, K * K, K * K + K),
          slice(all, 0, K * K + K, K * K + 2 * K)};
}

// "B-LOC" -> {'B', "LOC"}; "O" and anything else is outside.
std::pair<char, std::string> parts_of(const std::string& label) {
  if (label.size() > 2 && label[1] == '-' && (label[0] == 'B' || label[0] == 'I')) return {label[0], label.substr(2)};
  return {'O', ""};
}

}  // namespace

Tensor crf_loss(const Tensor& emissions, const CrfWeights& weights, const Tensor& targets, const Tensor& lengths) {
  const char* name = "crf_loss";
  Problem problem = check_problem(name, emissions, weights, lengths);
  backend::Crf& crf = problem.crf;
  check_tags(name, crf, targets);
  crf.targets = targets.data<std::int64_t>();
  Tensor alpha = Tensor::empty({crf.N, crf.T, crf.K}, DType::float64), losses = Tensor::empty({crf.N}, DType::float64);
  crf.alpha = alpha.mutable_data<double>();
  crf.losses = losses.mutable_data<double>();
  backend::crf_loss(emissions.device(), crf);
  for (std::int64_t n = 0; n < crf.N; ++n)
    if (crf.losses[n] == std::numeric_limits<double>::infinity())
      throw_argument(name, "targets", "tags that the transitions allow",
                     "a path of weight 0 in sequence " + std::to_string(n),
                     "a score of -infinity forbids a tag or a pair of tags");
  Tensor out = losses.to(emissions.dtype());
  const std::vector<Tensor> inputs = {emissions, weights.transitions, weights.start, weights.end};
  if (!should_record(inputs)) return out;
  const std::vector<Saved> saved = {Saved(emissions),     Saved(weights.transitions),
                                    Saved(weights.start), Saved(weights.end),
                                    Saved(targets),       Saved(problem.lengths)};
  record(name, inputs, {&out}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    const NoGradGuard guard;
    backend::Crf again = problem.crf;
    again.emissions = saved[0].get(name).raw();
    again.transitions = saved[1].get(name).raw();
    again.start = saved[2].get(name).raw();
    again.end = saved[3].get(name).raw();
    again.targets = saved[4].get(name).data<std::int64_t>();
    again.lengths = saved[5].get(name).data<std::int64_t>();
    again.alpha = const_cast<double*>(alpha.data<double>());
    const std::int64_t K = again.K;
    const Tensor scales = grads[0].to(DType::float64);
    Tensor dx = Tensor::empty({again.T, again.N, K}, again.dtype);
    Tensor dweights = Tensor::empty({K * K + 2 * K}, DType::float64);
    Tensor space = Tensor::empty({again.N, K * K + 4 * K}, DType::float64);
    backend::crf_loss_backward(dx.device(), again, scales.data<double>(), space.mutable_data<double>(),
                               dx.mutable_raw(), dweights.mutable_data<double>());
    std::vector<Tensor> result = weight_gradients(dweights, K, again.dtype);
    result.insert(result.begin(), dx);
    return result;
  });
  return out;
}

Tensor crf_decode(const Tensor& emissions, const CrfWeights& weights, const Tensor& lengths) {
  const Problem problem = check_problem("crf_decode", emissions, weights, lengths);
  const backend::Crf& crf = problem.crf;
  Tensor tags = Tensor::full({crf.T, crf.N}, -100.0, DType::int64);
  Tensor back = Tensor::empty({crf.N, crf.T, crf.K}, DType::int64),
         space = Tensor::empty({crf.N, 2 * crf.K}, DType::float64);
  backend::crf_decode(emissions.device(), crf, space.mutable_data<double>(), back.mutable_data<std::int64_t>(),
                      tags.mutable_data<std::int64_t>());
  return tags;
}

CrfWeights bio_penalties(const std::vector<std::string>& labels, DType dtype) {
  if (labels.empty()) throw_argument("bio_penalties", "labels", "at least one label", "none");
  const auto K = static_cast<std::int64_t>(labels.size());
  const double never = -std::numeric_limits<double>::infinity();
  std::vector<double> pairs(labels.size() * labels.size(), 0.0), first(labels.size(), 0.0);
  for (std::size_t to = 0; to < labels.size(); ++to) {
    const auto [mark, type] = parts_of(labels[to]);
    if (mark != 'I') continue;
    first[to] = never;
    for (std::size_t from = 0; from < labels.size(); ++from)
      if (const auto [before, same] = parts_of(labels[from]); before == 'O' || same != type)
        pairs[from * labels.size() + to] = never;
  }
  return {Tensor::from_bytes(pairs.data(), {K, K}, DType::float64).to(dtype),
          Tensor::from_bytes(first.data(), {K}, DType::float64).to(dtype), Tensor::zeros({K}, dtype)};
}

}  // namespace rnncore
