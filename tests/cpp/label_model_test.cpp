// Classifiers and taggers whole: characters beside words, CRF and BIO in decode, labels in files.
#include <gtest/gtest.h>

#include <cstdio>
#include <limits>

#include "rnncore/rnncore.hpp"

namespace rnncore {
namespace {

constexpr std::int64_t kTime = 5, kBatch = 3, kWords = 4, kLetters = 6;
const char* const kLabels = R"({"labels":["O","B-a","I-a"],"more":[1,2]})";

ModelSpec tagger(bool characters, bool crf, bool bio) {
  ModelSpec spec;
  spec.kind = ModelKind::tagger;
  spec.vocab_size = 9;
  spec.embedding_size = 4;
  if (characters) {
    spec.characters.vocab_size = 7;
    spec.characters.embedding_size = 3;
    spec.characters.recurrent.input_size = 3;
    spec.characters.recurrent.layers = {{CellKind::gru, 2}};
    spec.characters.recurrent.bidirectional = true;
  }
  spec.recurrent.input_size = 4 + spec.characters.width();
  spec.recurrent.layers = {{CellKind::lstm, 5}};
  spec.recurrent.bidirectional = true;
  spec.output_size = 3;
  spec.crf = crf;
  spec.bio = bio;
  return spec;
}

Tensor random_ids(const Shape& shape, std::int64_t bound, Generator& generator) {
  Tensor ids = Tensor::empty(shape, DType::int64);
  for (std::int64_t i = 0; i < ids.numel(); ++i) ids.mutable_data<std::int64_t>()[i] = generator.below(bound);
  return ids;
}

ModelInput input_of(const ModelSpec& spec) {
  Generator generator(5);
  ModelInput input;
  input.ids = random_ids({kTime, kBatch}, spec.vocab_size, generator);
  const std::int64_t lengths[] = {5, 2, 4};
  input.lengths = Tensor::from(lengths, {kBatch});
  if (spec.characters.vocab_size == 0) return input;
  input.char_ids = random_ids({kLetters, kWords}, spec.characters.vocab_size, generator);
  const std::int64_t letters[] = {6, 1, 3, 4};
  input.char_lengths = Tensor::from(letters, {kWords});
  input.char_index = random_ids({kTime, kBatch}, kWords, generator);
  return input;
}

Model model_of(const ModelSpec& spec, std::uint64_t seed = 1) {
  Generator generator(seed);
  const Model fresh(spec, generator);
  return Model(spec, fresh.named_parameters(), "null", "null", kLabels);
}

// Each word's letters alone, without padding: its last states stand beside its embedding.
TEST(LabelModel, CharactersStandBesideTheWord) {
  const ModelSpec spec = tagger(true, false, false);
  const Model model = model_of(spec);
  const ModelInput input = input_of(spec);
  std::vector<Tensor> words;
  std::vector<Tensor> parameters;
  for (const auto& [name, tensor] : model.named_parameters())
    if (name.rfind("characters.rnn.", 0) == 0) parameters.push_back(tensor);
  ASSERT_EQ(parameters.size(), 8u);
  for (std::int64_t u = 0; u < kWords; ++u) {
    RecurrentInput in;
    const Tensor letters = slice(slice(input.char_ids, 1, u, u + 1), 0, 0, input.char_lengths.data<std::int64_t>()[u]);
    in.x = embedding(model.parameter("characters.embedding.weight"), letters);
    const RecurrentState last = recurrent(spec.characters.recurrent, parameters, in).state;
    words.push_back(cat({last.h[0], last.h[1]}, 1));
  }
  RecurrentInput in;
  in.x =
      cat({embedding(model.parameter("embedding.weight"), input.ids), embedding(cat(words, 0), input.char_index)}, 2);
  in.lengths = input.lengths;
  const Tensor y = recurrent(spec.recurrent, model.stack_parameters(), in).y;
  const Tensor want = linear(y, model.parameter("head.weight"), model.parameter("head.bias"));
  const Tensor got = model.forward(input).y;
  for (std::int64_t i = 0; i < got.numel(); ++i) EXPECT_NEAR(got.data<float>()[i], want.data<float>()[i], 1e-6);
  ModelInput without = input;
  without.char_index = Tensor();
  EXPECT_THROW(model.forward(without), ArgumentError);
  EXPECT_THROW(model.stream(), ArgumentError);
}

TEST(LabelModel, DecodeIsTheBestPathOfTheForwardPass) {
  for (const bool crf : {false, true})
    for (const bool bio : {false, true}) {
      const ModelSpec spec = tagger(true, crf, bio);
      Model model = model_of(spec);
      if (crf) {
        Generator generator(8);
        for (const char* name : {"crf.transitions", "crf.start", "crf.end"}) {
          Tensor parameter = model.parameter(name);
          generator.normal_(parameter, 0, 2);
        }
      }
      const ModelInput input = input_of(spec);
      CrfWeights weights{Tensor::zeros({3, 3}), Tensor::zeros({3}), Tensor::zeros({3})};
      if (crf) weights = {model.parameter("crf.transitions"), model.parameter("crf.start"), model.parameter("crf.end")};
      if (bio) {
        const CrfWeights penalties = bio_penalties(model.labels());
        weights.transitions = add(weights.transitions, penalties.transitions);
        weights.start = add(weights.start, penalties.start);
      }
      const Tensor got = model.decode(input), want = crf_decode(model.forward(input).y, weights, input.lengths);
      for (std::int64_t i = 0; i < got.numel(); ++i)
        EXPECT_EQ(got.data<std::int64_t>()[i], want.data<std::int64_t>()[i]);
    }
}

TEST(LabelModel, ClassesAreTheLargestScores) {
  ModelSpec spec = tagger(true, false, false);
  spec.kind = ModelKind::classifier;
  spec.pooling = Pooling::max;
  const Model model = model_of(spec);
  const ModelInput input = input_of(spec);
  const Tensor got = model.decode(input), want = argmax(model.forward(input).y, 1);
  ASSERT_EQ(got.shape(), Shape{kBatch});
  for (std::int64_t n = 0; n < kBatch; ++n) EXPECT_EQ(got.data<std::int64_t>()[n], want.data<std::int64_t>()[n]);
}

TEST(LabelModel, FilesKeepCharactersCrfAndAssets) {
  const ModelSpec spec = tagger(true, true, true);
  const Model model = model_of(spec);
  const std::string path = testing::TempDir() + "label_model_test.safetensors";
  save_model(path, model);
  const Model loaded = load_model(path);
  EXPECT_EQ(to_json(loaded.spec()), to_json(spec));
  EXPECT_EQ(loaded.labels(), (std::vector<std::string>{"O", "B-a", "I-a"}));
  EXPECT_EQ(loaded.assets_json(), kLabels);
  const ModelInput input = input_of(spec);
  const Tensor got = loaded.decode(input), want = model.decode(input);
  for (std::int64_t i = 0; i < got.numel(); ++i) EXPECT_EQ(got.data<std::int64_t>()[i], want.data<std::int64_t>()[i]);
  std::remove(path.c_str());
}

// Training in place: the loss of a CRF falls, and every parameter takes part.
TEST(LabelModel, TrainsInPlace) {
  const ModelSpec spec = tagger(true, true, false);
  Model model = model_of(spec);
  model.set_requires_grad(true);
  const ModelInput input = input_of(spec);
  const Tensor targets = Tensor::full({kTime, kBatch}, 2, DType::int64);
  Optimizer optimizer(model.parameters(), OptimizerOptions{});
  double first = 0, last = 0;
  for (int step = 0; step < 20; ++step) {
    optimizer.zero_grad();
    const CrfWeights weights{model.parameter("crf.transitions"), model.parameter("crf.start"),
                             model.parameter("crf.end")};
    const Tensor loss = sum(crf_loss(model.forward(input).y, weights, targets, input.lengths));
    loss.backward();
    if (step == 0)
      for (const auto& [name, parameter] : model.named_parameters()) EXPECT_TRUE(parameter.grad().defined()) << name;
    optimizer.step();
    (step == 0 ? first : last) = loss.item();
  }
  EXPECT_LT(last, first);
}

void expect_refused(const ModelSpec& spec, const char* part) {
  try {
    check(spec);
    ADD_FAILURE() << part;
  } catch (const ArgumentError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(LabelModel, WhatDoesNotFitIsRefused) {
  ModelSpec spec = tagger(true, false, false);
  spec.recurrent.input_size = 4;
  expect_refused(spec, "recurrent.input_size");
  spec = tagger(true, false, false);
  spec.kind = ModelKind::language_model;
  expect_refused(spec, "characters");
  spec = tagger(true, false, false);
  spec.characters.recurrent.input_size = 2;
  expect_refused(spec, "characters.recurrent.input_size");
  spec = tagger(false, true, false);
  spec.kind = ModelKind::forecaster;
  expect_refused(spec, "crf");
  const ModelSpec bio = tagger(false, false, true);
  Generator generator(1);
  const Model fresh(bio, generator);
  EXPECT_THROW(Model(bio, fresh.named_parameters()), ArgumentError) << "bio needs labels";
  EXPECT_THROW(Model(bio, fresh.named_parameters(), "null", "null", R"({"labels":["O"]})"), ArgumentError);
  EXPECT_THROW(Model(bio, fresh.named_parameters(), "null", "null", R"({"labels":[1,2,3]})"), ArgumentError);
}

// Words are looked up in lower case, their letters are read as they stand; labels are those of the best path.
TEST(LabelModel, TextsBecomeIdsAndLabels) {
  const ModelSpec spec = tagger(true, true, true);
  Generator generator(1);
  const Model fresh(spec, generator);
  const char* const words =
      R"({"level":"word","tokens":["<unk>","the","été","c","d","e","f","g","h"],"unknown":"<unk>"})";
  const char* const assets = R"({"labels":["O","B-a","I-a"],"lower":true,"characters":)"
                             R"({"level":"char","tokens":["<unk>","t","h","e","É","T","m"],"unknown":"<unk>"}})";
  const Model model(spec, fresh.named_parameters(), words, "null", assets);
  const std::vector<std::string> texts = {"the ÉTÉ\tthe", "", "mat the"};
  const ModelInput input = text_input(model, texts);
  const auto values = [](const Tensor& ids) {
    return std::vector<std::int64_t>(ids.data<std::int64_t>(), ids.data<std::int64_t>() + ids.numel());
  };
  EXPECT_EQ(input.ids.shape(), (Shape{3, 3}));
  EXPECT_EQ(values(input.ids), (std::vector<std::int64_t>{1, 0, 0, 2, 0, 1, 1, 0, 0}));
  EXPECT_EQ(values(input.lengths), (std::vector<std::int64_t>{3, 0, 2}));
  EXPECT_EQ(values(input.char_index), (std::vector<std::int64_t>{0, 0, 2, 1, 0, 0, 0, 0, 0}));
  EXPECT_EQ(values(input.char_ids), (std::vector<std::int64_t>{1, 4, 6, 2, 5, 0, 3, 4, 1}));
  const std::vector<std::vector<std::string>> labels = label(model, texts);
  const std::vector<std::int64_t> best = values(model.decode(input));
  ASSERT_EQ(labels[1].size(), 0u);
  ASSERT_EQ(labels[2].size(), 2u);
  for (std::size_t t = 0; t < 3; ++t) EXPECT_EQ(labels[0][t], model.labels()[static_cast<std::size_t>(best[3 * t])]);
  EXPECT_THROW(text_input(model, {}), ArgumentError);
  EXPECT_THROW(text_input(model_of(spec), texts), ArgumentError) << "no vocabularies";
  EXPECT_THROW(Model(spec, fresh.named_parameters(), words, "null", R"({"labels":["O","B-a","I-a"],"lower":1})"),
               ArgumentError);
}

}  // namespace
}  // namespace rnncore
