// ModelStream: a whole model, one step at a time, and drawing tokens from it.
#include "bindings.h"

namespace rnncore::python {
namespace {

class TokenStream {
 public:
  TokenStream(const ModelSpec& spec, NamedTensors parameters, std::int64_t batch)
      : vocabulary_(spec.vocab_size), stream_(Model(spec, std::move(parameters)), batch) {
    if (vocabulary_ == 0) throw_argument("ModelStream", "spec", "a model that reads tokens", "one that reads features");
    logits_ = Tensor::zeros({batch, stream_.output_size()}, stream_.dtype());
    stream_.use_threads(true);
  }

  std::int64_t batch() const { return stream_.batch(); }
  Tensor logits() const { return logits_.clone(); }

  void step(const py::array_t<std::int64_t, py::array::c_style>& ids) {
    if (ids.ndim() != 1 || ids.shape(0) != batch())
      throw_argument("ModelStream.step", "ids", "shape " + to_string(Shape{batch()}),
                     to_string(Shape(ids.shape(), ids.shape() + ids.ndim())));
    for (std::int64_t n = 0; n < batch(); ++n)
      if (ids.at(n) < 0 || ids.at(n) >= vocabulary_)
        throw_argument("ModelStream.step", "ids[" + std::to_string(n) + "]",
                       "0 <= id < V = " + std::to_string(vocabulary_), std::to_string(ids.at(n)));
    without_gil([&] { advance(ids.data()); });
  }

  // Steps times: a token of each stream from the logits after the last step; then a step with these.
  py::array_t<std::int64_t> draw(Generator& generator, const SampleOptions& options, std::int64_t steps) {
    if (steps < 1) throw_argument("ModelStream.draw", "steps", "1 or more", std::to_string(steps));
    py::array_t<std::int64_t> ids({steps, batch()});
    std::int64_t* to = ids.mutable_data();
    without_gil([&] {
      for (std::int64_t i = 0; i < steps; ++i, to += batch()) {
        const Tensor drawn = sample(logits_, options, generator);
        std::copy_n(drawn.data<std::int64_t>(), batch(), to);
        advance(to);
      }
    });
    return ids;
  }

 private:
  void advance(const std::int64_t* ids) {
    if (stream_.dtype() == DType::float32)
      stream_.step(ids, logits_.mutable_data<float>());
    else
      stream_.step(ids, logits_.mutable_data<double>());
  }

  std::int64_t vocabulary_;
  ModelStream stream_;
  Tensor logits_;
};

}  // namespace

void bind_model_stream(py::module_& m) {
  py::class_<TokenStream>(m, "ModelStream",
                          "Steps a whole language model for N parallel streams, and draws tokens from it: the bits of\n"
                          "the model over the sequence. The parameters are copied.")
      .def(py::init([](const ModelSpec& spec, const py::dict& parameters, std::int64_t batch) {
             return TokenStream(spec, named_tensors(parameters), batch);
           }),
           py::arg("spec"), py::arg("parameters"), py::arg("batch") = 1)
      .def_property_readonly("batch", &TokenStream::batch)
      .def_property_readonly("logits", &TokenStream::logits, "(N, V) after the last step; at first zeros.")
      .def("step", &TokenStream::step, py::arg("ids"), "Reads ids (N).")
      .def(
          "draw",
          [](TokenStream& s, Generator& generator, double temperature, std::int64_t top_k, double top_p,
             std::int64_t steps) { return s.draw(generator, {temperature, top_k, top_p}, steps); },
          py::arg("generator"), py::arg("temperature") = 1.0, py::arg("top_k") = 0, py::arg("top_p") = 1.0,
          py::arg("steps") = 1,
          "Draws ids from the logits after the last step and steps with them, `steps` times: (steps, N).");
}

}  // namespace rnncore::python
