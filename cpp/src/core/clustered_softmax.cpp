// The two-level softmax: its loss, made of the fused output layer over the rows of each cluster, and its distribution.
#include <algorithm>

#include "core/output_layer.h"

namespace rnncore {
namespace {

std::string size_text(std::int64_t n) { return std::to_string(n); }

void check_matrix(const char* name, const std::string& argument, const Tensor& t, DType dtype, std::int64_t rows,
                  std::int64_t cols) {
  check_same_dtype(name, argument.c_str(), t, dtype);
  const bool fits = t.dim() == 2 && (rows < 0 ? t.size(0) > 0 : t.size(0) == rows) && t.size(1) == cols;
  if (!fits)
    throw_argument(name, argument,
                   "shape (" + (rows < 0 ? std::string("D") : size_text(rows)) + ", " + size_text(cols) + ")",
                   to_string(t.shape()));
}

void check_bias(const char* name, const std::string& argument, const Tensor& t, DType dtype, std::int64_t rows) {
  if (!t.defined()) return;
  check_same_dtype(name, argument.c_str(), t, dtype);
  if (t.shape() != Shape{rows})
    throw_argument(name, argument, "shape (" + size_text(rows) + ",)", to_string(t.shape()));
}

void check_softmax(const char* name, const Tensor& x, const ClusteredSoftmax& s) {
  check_float(name, "x", x);
  if (x.dim() != 2 || x.size(1) == 0) throw_argument(name, "x", "shape (R, I) with I >= 1", to_string(x.shape()));
  const std::size_t n = s.clusters.size();
  const bool rising = std::adjacent_find(s.cutoffs.begin(), s.cutoffs.end(), std::greater_equal<>()) == s.cutoffs.end();
  if (s.cutoffs.size() != n + 1 || n == 0 || s.cutoffs[0] < 0 || !rising)
    throw_argument(name, "cutoffs", "rising from 0 or more, one more than the clusters", to_string(s.cutoffs));
  const std::int64_t I = x.size(1), head = s.cutoffs[0] + static_cast<std::int64_t>(n);
  check_matrix(name, "head_weight", s.head_weight, x.dtype(), head, I);
  check_bias(name, "head_bias", s.head_bias, x.dtype(), head);
  for (std::size_t i = 0; i < n; ++i) {
    const ClusteredSoftmax::Cluster& c = s.clusters[i];
    const std::string at = "clusters[" + std::to_string(i) + "].";
    const std::int64_t size = s.cutoffs[i + 1] - s.cutoffs[i];
    if (c.projection.defined()) check_matrix(name, at + "projection", c.projection, x.dtype(), -1, I);
    check_matrix(name, at + "weight", c.weight, x.dtype(), size, c.projection.defined() ? c.projection.size(0) : I);
    check_bias(name, at + "bias", c.bias, x.dtype(), size);
  }
}

// Which rows have their target in which cluster, their targets there, and the targets of the head.
struct Routes {
  std::vector<std::vector<std::int64_t>> rows, targets;
  Tensor head;
};

Routes route(const ClusteredSoftmax& s, const Tensor& targets, std::int64_t ignore_index) {
  const std::int64_t R = targets.numel(), shortlist = s.cutoffs[0];
  Routes routes{std::vector<std::vector<std::int64_t>>(s.clusters.size()),
                std::vector<std::vector<std::int64_t>>(s.clusters.size()), Tensor::empty({R}, DType::int64)};
  const std::int64_t* t = targets.data<std::int64_t>();
  std::int64_t* head = routes.head.mutable_data<std::int64_t>();
  for (std::int64_t r = 0; r < R; ++r) {
    head[r] = t[r];
    if (t[r] == ignore_index || t[r] < shortlist) continue;
    const auto end = std::upper_bound(s.cutoffs.begin(), s.cutoffs.end(), t[r]);
    const auto i = static_cast<std::size_t>(end - s.cutoffs.begin() - 1);
    head[r] = shortlist + static_cast<std::int64_t>(i);
    routes.rows[i].push_back(r);
    routes.targets[i].push_back(t[r] - s.cutoffs[i]);
  }
  return routes;
}

Tensor ids_of(const std::vector<std::int64_t>& values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())});
}

