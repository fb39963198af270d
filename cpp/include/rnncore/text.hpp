// Text from and for a language model: scoring by the chain rule and sampling. The same numbers as Python's
// `LanguageModel.score`, `log_prob` and `generate.generate` give for the same model, text and seed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rnncore/model.hpp"
#include "rnncore/ops.hpp"

namespace rnncore {

struct ScoreOptions {
  std::int64_t batch = 1;    // 1: the exact chain rule; more: that many parallel streams, each from a zero state
  std::int64_t chunk = 500;  // steps read at a time; the state is carried, so it bounds memory and no more
};
struct TextScore {
  double nats = 0;          // the negative log-likelihood of all predicted tokens together
  std::int64_t tokens = 0;  // how many were predicted: all but the first
};
// tokens: at least two ids.
RNNCORE_EXPORT TextScore score(const Model& model, const std::vector<std::int64_t>& tokens,
                               const ScoreOptions& options = {});
// log P(text) in nats. Every token but the very first is a factor; with `start` (a token that conditions the first
// prediction, e.g. a line end) the first is one too.
RNNCORE_EXPORT double log_prob(const Model& model, std::string_view text, std::string_view start = {});

struct GenerateOptions {
  std::int64_t length = 500;      // at most this many tokens
  SampleOptions sample;           // temperature, top-k, top-p
  std::vector<std::string> stop;  // a text ends where one of these appears
  std::int64_t num_samples = 1;   // drawn together; sample i depends on (seed, i) alone
  std::uint64_t seed = 0;
};
struct GeneratedText {
  std::string text;                  // what came after the prompt, up to a stop string (which is left out)
  std::vector<std::int64_t> tokens;  // its ids, stop string included
  bool stopped = false;              // a stop string ended it
};
// prompt: what to continue; empty: the start of a line. It is read once, whatever the number of samples.
RNNCORE_EXPORT std::vector<GeneratedText> generate(const Model& model, std::string_view prompt,
                                                   const GenerateOptions& options = {});
// The same after the ids of a prompt, at least one. Of a model whose vocabulary C++ does not read (subwords) the texts
// are empty and `stop` is refused.
RNNCORE_EXPORT std::vector<GeneratedText> generate(const Model& model, const std::vector<std::int64_t>& prompt,
                                                   const GenerateOptions& options = {});

}  // namespace rnncore
