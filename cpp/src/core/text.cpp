// Scoring by the chain rule, and sampling: the sampled token is the next input.
#include "rnncore/text.hpp"

#include <algorithm>
#include <cstring>

#include "core/model_head.h"

namespace rnncore {
namespace {

constexpr std::int64_t kIgnored = -100;  // LossOptions::ignore_index

void check_language_model(const char* operation, const Model& model) {
  if (model.spec().kind != ModelKind::language_model)
    throw_argument(operation, "model", "a language model", std::string("a ") + name_of(model.spec().kind));
}

void check_positive(const char* operation, const char* argument, std::int64_t value) {
  if (value < 1) throw_argument(operation, argument, "at least 1", std::to_string(value));
}

// Steps first..last-1 of `batch` contiguous streams over `tokens`: every token but the very first is a target once;
// stream n begins at n * stride, and what lies beyond the last target is padding.
void fill_chunk(const std::vector<std::int64_t>& tokens, std::int64_t stride, std::int64_t first, Tensor& ids,
                Tensor& wanted) {
  const std::int64_t T = ids.size(0), N = ids.size(1), targets = static_cast<std::int64_t>(tokens.size()) - 1;
  std::int64_t *in = ids.mutable_data<std::int64_t>(), *out = wanted.mutable_data<std::int64_t>();
  for (std::int64_t t = 0; t < T; ++t)
    for (std::int64_t n = 0; n < N; ++n) {
      const std::int64_t where = first + t + n * stride, at = std::min(where, targets - 1);
      in[t * N + n] = tokens[static_cast<std::size_t>(at)];
      out[t * N + n] = where < targets ? tokens[static_cast<std::size_t>(at + 1)] : kIgnored;
    }
}

// The tokens of one sample, and whether a stop string has come.
class Collector {
 public:
  // vocabulary: null where there is none; then there is no `stop`.
  Collector(const Vocabulary* vocabulary, const std::vector<std::string>& stop) : vocabulary_(vocabulary), stop_(stop) {
    for (const std::string& text : stop) longest_ = std::max(longest_, text.size());
  }
  bool stopped() const { return result_.stopped; }
  void add(std::int64_t token) {
    if (stopped()) return;
    std::vector<std::int64_t>& tokens = result_.tokens;
    tokens.push_back(token);
    if (stop_.empty()) return;
    // A token is at least one byte, so this tail holds every stop string that the new token can end.
    const std::size_t count = std::min(tokens.size(), 2 * longest_);
    const std::string tail = vocabulary_->decode({tokens.end() - static_cast<std::ptrdiff_t>(count), tokens.end()});
    result_.stopped = std::any_of(stop_.begin(), stop_.end(),
                                  [&](const std::string& text) { return tail.find(text) != std::string::npos; });
  }
  GeneratedText result() {
    if (vocabulary_) result_.text = vocabulary_->decode(result_.tokens);
    if (stopped()) {
      std::size_t end = result_.text.size();
      for (const std::string& text : stop_) end = std::min(end, result_.text.find(text));
      result_.text.resize(end);
    }
    return std::move(result_);
  }

 private:
  const Vocabulary* vocabulary_;
  const std::vector<std::string>& stop_;
  std::size_t longest_ = 0;
  GeneratedText result_;
};

// The prompt's ids, or the line end that stands for an empty one.
std::vector<std::int64_t> prompt_ids(const Vocabulary& vocabulary, std::string_view prompt) {
  std::vector<std::int64_t> ids = vocabulary.encode(prompt, false);
  if (!ids.empty()) return ids;
  if (vocabulary.end_id() < 0)
    throw_argument("generate", "prompt", "at least one token for this model", "none",
                   "its vocabulary has no line end to start from");
  return {vocabulary.end_id()};
}

// N streams of a model, and the logits after their last step.
class Streams {
 public:
  Streams(const Model& model, std::int64_t N)
      : stream_(model.stream(N)), logits_(Tensor::empty({N, model.spec().vocab_size}, model.dtype())) {
    stream_.use_threads(true);
  }
  const Tensor& logits() const { return logits_; }
  void step(const std::int64_t* ids) {
    const bool done = logits_.dtype() == DType::float32 ? stream_.step(ids, logits_.mutable_data<float>())
                                                        : stream_.step(ids, logits_.mutable_data<double>());
    if (!done) throw_argument("generate", "prompt", "ids of the model's vocabulary", "others");
  }
  // All of them go on from where the only stream of `one` stands.
  void go_on_from(const Streams& one) {
    std::vector<unsigned char> state(one.stream_.state_bytes());
    one.stream_.save_state(state.data());
    const auto row = static_cast<std::size_t>(logits_.size(1)) * static_cast<std::size_t>(size_of(logits_.dtype()));
    auto* const to = static_cast<unsigned char*>(logits_.mutable_raw());
    for (std::int64_t n = 0; n < stream_.batch(); ++n) {
      stream_.restore_state(n, state.data());
      std::memcpy(to + static_cast<std::size_t>(n) * row, one.logits_.raw(), row);
    }
  }

