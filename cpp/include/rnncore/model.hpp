// Whole models: ModelSpec says what a model is, Model holds it with its parameters and runs it (batches; steps through
// ModelStream; training in place on the tape), and a model file keeps it: safetensors, parameters under their names,
// metadata key "rnncore" with versioned JSON (spec, vocabulary, facts). Scoring and sampling of text: text.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rnncore/recurrent.hpp"
#include "rnncore/tensor.hpp"
#include "rnncore/vocabulary.hpp"

namespace rnncore {

// What the outputs mean.
enum class ModelKind : std::uint8_t {
  language_model,  // per step: logits of the next token (O = V)
  classifier,      // per sequence: logits of O classes
  tagger,          // per step: logits of O tags
  forecaster,      // per step, or per sequence with pooling: O real values
  multilabel,      // the same: logits of O labels, each on or off by itself (polyphonic music: one per key)
  transcriber      // per step: logits of O labels, one of them the blank of CTC (speech)
};
RNNCORE_EXPORT const char* name_of(ModelKind kind);  // "language_model", ...
RNNCORE_EXPORT ModelKind model_kind_from_name(const std::string& name);

// How the steps of a sequence become one vector. Steps beyond a sequence's length do not count.
enum class Pooling : std::uint8_t {
  none,  // they do not: every step has its output
  last,  // the last layer's state after the last step (of the reverse direction: after the first)
  mean,  // the mean of the stack's outputs
  max    // their maximum, element by element
};
RNNCORE_EXPORT const char* name_of(Pooling pooling);
RNNCORE_EXPORT Pooling pooling_from_name(const std::string& name);

// Words read letter by letter too: a word's characters go through an embedding and a stack, whose last states (of both
// directions) stand beside the word's own embedding (Ling et al. 2015; Lample et al. 2016).
struct CharacterSpec {
  std::int64_t vocab_size = 0;      // characters; 0: words are read as a whole
  std::int64_t embedding_size = 0;  // of a character
  RecurrentSpec recurrent;          // input_size: embedding_size

  std::int64_t width() const { return vocab_size > 0 ? recurrent.output_size() : 0; }
};

// How a language model gets from the stack's output to a distribution over V words; see ClusteredSoftmax in ops.hpp.
enum class SoftmaxKind : std::uint8_t {
  full,      // a linear layer
  adaptive,  // frequent words, then clusters with smaller and smaller projections, width / div_value^(i+1) (at least
             // 1); with tied weights the clusters keep all features
  classes    // "class": every word in a cluster, no projections
};
RNNCORE_EXPORT const char* name_of(SoftmaxKind kind);
RNNCORE_EXPORT SoftmaxKind softmax_kind_from_name(const std::string& name);
struct SoftmaxSpec {
  SoftmaxKind kind = SoftmaxKind::full;
  std::vector<std::int64_t> cutoffs;  // where the clusters begin, rising, below V; of classes the first is 0
  double div_value = 4.0;             // adaptive
};

// Embedding (V, E), or features -> recurrent stack -> pooling -> linear head (O, width of the stack).
// Parameter names: "embedding.weight", "characters.embedding.weight", "characters.rnn.<as parameters_of>",
// "rnn.<as parameters_of>", "projection.weight" (projection_size, width of the stack), "head.weight" (absent when
// tied), "head.bias", "crf.transitions", "crf.start", "crf.end".
// Instead of head.weight and head.bias, of a softmax with clusters: "head.head.weight", "head.head.bias", and adaptive:
// "head.tail.{i}.0.weight", "head.tail.{i}.1.weight" (PyTorch's), of whole words: "head.words.weight" (absent when
// tied), "head.words.bias", and the head alone is the clusters' (PyTorch's has the frequent words too).
struct ModelSpec {
  ModelKind kind = ModelKind::language_model;
  std::int64_t vocab_size = 0;      // V; 0: the model reads features
  std::int64_t embedding_size = 0;  // E; 0 with features
  CharacterSpec characters;         // taggers and classifiers of words
  RecurrentSpec recurrent;          // input_size: E + characters.width(), or the number of features
  Pooling pooling = Pooling::none;
  std::int64_t output_size = 0;  // O; a language model's may be left 0: V
  // Language models: units of a linear layer without bias between stack and head; 0: none.
  std::int64_t projection_size = 0;
  bool tie_weights = false;  // language models: the head's weight is the embedding's (E = head_inputs())
  SoftmaxSpec softmax;       // language models
  double dropout = 0.0;      // on the stack's input and on its output, in training
  bool crf = false;          // taggers: transitions between tags (O, O) and at both ends; see crf_loss
  bool bio = false;          // taggers: decode gives BIO sequences alone (the model has labels)

