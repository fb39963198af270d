// Text in and out of a Model: scores, probabilities, continuations.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "rnncore/rnncore.hpp"

namespace rnncore {
namespace {

ModelSpec small_spec(ModelKind kind) {
  ModelSpec spec;
  spec.kind = kind;
  spec.vocab_size = 3;
  spec.embedding_size = spec.recurrent.input_size = 6;
  spec.recurrent.layers = {{CellKind::lstm, 5}, {CellKind::lstm, 6}};
  spec.output_size = 3;
  return spec;
}

Model text_model() {
  const ModelSpec spec = small_spec(ModelKind::language_model);
  Generator generator(10);
  Model model(spec, generator);
  model.set_vocabulary(Vocabulary(TextLevel::character, {"a", "\xc3\xa9", "\n"}));
  return model;
}

TEST(Text, TheScoreIsTheSumOfLogProbabilities) {
  const Model model = text_model();
  const std::vector<std::int64_t> tokens = {0, 1, 2, 2, 1, 0, 0, 1};
  ModelInput input;
  input.ids = Tensor::from(tokens.data(), {7, 1});
  const Tensor logits = model.forward(input).y.reshape({7, 3});
  const double want = cross_entropy(logits, Tensor::from(tokens.data() + 1, {7}), {Reduction::sum}).item();
  EXPECT_NEAR(score(model, tokens).nats, want, 1e-5);
  EXPECT_NEAR(score(model, tokens, {1, 2}).nats, want, 1e-5);  // in chunks
  EXPECT_EQ(score(model, tokens, {3, 2}).tokens, 7);           // in three streams, padded
  EXPECT_NEAR(log_prob(model,
                       "a\xc3\xa9\n\n\xc3\xa9"
                       "aa\xc3\xa9"),
              -want, 1e-5);
  EXPECT_LT(log_prob(model, "a", "\n"), 0.0);
  EXPECT_THROW(score(model, {0}), ArgumentError);
  EXPECT_THROW(score(model, {0, 3}), ArgumentError);
}

// The probabilities of all continuations of one length sum to 1.
TEST(Text, ProbabilitiesSumToOne) {
  const Model model = text_model();
  const std::vector<std::string> letters = {"a", "\xc3\xa9", "\n"};
  double total = 0;
  for (const std::string& u : letters)
    for (const std::string& v : letters)
      for (const std::string& w : letters) total += std::exp(log_prob(model, u + v + w, "a"));
  EXPECT_NEAR(total, 1.0, 1e-6);
}

TEST(Text, GenerationDependsOnSeedAndSampleAlone) {
  const Model model = text_model();
  GenerateOptions options;
  options.length = 30;
  options.seed = 5;
  options.num_samples = 3;
  const std::vector<GeneratedText> three = generate(model, "a", options);
  options.num_samples = 1;
  EXPECT_EQ(generate(model, "a", options)[0].text, three[0].text);
  EXPECT_NE(three[0].text, three[1].text);
  EXPECT_EQ(three[0].tokens.size(), 30u);
  const std::vector<std::int64_t> prompt = model.vocabulary().encode("a", false);
  EXPECT_EQ(generate(model, prompt, options)[0].tokens, three[0].tokens);
  EXPECT_THROW(generate(model, std::vector<std::int64_t>{}, options), ArgumentError);
  EXPECT_THROW(generate(model, std::vector<std::int64_t>{99}, options), ArgumentError);
  options.stop = {
      "\xc3\xa9"
      "a"};
  const GeneratedText stopped = generate(model, "", options)[0];
  EXPECT_TRUE(stopped.stopped);
  EXPECT_EQ(stopped.text.find("\xc3\xa9"
                              "a"),
            std::string::npos);
  options.stop = {""};
  EXPECT_THROW(generate(model, "a", options), ArgumentError);
  EXPECT_THROW(generate(model, "b", {}), ArgumentError);
  Generator generator(1);
  EXPECT_THROW(generate(Model(small_spec(ModelKind::tagger), generator), "a"), ArgumentError);
}

}  // namespace
}  // namespace rnncore