 private:
  ModelStream stream_;
  Tensor logits_;
};

// The streams of N samples after the prompt, which is read once.
Streams after_prompt(const Model& model, const std::vector<std::int64_t>& prompt, std::int64_t N) {
  Streams reader(model, 1);
  for (const std::int64_t id : prompt) reader.step(&id);
  if (N == 1) return reader;
  Streams streams(model, N);
  streams.go_on_from(reader);
  return streams;
}

}  // namespace

TextScore score(const Model& model, const std::vector<std::int64_t>& tokens, const ScoreOptions& options) {
  check_language_model("score", model);
  check_positive("score", "batch", options.batch);
  check_positive("score", "chunk", options.chunk);
  if (tokens.size() < 2) throw_argument("score", "tokens", "at least 2 tokens", std::to_string(tokens.size()));
  const NoGradGuard guard;
  const std::int64_t targets = static_cast<std::int64_t>(tokens.size()) - 1;
  const std::int64_t batch = std::min(options.batch, targets), length = (targets + batch - 1) / batch;
  LossOptions sum;
  sum.reduction = Reduction::sum;
  TextScore total;
  ModelInput input;
  for (std::int64_t first = 0; first < length; first += options.chunk) {
    const std::int64_t T = std::min(options.chunk, length - first);
    Tensor wanted = Tensor::empty({T, batch}, DType::int64);
    input.ids = Tensor::empty({T, batch}, DType::int64);
    fill_chunk(tokens, length, first, input.ids, wanted);
    ModelOutput out = model.features(input);
    const Tensor rows = out.y.reshape({T * batch, out.y.size(2)});
    total.nats += head_loss(model, rows, wanted.reshape({T * batch}), sum).item();
    input.state = std::move(out.state);
  }
  total.tokens = targets;
  return total;
}

double log_prob(const Model& model, std::string_view text, std::string_view start) {
  const Vocabulary& vocabulary = model.vocabulary();
  std::vector<std::int64_t> tokens = start.empty() ? std::vector<std::int64_t>() : vocabulary.encode(start, false);
  const std::vector<std::int64_t> rest = vocabulary.encode(text);
  tokens.insert(tokens.end(), rest.begin(), rest.end());
  return -score(model, tokens).nats;
}

std::vector<GeneratedText> generate(const Model& model, std::string_view prompt, const GenerateOptions& options) {
  check_language_model("generate", model);
  return generate(model, prompt_ids(model.vocabulary(), prompt), options);
}

std::vector<GeneratedText> generate(const Model& model, const std::vector<std::int64_t>& prompt,
                                    const GenerateOptions& options) {
  check_language_model("generate", model);
  if (prompt.empty()) throw_argument("generate", "prompt", "at least one id", "none");
  check_positive("generate", "length", options.length);
  check_positive("generate", "num_samples", options.num_samples);
  for (const std::string& text : options.stop)
    if (text.empty()) throw_argument("generate", "stop", "strings of at least one character", "an empty one");
  const Vocabulary* const vocabulary =
      model.has_vocabulary() || !options.stop.empty() ? &model.vocabulary() : nullptr;  // it says what is missing
  const NoGradGuard guard;
  Generator generator(options.seed);
  std::vector<Collector> collectors(static_cast<std::size_t>(options.num_samples), Collector(vocabulary, options.stop));
  Streams streams = after_prompt(model, prompt, options.num_samples);
  for (std::int64_t t = 0; t < options.length; ++t) {
    const Tensor ids = sample(streams.logits(), options.sample, generator);
    bool all = true;
    for (std::size_t i = 0; i < collectors.size(); ++i) {
      collectors[i].add(ids.data<std::int64_t>()[i]);
      all = all && collectors[i].stopped();
    }
    if (all || t + 1 == options.length) break;
    streams.step(ids.data<std::int64_t>());
  }
  std::vector<GeneratedText> texts;
  for (Collector& collector : collectors) texts.push_back(collector.result());
  return texts;
}

}  // namespace rnncore