  bool reads_tokens() const { return vocab_size > 0; }
  std::int64_t outputs() const { return kind == ModelKind::language_model ? vocab_size : output_size; }
  // Of a softmax with clusters: no cluster has a projection, so that its words' weights are rows of one matrix.
  bool whole_words() const {
    return softmax.kind == SoftmaxKind::classes || (softmax.kind == SoftmaxKind::adaptive && tie_weights);
  }
  std::int64_t head_inputs() const { return projection_size > 0 ? projection_size : recurrent.output_size(); }
};
RNNCORE_EXPORT void check(const ModelSpec& spec);
RNNCORE_EXPORT std::vector<ParameterInfo> parameters_of(const ModelSpec& spec);
RNNCORE_EXPORT std::string to_json(const ModelSpec& spec);
RNNCORE_EXPORT ModelSpec model_spec_from_json(const std::string& json);  // strict: unknown or missing keys are errors

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

struct ModelInput {
  Tensor ids;  // int64 (T, N), for a model that reads tokens; or else
  // Of a model with characters: the different words of the batch, C letters or fewer, and which word stands where.
  Tensor char_ids, char_lengths;   // int64 (C, U), (U)
  Tensor char_index;               // int64 (T, N), 0 to U-1
  Tensor x;                        // (T, N, features)
  RecurrentState state;            // empty: zeros
  Tensor lengths;                  // as in RecurrentInput
  Tensor reset_mask;               // as in RecurrentInput
  bool training = false;           // dropout acts
  Generator* generator = nullptr;  // needed when training with dropout
};
struct ModelOutput {
  Tensor y;  // (T, N, O); after pooling (N, O)
  RecurrentState state;
};

class ModelStream;

// A handle: copies share their parameters.
class RNNCORE_EXPORT Model {
 public:
  // With fresh parameters: the embedding N(0, 1), all others U(-1/sqrt(H), 1/sqrt(H)), as PyTorch's modules begin.
  Model(ModelSpec spec, Generator& generator, DType dtype = DType::float32);
  // With these parameters, in any order. Whatever is missing, unused or of the wrong shape or dtype stands in one
  // ArgumentError. The texts are JSON objects or "null".
  Model(ModelSpec spec, NamedTensors parameters, const std::string& vocabulary_json = "null",
        std::string training_json = "null", const std::string& assets_json = "null");

  const ModelSpec& spec() const { return spec_; }
  DType dtype() const;
  const NamedTensors& named_parameters() const { return parameters_; }  // in the order of parameters_of(spec)
  std::vector<Tensor> parameters() const;                               // the same without names, e.g. for an Optimizer
  Tensor parameter(const std::string& name) const;
  std::vector<Tensor> stack_parameters() const;  // the recurrent stack's, as `recurrent` and `Stream` take them

  bool has_vocabulary() const { return vocabulary_ != nullptr; }
  const Vocabulary& vocabulary() const;  // ArgumentError: it has none, or one of a level that C++ does not read
  void set_vocabulary(const Vocabulary& vocabulary);
  // Of a model with characters: the asset "characters"; null: there is none.
  const Vocabulary* character_vocabulary() const { return characters_.get(); }
  // Words are looked up in lower case (characters keep theirs): the asset "lower".
  bool lower() const { return lower_; }
  const std::string& vocabulary_json() const { return vocabulary_json_; }  // "null", or one object
  const std::string& training_json() const { return training_json_; }      // facts about the training run, or "null"
  // What else belongs to the model, or "null": "labels" (below), and whatever Python's classes keep there.
  const std::string& assets_json() const { return assets_json_; }
  const std::vector<std::string>& labels() const { return labels_; }  // names of the O outputs, or none

