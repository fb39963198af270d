// ModelStream: a whole model, one step at a time, and drawing tokens from it.
#include <cstring>
#include <string_view>

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
    for (std::int64_t n = 0; n < batch(); ++n) check_id("ModelStream.step", ids.at(n), n);
    without_gil([&] { advance(ids.data()); });
  }

  // Ids one after another into a single stream.
  void read(const py::array_t<std::int64_t, py::array::c_style>& ids) {
    if (ids.ndim() != 1 || batch() != 1)
      throw_argument("ModelStream.read", "ids", "shape (T,) for a batch of 1",
                     to_string(Shape(ids.shape(), ids.shape() + ids.ndim())) + " for " + std::to_string(batch()));
    for (std::int64_t t = 0; t < ids.shape(0); ++t) check_id("ModelStream.read", ids.at(t), t);
    without_gil([&] {
      for (std::int64_t t = 0; t < ids.shape(0); ++t) advance(ids.data() + t);
    });
  }

  // What a stream goes on from: its state, then its logits.
  py::bytes state(std::int64_t stream) const {
    check_stream("ModelStream.state", stream);
    std::string bytes(state_size() + row_size(), '\0');
    stream_.save_state(stream, bytes.data());
    std::memcpy(bytes.data() + state_size(), row_of(stream), row_size());
    return py::bytes(bytes);
  }
  void set_state(std::int64_t stream, const py::bytes& given) {
    check_stream("ModelStream.set_state", stream);
    const std::string_view bytes = given;
    if (bytes.size() != state_size() + row_size())
      throw_argument("ModelStream.set_state", "state", std::to_string(state_size() + row_size()) + " bytes",
                     std::to_string(bytes.size()), "of a stream of another model?");
    stream_.restore_state(stream, bytes.data());
    std::memcpy(row_of(stream), bytes.data() + state_size(), row_size());
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
  void check_id(const char* operation, std::int64_t id, std::int64_t at) const {
    if (id < 0 || id >= vocabulary_)
      throw_argument(operation, "ids[" + std::to_string(at) + "]", "0 <= id < V = " + std::to_string(vocabulary_),
                     std::to_string(id));
  }
  void check_stream(const char* operation, std::int64_t stream) const {
    if (stream < 0 || stream >= batch())
      throw_argument(operation, "stream", "0 <= stream < " + std::to_string(batch()), std::to_string(stream));
  }
  std::size_t state_size() const { return stream_.state_bytes() / static_cast<std::size_t>(batch()); }
  std::size_t row_size() const {
    return static_cast<std::size_t>(stream_.output_size() * static_cast<std::int64_t>(size_of(stream_.dtype())));
  }
  const char* row_of(std::int64_t stream) const {
    return static_cast<const char*>(logits_.raw()) + static_cast<std::size_t>(stream) * row_size();
  }
  char* row_of(std::int64_t stream) {
    return static_cast<char*>(logits_.mutable_raw()) + static_cast<std::size_t>(stream) * row_size();
  }
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
      .def("read", &TokenStream::read, py::arg("ids"), "Reads ids (T) one after another; for a batch of 1.")
      .def("state", &TokenStream::state, py::arg("stream") = 0,
           "What one stream goes on from, its logits too; any stream of the model may go on from it, in any batch.")
      .def("set_state", &TokenStream::set_state, py::arg("stream"), py::arg("state"),
           "Lets a stream go on from what `state` gave.")
      .def(
          "draw",
          [](TokenStream& s, Generator& generator, double temperature, std::int64_t top_k, double top_p,
             std::int64_t steps) { return s.draw(generator, {temperature, top_k, top_p}, steps); },
          py::arg("generator"), py::arg("temperature") = 1.0, py::arg("top_k") = 0, py::arg("top_p") = 1.0,
          py::arg("steps") = 1,
          "Draws ids from the logits after the last step and steps with them, `steps` times: (steps, N).");
}

}  // namespace rnncore::python
