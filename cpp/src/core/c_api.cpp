// The C interface: handles around Model and ModelStream; exceptions become a status and a message of the thread.
#include "rnncore/c_api.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <new>

#include "rnncore/rnncore.hpp"

using rnncore::Model;
using rnncore::ModelStream;
using rnncore::Tensor;

struct rnncore_model {
  Model model;
  std::string spec_json;
};
struct rnncore_stream {
  ModelStream stream;
};

namespace {

thread_local std::array<char, 1024> last_error{};  // fixed: a failure for want of memory needs none

rnncore_status fail(rnncore_status status, const char* message) noexcept {
  std::snprintf(last_error.data(), last_error.size(), "%s", message);
  return status;
}

rnncore_status null_pointer(const char* operation, const char* argument) noexcept {
  std::snprintf(last_error.data(), last_error.size(), "[%s] %s: expected a pointer, got null", operation, argument);
  return RNNCORE_ARGUMENT;
}

// f(), its exceptions as a status.
template <typename F>
rnncore_status guarded(const F& f) noexcept {
  try {
    f();
    return RNNCORE_OK;
  } catch (const rnncore::ArgumentError& e) {
    return fail(RNNCORE_ARGUMENT, e.what());
  } catch (const rnncore::TypeError& e) {
    return fail(RNNCORE_TYPE, e.what());
  } catch (const rnncore::IoError& e) {
    return fail(RNNCORE_IO, e.what());
  } catch (const rnncore::NumericError& e) {
    return fail(RNNCORE_NUMERIC, e.what());
  } catch (const std::bad_alloc&) {
    return fail(RNNCORE_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return fail(RNNCORE_INTERNAL, e.what());
  } catch (...) {
    return fail(RNNCORE_INTERNAL, "an unknown failure");
  }
}

#define RNNCORE_NEED(POINTER) \
  if ((POINTER) == nullptr) return null_pointer(__func__, #POINTER)

rnncore_model* new_handle(Model&& model) {
  std::string json = rnncore::to_json(model.spec());
  return new rnncore_model{std::move(model), std::move(json)};
}

void check_sizes(const char* operation, int64_t T, int64_t N) {
  constexpr int64_t kMost = int64_t{1} << 40;
  if (T < 1 || N < 1 || T > kMost || N > kMost)
    rnncore::throw_argument(operation, "T, N", "at least 1", std::to_string(T) + ", " + std::to_string(N));
}

void check_dtype(const char* operation, const Model& model, rnncore::DType given) {
  if (model.dtype() != given)
    rnncore::throw_type(operation, "in", rnncore::name_of(model.dtype()), rnncore::name_of(given),
                        "the model's element type decides");
}

void run(const Model& model, rnncore::ModelInput& input, int64_t N, const int64_t* lengths, void* out) {
  const rnncore::NoGradGuard guard;
  if (lengths != nullptr) input.lengths = Tensor::from(lengths, {N});
  const Tensor y = model.forward(input).y;
  std::memcpy(out, y.raw(), static_cast<std::size_t>(y.numel() * rnncore::size_of(y.dtype())));
}

template <typename T>
rnncore_status forward(const char* operation, const Model& model, const T* in, int64_t steps, int64_t N,
                       const int64_t* lengths, T* out) noexcept {
  return guarded([&] {
    check_sizes(operation, steps, N);
    check_dtype(operation, model, rnncore::dtype_of<T>::value);
    if (model.spec().reads_tokens())
      rnncore::throw_type(operation, "in", "ids, as this model reads tokens", "features", "rnncore_model_forward_ids");
    rnncore::ModelInput input;
    input.x = Tensor::from(in, {steps, N, model.spec().recurrent.input_size});
    run(model, input, N, lengths, out);
  });
}

void give_text(const std::string& from, char* text, size_t capacity, size_t* size) {
  if (size != nullptr) *size = from.size();
  if (text == nullptr || capacity == 0) return;
  const std::size_t count = std::min(from.size(), capacity - 1);
  std::memcpy(text, from.data(), count);
  text[count] = '\0';
}

rnncore::GenerateOptions chosen(const rnncore_generate_options* options) {
  rnncore::GenerateOptions found;
  if (options == nullptr) return found;
  found.length = options->length;
  found.sample = {options->temperature, options->top_k, options->top_p};
  found.seed = options->seed;
  if (options->stop != nullptr) found.stop = {options->stop};
  return found;
}

rnncore_status stepped(const char* operation, bool done) noexcept {
  if (done) return RNNCORE_OK;
  std::snprintf(last_error.data(), last_error.size(),
                "[%s] in: expected the model's element type and kind of input, and ids in [0, V)", operation);
  return RNNCORE_TYPE;
}

}  // namespace

const char* rnncore_version() {
  static const std::string text = rnncore::version();
  return text.c_str();
}

const char* rnncore_last_error() { return last_error.data(); }

rnncore_status rnncore_set_num_threads(int threads) {
  return guarded([&] { rnncore::set_num_threads(threads); });
}

rnncore_status rnncore_model_load(const char* path, rnncore_model** model) {
  RNNCORE_NEED(path);
  RNNCORE_NEED(model);
  return guarded([&] { *model = new_handle(rnncore::load_model(path)); });
}

rnncore_status rnncore_model_parse(const void* bytes, size_t size, rnncore_model** model) {
  RNNCORE_NEED(bytes);
  RNNCORE_NEED(model);
  return guarded([&] { *model = new_handle(rnncore::parse_model(bytes, size)); });
}

void rnncore_model_free(rnncore_model* model) { delete model; }

rnncore_status rnncore_model_describe(const rnncore_model* model, rnncore_model_info* info) {
  RNNCORE_NEED(model);
  RNNCORE_NEED(info);
  const rnncore::ModelSpec& spec = model->model.spec();
  info->kind = rnncore::name_of(spec.kind);
  info->vocab_size = spec.vocab_size;
  info->input_size = spec.reads_tokens() ? 1 : spec.recurrent.input_size;
  info->output_size = spec.outputs();
  info->num_layers = static_cast<int64_t>(spec.recurrent.layers.size());
  info->is_double = model->model.dtype() == rnncore::DType::float64;
  info->per_sequence = spec.pooling != rnncore::Pooling::none;
  info->has_vocabulary = model->model.has_vocabulary();
  return RNNCORE_OK;
}

const char* rnncore_model_spec_json(const rnncore_model* model) {
  return model == nullptr ? "null" : model->spec_json.c_str();
}

rnncore_status rnncore_model_forward(const rnncore_model* model, const float* in, int64_t T, int64_t N,
                                     const int64_t* lengths, float* out) {
  RNNCORE_NEED(model);
  RNNCORE_NEED(in);
  RNNCORE_NEED(out);
  return forward(__func__, model->model, in, T, N, lengths, out);
}

rnncore_status rnncore_model_forward_double(const rnncore_model* model, const double* in, int64_t T, int64_t N,
                                            const int64_t* lengths, double* out) {
  RNNCORE_NEED(model);
  RNNCORE_NEED(in);
  RNNCORE_NEED(out);
  return forward(__func__, model->model, in, T, N, lengths, out);
}

rnncore_status rnncore_model_forward_ids(const rnncore_model* model, const int64_t* ids, int64_t T, int64_t N,
                                         const int64_t* lengths, void* out) {
  RNNCORE_NEED(model);
  RNNCORE_NEED(ids);
  RNNCORE_NEED(out);
  return guarded([&] {
    check_sizes("rnncore_model_forward_ids", T, N);
    if (!model->model.spec().reads_tokens())
      rnncore::throw_type("rnncore_model_forward_ids", "ids", "features, as this model reads no tokens", "ids");
    rnncore::ModelInput input;
    input.ids = Tensor::from(ids, {T, N});
    run(model->model, input, N, lengths, out);
  });
}

rnncore_status rnncore_encode(const rnncore_model* model, const char* text, size_t size, int end_line, int64_t* ids,
                              size_t capacity, size_t* count) {
  RNNCORE_NEED(model);
  RNNCORE_NEED(text);
  RNNCORE_NEED(count);
  if (capacity > 0) RNNCORE_NEED(ids);
  return guarded([&] {
    const std::vector<std::int64_t> found = model->model.vocabulary().encode({text, size}, end_line != 0);
    std::copy_n(found.begin(), std::min(found.size(), capacity), ids);
    *count = found.size();
  });
}

rnncore_status rnncore_decode(const rnncore_model* model, const int64_t* ids, size_t count, char* text, size_t capacity,
                              size_t* size) {
  RNNCORE_NEED(model);
  if (count > 0) RNNCORE_NEED(ids);
  return guarded([&] { give_text(model->model.vocabulary().decode({ids, ids + count}), text, capacity, size); });
}

rnncore_status rnncore_log_prob(const rnncore_model* model, const char* text, size_t size, const char* start,
                                double* nats) {
  RNNCORE_NEED(model);
  RNNCORE_NEED(text);
  RNNCORE_NEED(nats);
  return guarded([&] { *nats = rnncore::log_prob(model->model, {text, size}, start == nullptr ? "" : start); });
}

rnncore_status rnncore_score(const rnncore_model* model, const int64_t* ids, size_t count, double* nats) {
  RNNCORE_NEED(model);
  RNNCORE_NEED(ids);
  RNNCORE_NEED(nats);
  return guarded([&] { *nats = rnncore::score(model->model, {ids, ids + count}).nats; });
}

rnncore_generate_options rnncore_generate_defaults() {
  const rnncore::GenerateOptions d;
  return {d.length, d.sample.temperature, d.sample.top_k, d.sample.top_p, d.seed, nullptr};
}

rnncore_status rnncore_generate(const rnncore_model* model, const char* prompt, const rnncore_generate_options* options,
                                char* text, size_t capacity, size_t* size) {
  RNNCORE_NEED(model);
  return guarded([&] {
    const char* const given = prompt == nullptr ? "" : prompt;
    give_text(rnncore::generate(model->model, given, chosen(options))[0].text, text, capacity, size);
  });
}

rnncore_status rnncore_generate_ids(const rnncore_model* model, const int64_t* prompt, size_t count,
                                    const rnncore_generate_options* options, int64_t* ids, size_t capacity,
                                    size_t* found) {
  RNNCORE_NEED(model);
  RNNCORE_NEED(prompt);
  RNNCORE_NEED(found);
  if (capacity > 0) RNNCORE_NEED(ids);
  return guarded([&] {
    const std::vector<std::int64_t> given(prompt, prompt + count);
    const std::vector<std::int64_t> made = rnncore::generate(model->model, given, chosen(options))[0].tokens;
    std::copy_n(made.begin(), std::min(made.size(), capacity), ids);
    *found = made.size();
  });
}

rnncore_status rnncore_stream_create(const rnncore_model* model, int64_t N, rnncore_stream** stream) {
  RNNCORE_NEED(model);
  RNNCORE_NEED(stream);
  return guarded([&] { *stream = new rnncore_stream{model->model.stream(N)}; });
}

void rnncore_stream_free(rnncore_stream* stream) { delete stream; }

rnncore_status rnncore_stream_step(rnncore_stream* stream, const float* in, float* out) {
  RNNCORE_NEED(stream);
  RNNCORE_NEED(in);
  RNNCORE_NEED(out);
  return stepped(__func__, stream->stream.step(in, out));
}

rnncore_status rnncore_stream_step_double(rnncore_stream* stream, const double* in, double* out) {
  RNNCORE_NEED(stream);
  RNNCORE_NEED(in);
  RNNCORE_NEED(out);
  return stepped(__func__, stream->stream.step(in, out));
}

rnncore_status rnncore_stream_step_ids(rnncore_stream* stream, const int64_t* ids, void* out) {
  RNNCORE_NEED(stream);
  RNNCORE_NEED(ids);
  RNNCORE_NEED(out);
  ModelStream& s = stream->stream;
  return stepped(__func__, s.dtype() == rnncore::DType::float64 ? s.step(ids, static_cast<double*>(out))
                                                                : s.step(ids, static_cast<float*>(out)));
}

rnncore_status rnncore_stream_reset(rnncore_stream* stream) {
  RNNCORE_NEED(stream);
  stream->stream.reset();
  return RNNCORE_OK;
}

rnncore_status rnncore_stream_reset_one(rnncore_stream* stream, int64_t n) {
  RNNCORE_NEED(stream);
  if (n < 0 || n >= stream->stream.batch())
    return fail(RNNCORE_ARGUMENT, "[rnncore_stream_reset_one] n: no such stream");
  stream->stream.reset(n);
  return RNNCORE_OK;
}

size_t rnncore_stream_state_bytes(const rnncore_stream* stream) {
  return stream == nullptr ? 0 : stream->stream.state_bytes();
}

rnncore_status rnncore_stream_save(const rnncore_stream* stream, void* state) {
  RNNCORE_NEED(stream);
  RNNCORE_NEED(state);
  stream->stream.save_state(state);
  return RNNCORE_OK;
}

rnncore_status rnncore_stream_restore(rnncore_stream* stream, const void* state) {
  RNNCORE_NEED(stream);
  RNNCORE_NEED(state);
  stream->stream.restore_state(state);
  return RNNCORE_OK;
}

rnncore_status rnncore_stream_save_one(const rnncore_stream* stream, int64_t n, void* state) {
  RNNCORE_NEED(stream);
  RNNCORE_NEED(state);
  if (n < 0 || n >= stream->stream.batch())
    return fail(RNNCORE_ARGUMENT, "[rnncore_stream_save_one] n: no such stream");
  stream->stream.save_state(n, state);
  return RNNCORE_OK;
}

rnncore_status rnncore_stream_restore_one(rnncore_stream* stream, int64_t n, const void* state) {
  RNNCORE_NEED(stream);
  RNNCORE_NEED(state);
  if (n < 0 || n >= stream->stream.batch())
    return fail(RNNCORE_ARGUMENT, "[rnncore_stream_restore_one] n: no such stream");
  stream->stream.restore_state(n, state);
  return RNNCORE_OK;
}