// P_i x, of some rows of x or (none given) of all.
Tensor inputs_of(const ClusteredSoftmax::Cluster& cluster, const Tensor& x) {
  return cluster.projection.defined() ? linear(x, cluster.projection) : x;
}

// No target of a cluster is ever ignored: they are counted from 0.
LossOptions inner_options(Reduction reduction) {
  LossOptions options;
  options.reduction = reduction;
  options.ignore_index = -1;
  return options;
}

Tensor row_losses(const Tensor& x, const ClusteredSoftmax& s, const Routes& routes, const LossOptions& options) {
  const NoGradGuard guard;
  Tensor losses = output_layer_losses(x, s.head_weight, s.head_bias, routes.head, options);
  double* const out = losses.mutable_data<double>();
  for (std::size_t i = 0; i < s.clusters.size(); ++i) {
    const std::vector<std::int64_t>& rows = routes.rows[i];
    if (rows.empty()) continue;
    const Tensor inner =
        output_layer_losses(inputs_of(s.clusters[i], embedding(x, ids_of(rows))), s.clusters[i].weight,
                            s.clusters[i].bias, ids_of(routes.targets[i]), inner_options(Reduction::none));
    for (std::size_t k = 0; k < rows.size(); ++k) out[rows[k]] += inner.data<double>()[k];
  }
  return losses.to(x.dtype());
}

}  // namespace

Tensor clustered_cross_entropy(const Tensor& x, const ClusteredSoftmax& softmax, const Tensor& targets,
                               const LossOptions& options) {
  const char* name = "clustered_cross_entropy";
  check_softmax(name, x, softmax);
  if (options.label_smoothing != 0.0)
    throw_argument(name, "label_smoothing", "0", std::to_string(options.label_smoothing));
  const std::int64_t counted = check_targets(name, targets, x.size(0), softmax.cutoffs.back(), options);
  if (options.ignore_index >= 0 && options.ignore_index < softmax.cutoffs.back())
    throw_argument(name, "ignore_index", "no class", std::to_string(options.ignore_index));
  const Routes routes = route(softmax, targets, options.ignore_index);
  if (options.reduction == Reduction::none) {
    if (should_record({x, softmax.head_weight}))
      throw_argument(name, "reduction", "mean or sum where gradients are wanted", "none",
                     "use nll_loss(clustered_log_prob(x, softmax), targets)");
    return row_losses(x, softmax, routes, options);
  }
  const double scale = scale_of(options, counted);
  Tensor total = output_layer_loss(name, x, softmax.head_weight, softmax.head_bias, routes.head, options, scale);
  for (std::size_t i = 0; i < softmax.clusters.size(); ++i) {
    if (routes.rows[i].empty()) continue;
    const ClusteredSoftmax::Cluster& cluster = softmax.clusters[i];
    const Tensor inputs = inputs_of(cluster, embedding(x, ids_of(routes.rows[i])));
    total = add(total, output_layer_loss(name, inputs, cluster.weight, cluster.bias, ids_of(routes.targets[i]),
                                         inner_options(Reduction::sum), scale));
  }
  return total;
}

Tensor clustered_log_prob(const Tensor& x, const ClusteredSoftmax& softmax) {
  check_softmax("clustered_log_prob", x, softmax);
  const Tensor head = log_softmax(linear(x, softmax.head_weight, softmax.head_bias), 1);
  const std::int64_t shortlist = softmax.cutoffs[0];
  std::vector<Tensor> parts;
  if (shortlist > 0) parts.push_back(slice(head, 1, 0, shortlist));
  for (std::size_t i = 0; i < softmax.clusters.size(); ++i) {
    const ClusteredSoftmax::Cluster& cluster = softmax.clusters[i];
    const std::int64_t at = shortlist + static_cast<std::int64_t>(i);
    const Tensor inner = log_softmax(linear(inputs_of(cluster, x), cluster.weight, cluster.bias), 1);
    parts.push_back(add(inner, slice(head, 1, at, at + 1)));
  }
  return cat(parts, 1);
}

}  // namespace rnncore