  // Differentiable in the parameters (once they ask for gradients), x and the initial state.
  ModelOutput forward(const ModelInput& input) const;
  // The same without head: the stack's output (T, N, H), with dropout in training; pooled (N, H).
  ModelOutput features(const ModelInput& input) const;
  // The most likely class of each sequence (N), or the best tags (T, N), -100 beyond a sequence's length: of a CRF the
  // best path; with `bio` never an invalid one. For classifiers and taggers.
  Tensor decode(const ModelInput& input) const;
  // Gradients are wanted: all parameters become leaves that the tape follows.
  void set_requires_grad(bool value);
  // Copies and packs the parameters as they are now. Not for bidirectional stacks, mean and max pooling, characters.
  ModelStream stream(std::int64_t batch = 1) const;

 private:
  friend struct ModelBuilder;  // src/io
  Model() = default;
  ModelSpec spec_;
  NamedTensors parameters_;
  std::shared_ptr<const Vocabulary> vocabulary_, characters_;
  bool lower_ = false;
  std::string vocabulary_json_ = "null", training_json_ = "null", assets_json_ = "null";
  std::vector<std::string> labels_;
};

// Steps a whole model for N parallel streams: the same bits as `Model::forward` over the sequence. Everything is
// allocated at construction: step() allocates nothing, locks nothing, makes no system call and starts no thread, unless
// use_threads(true) was called.
class RNNCORE_EXPORT ModelStream {
 public:
  explicit ModelStream(const Model& model, std::int64_t batch = 1);
  ~ModelStream();
  ModelStream(ModelStream&&) noexcept;
  ModelStream& operator=(ModelStream&&) noexcept;

  std::int64_t batch() const noexcept;
  std::int64_t input_size() const noexcept;   // features; of a model that reads tokens: 1
  std::int64_t output_size() const noexcept;  // O
  DType dtype() const noexcept;

  // in: (N, features), or ids (N) of a model that reads tokens; out: (N, O). false, and nothing was done: the model has
  // another dtype or reads something else, or an id is outside 0..V-1.
  bool step(const float* in, float* out) noexcept;
  bool step(const double* in, double* out) noexcept;
  bool step(const std::int64_t* ids, float* out) noexcept;
  bool step(const std::int64_t* ids, double* out) noexcept;

  // At most get_num_threads() threads where the work of a step deserves them, instead of one. The bits stay the same.
  void use_threads(bool on);
  void reset() noexcept;                     // all streams to the initial state
  void reset(std::int64_t stream) noexcept;  // one stream
  // Snapshots of all streams as plain bytes, e.g. to take back a step: neither allocates.
  std::size_t state_bytes() const noexcept;
  void save_state(void* out) const noexcept;
  void restore_state(const void* in) noexcept;  // of a stream of the same model and batch
  // Of one of the N streams: the bytes of a ModelStream with a batch of one (state_bytes() / batch() of them), so that
  // a prompt is read once, whatever is made of it. An index outside 0..N-1: nothing is done.
  void save_state(std::int64_t stream, void* out) const noexcept;
  void restore_state(std::int64_t stream, const void* in) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct LoadOptions {
  // true: the parameters are copy-on-write views of the file, mapped into memory: loading takes milliseconds whatever
  // the size, and processes share the pages. The file must not be written to in place while the model lives (replacing
  // it, as save_model does, is safe). false: they are copied.
  bool memory_map = true;
};
// Strict: an unknown version is an IoError; so are missing or unused tensors and wrong shapes and dtypes, all in one.
RNNCORE_EXPORT Model load_model(const std::string& path, const LoadOptions& options = {});
// The same from memory, e.g. from an array inside the program. The bytes are copied.
RNNCORE_EXPORT Model parse_model(const void* bytes, std::size_t size, const std::string& origin = "buffer");
// Atomic: an older file stays as it was where this fails.
RNNCORE_EXPORT void save_model(const std::string& path, const Model& model);

}  // namespace rnncore
