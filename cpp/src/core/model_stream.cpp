// ModelStream: token or features -> Stream -> head, over buffers that were allocated at construction.
#include "core/output_stream.h"
#include "rnncore/model.hpp"

namespace rnncore {
struct ModelStream::Impl {
  Stream stack;
  OutputStream head;
  std::int64_t batch, outputs, vocabulary;  // vocabulary: 0 with features
  std::int64_t inputs;                      // of the stack
  DType dtype;
  Tensor hidden;  // (N, width of the stack's output)
  void* hidden_data = nullptr;
  int threads = 1;  // of the head's product; 0: as many as it deserves

  Impl(const Model& model, std::int64_t N)
      : stack(model.spec().recurrent, model.stack_parameters(), N),
        head(model, N),
        batch(N),
        outputs(model.spec().outputs()),
        vocabulary(model.spec().vocab_size),
        inputs(model.spec().recurrent.input_size),
        dtype(model.dtype()) {
    const NoGradGuard guard;
    hidden = Tensor::zeros({batch, model.spec().recurrent.output_size()}, dtype);
    hidden_data = hidden.mutable_raw();
    if (vocabulary > 0) stack.set_embedding(model.parameter("embedding.weight"));
  }

  template <typename In, typename T>
  bool step(const In* in, T* out) noexcept {
    stack.step(in, static_cast<T*>(hidden_data));
    head.step(hidden_data, out, threads);
    return true;
  }

  template <typename T>
  bool step_features(const T* in, T* out) noexcept {
    return vocabulary == 0 && dtype == dtype_of<T>::value && step(in, out);
  }

  template <typename T>
  bool step_tokens(const std::int64_t* ids, T* out) noexcept {
    if (vocabulary == 0 || dtype != dtype_of<T>::value) return false;
    for (std::int64_t n = 0; n < batch; ++n)
      if (ids[n] < 0 || ids[n] >= vocabulary) return false;
    return step(ids, out);
  }
};

ModelStream::ModelStream(const Model& model, std::int64_t batch) {
  const ModelSpec& spec = model.spec();
  if (spec.pooling == Pooling::mean || spec.pooling == Pooling::max)
    throw_argument("ModelStream", "pooling", "none or last", name_of(spec.pooling),
                   "what is pooled over time is known at the end only");
  if (spec.characters.vocab_size > 0)
    throw_argument("ModelStream", "characters", "none", "a model that reads words letter by letter");
  impl_ = std::make_unique<Impl>(model, batch);
}

ModelStream::~ModelStream() = default;
ModelStream::ModelStream(ModelStream&&) noexcept = default;
ModelStream& ModelStream::operator=(ModelStream&&) noexcept = default;

std::int64_t ModelStream::batch() const noexcept { return impl_->batch; }
std::int64_t ModelStream::input_size() const noexcept { return impl_->vocabulary > 0 ? 1 : impl_->inputs; }
std::int64_t ModelStream::output_size() const noexcept { return impl_->outputs; }
DType ModelStream::dtype() const noexcept { return impl_->dtype; }
bool ModelStream::step(const float* in, float* out) noexcept { return impl_->step_features(in, out); }
bool ModelStream::step(const double* in, double* out) noexcept { return impl_->step_features(in, out); }
bool ModelStream::step(const std::int64_t* ids, float* out) noexcept { return impl_->step_tokens(ids, out); }
bool ModelStream::step(const std::int64_t* ids, double* out) noexcept { return impl_->step_tokens(ids, out); }
void ModelStream::use_threads(bool on) {
  impl_->stack.use_threads(on);
  impl_->threads = on ? 0 : 1;
}
void ModelStream::reset() noexcept { impl_->stack.reset(); }
void ModelStream::reset(std::int64_t stream) noexcept { impl_->stack.reset(stream); }
std::size_t ModelStream::state_bytes() const noexcept { return impl_->stack.state_bytes(); }
void ModelStream::save_state(void* out) const noexcept { impl_->stack.save_state(out); }
void ModelStream::restore_state(const void* in) noexcept { impl_->stack.restore_state(in); }
void ModelStream::save_state(std::int64_t stream, void* out) const noexcept { impl_->stack.save_state(stream, out); }
void ModelStream::restore_state(std::int64_t stream, const void* in) noexcept {
  impl_->stack.restore_state(stream, in);
}

}  // namespace rnncore
