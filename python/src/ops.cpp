// The operations of rnncore/ops.hpp as module functions, and as methods where PyTorch has them.
#include "bindings.h"

namespace rnncore::python {
namespace {

using Release = py::call_guard<py::gil_scoped_release>;
using T = const Tensor&;
using Axis = std::optional<std::int64_t>;

LossOptions loss_options(const std::string& reduction, std::int64_t ignore_index, double label_smoothing) {
  LossOptions options;
  options.reduction = reduction_from_name(reduction);
  options.ignore_index = ignore_index;
  options.label_smoothing = label_smoothing;
  return options;
}

// The same operation as a function and as a method.
template <typename Function, typename... Extra>
void both(py::module_& m, py::class_<Tensor>& c, const char* name, const Function& function, const Extra&... extra) {
  m.def(name, function, py::arg("input"), extra...);
  c.def(name, function, extra...);
}

void bind_elementwise(py::module_& m, py::class_<Tensor>& c) {
  using Unary = Tensor (*)(T);
  const std::pair<const char*, Unary> unary[] = {{"neg", &neg},         {"exp", &exp},  {"log", &log},
                                                 {"sqrt", &sqrt},       {"abs", &abs},  {"tanh", &tanh},
                                                 {"sigmoid", &sigmoid}, {"relu", &relu}};
  for (const auto& [name, function] : unary) both(m, c, name, function, Release());
  const auto operators = py::module_::import("operator");
  for (const char* name : {"add", "sub", "mul"})
    m.attr(name) = operators.attr(name);  // broadcasts; tensors, arrays, numbers
  m.attr("div") = operators.attr("truediv");
  both(m, c, "pow", &pow, py::arg("exponent"), Release());
  m.def("matmul", &matmul, py::arg("a"), py::arg("b"), Release());
  c.def("matmul", &matmul, py::arg("other"), Release());
  c.def("mm", &matmul, py::arg("other"), Release());
  m.def(
      "linear", [](T x, T weight, const std::optional<Tensor>& bias) { return linear(x, weight, or_undefined(bias)); },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(), Release());
}

void bind_shape(py::module_& m, py::class_<Tensor>& c) {
  m.def("cat", &cat, py::arg("tensors"), py::arg("dim") = 0, Release());
  m.def("stack", &stack, py::arg("tensors"), py::arg("dim") = 0, Release());
  m.def("slice", &slice, py::arg("input"), py::arg("dim"), py::arg("start"), py::arg("stop"), Release());
  m.def("transpose", &transpose, py::arg("input"), py::arg("dim0"), py::arg("dim1"), Release());
  both(m, c, "chunk", &chunk, py::arg("chunks"), py::arg("dim") = 0, Release());
}

// The k largest along an axis, best first, equals in index order; off the tape.
py::tuple topk(T a, std::int64_t k, std::int64_t dim) {
  const std::int64_t size = a.size(dim);
  if (k < 0 || k > size) throw_argument("topk", "k", "within [0, " + std::to_string(size) + "]", std::to_string(k));
  const auto numpy = py::module_::import("numpy");
  const py::array view = numpy_view(a);
  const py::object keys = a.dtype() == DType::uint8 ? view.attr("astype")("int64") : py::object(view);
  const py::object order =
      numpy.attr("argsort")(keys.attr("__neg__")(), py::arg("axis") = dim, py::arg("kind") = "stable");
  const py::object first = numpy.attr("take")(order, numpy.attr("arange")(k), py::arg("axis") = dim);
  const py::object values = numpy.attr("take_along_axis")(view, first, py::arg("axis") = dim);
  return py::make_tuple(to_tensor(values), to_tensor(first));
}

void bind_reductions(py::module_& m, py::class_<Tensor>& c) {
  both(
      m, c, "sum", [](T a, Axis dim, bool keepdim) { return dim ? sum(a, *dim, keepdim) : sum(a); },
      py::arg("dim") = py::none(), py::arg("keepdim") = false, Release());
  both(
      m, c, "mean", [](T a, Axis dim, bool keepdim) { return dim ? mean(a, *dim, keepdim) : mean(a); },
      py::arg("dim") = py::none(), py::arg("keepdim") = false, Release());
  both(
      m, c, "argmax", [](T a, Axis dim) { return dim ? argmax(a, *dim) : argmax(a.reshape({-1}), 0); },
      py::arg("dim") = py::none(), Release());
  for (const bool max : {true, false})
    m.def(
        max ? "max_over_time" : "mean_over_time",
        [max](T a, const py::object& lengths) {
          const Tensor steps = lengths.is_none() ? Tensor() : as_ids("pooling", "lengths", lengths);
          return without_gil([&] { return max ? max_over_time(a, steps) : mean_over_time(a, steps); });
        },
        py::arg("input"), py::arg("lengths") = py::none());
  both(m, c, "topk", &topk, py::arg("k"), py::arg("dim") = -1);
  both(m, c, "softmax", &softmax, py::arg("dim") = -1, Release());
  both(m, c, "log_softmax", &log_softmax, py::arg("dim") = -1, Release());
}

void bind_cross_entropies(py::module_& m) {
  const auto reduction = py::arg("reduction") = "mean";
  const auto ignore = py::arg("ignore_index") = -100;
  const auto smoothing = py::arg("label_smoothing") = 0.0;
  m.def(
      "nll_loss",
      [](T log_probs, const py::object& target, const std::string& kind, std::int64_t ignore_index, double e) {
        const Tensor ids = as_ids("nll_loss", "target", target);
        const LossOptions options = loss_options(kind, ignore_index, e);
        return without_gil([&] { return nll_loss(log_probs, ids, options); });
      },
      py::arg("input"), py::arg("target"), reduction, ignore, smoothing);
  m.def(
      "cross_entropy",
      [](T logits, const py::object& target, const std::string& kind, std::int64_t ignore_index, double e) {
        const Tensor ids = as_ids("cross_entropy", "target", target);
        const LossOptions options = loss_options(kind, ignore_index, e);
        return without_gil([&] { return cross_entropy(logits, ids, options); });
      },
      py::arg("input"), py::arg("target"), reduction, ignore, smoothing);
  m.def(
      "linear_cross_entropy",
      [](T x, T weight, const std::optional<Tensor>& bias, const py::object& target, const std::string& kind,
         std::int64_t ignore_index, double e) {
        const Tensor ids = as_ids("linear_cross_entropy", "target", target);
        const LossOptions options = loss_options(kind, ignore_index, e);
        return without_gil([&] { return linear_cross_entropy(x, weight, or_undefined(bias), ids, options); });
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"), py::arg("target"), reduction, ignore, smoothing,
      "cross_entropy(linear(input, weight, bias), target) without holding the logits.");
}

void bind_lookup(py::module_& m) {
  m.def(
      "attention",
      [](T query, T keys, T values, const py::object& lengths, const std::optional<Tensor>& v) {
        const Tensor steps = lengths.is_none() ? Tensor() : as_ids("attention", "lengths", lengths);
        const Attended found = without_gil([&] { return attention(query, keys, values, steps, or_undefined(v)); });
        return py::make_tuple(found.context, found.weights);
      },
      py::arg("query"), py::arg("keys"), py::arg("values"), py::arg("lengths") = py::none(), py::arg("v") = py::none(),
      "(context, weights).");
  m.def(
      "layer_norm",
      [](T a, T weight, const std::optional<Tensor>& bias, double eps) {
        return layer_norm(a, weight, or_undefined(bias), eps);
      },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(), py::arg("eps") = 1e-5, Release());
  m.def(
      "embedding",
      [](T weight, const py::object& input, std::int64_t padding_idx) {
        const Tensor ids = as_ids("embedding", "input", input);
        return without_gil([&] { return embedding(weight, ids, padding_idx); });
      },
      py::arg("weight"), py::arg("input"), py::arg("padding_idx") = -1);
  m.def("dropout", &dropout, py::arg("input"), py::arg("p"), py::arg("training"), py::arg("generator"), Release());
  m.def(
      "sample",
      [](T logits, Generator& generator, double temperature, std::int64_t top_k, double top_p) {
        SampleOptions options;
        options.temperature = temperature;
        options.top_k = top_k;
        options.top_p = top_p;
        return sample(logits, options, generator);
      },
      py::arg("logits"), py::arg("generator"), py::arg("temperature") = 1.0, py::arg("top_k") = 0,
      py::arg("top_p") = 1.0, Release(), "One draw per row of logits (N, V): int64 (N,).");
}

}  // namespace

Reduction reduction_from_name(const std::string& name) {
  if (name == "mean") return Reduction::mean;
  if (name == "sum") return Reduction::sum;
  if (name == "none") return Reduction::none;
  throw_argument("loss", "reduction", "'mean', 'sum' or 'none'", "'" + name + "'");
}

void bind_ops(py::module_& m) {
  auto c = py::reinterpret_borrow<py::class_<Tensor>>(m.attr("Tensor"));
  bind_elementwise(m, c);
  bind_shape(m, c);
  bind_reductions(m, c);
  bind_cross_entropies(m);
  bind_lookup(m);
}

}  // namespace rnncore::python
