// Model files and the JSON of ModelSpec: exact round trips, strict reading, all problems in one error.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "rnncore/model.hpp"
#include "rnncore/safetensors.hpp"

namespace rnncore {
namespace {

namespace fs = std::filesystem;

class ModelFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "rnncore-model-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = (folder_ / "model.safetensors").string();
  }
  void TearDown() override { fs::remove_all(folder_); }

  static ModelSpec small_spec() {
    ModelSpec spec;
    spec.vocab_size = 5;
    spec.embedding_size = 3;
    spec.recurrent.input_size = 3;
    spec.recurrent.layers = {{CellKind::lstm, 4}, {CellKind::lstm, 3}};
    spec.recurrent.dropout = 0.1;
    spec.dropout = 0.25;
    return spec;
  }

  static NamedTensors small_parameters(const ModelSpec& spec, DType dtype = DType::float32) {
    NamedTensors parameters;
    double value = 0.5;
    for (const ParameterInfo& info : parameters_of(spec))
      parameters.emplace_back(info.name, Tensor::full(info.shape, value += 0.125, dtype));
    return parameters;
  }

  static constexpr const char* kVocabulary = R"({"level":"char","tokens":["a","b","c","d","\u00e9"]})";
  static Model small_model(const ModelSpec& spec, DType dtype = DType::float32) {
    return Model(spec, small_parameters(spec, dtype), kVocabulary);
  }

  // Saves a good model with its tensors and metadata changed, and returns the error of loading it.
  std::string error_after(const std::function<void(TensorFile&)>& change) {
    save_model(path_, small_model(small_spec()));
    TensorFile file = load_tensors(path_);
    change(file);
    save_tensors(path_, file);
    try {
      load_model(path_);
    } catch (const IoError& e) {
      return e.what();
    }
    ADD_FAILURE() << "loaded";
    return {};
  }

  // The same for a change of the text of the metadata.
  std::string error_after_replacing(const std::string& from, const std::string& to) {
    return error_after([&](TensorFile& file) {
      std::string& text = file.metadata.at("rnncore");
      const std::size_t at = text.find(from);
      ASSERT_NE(at, std::string::npos) << text;
      text.replace(at, from.size(), to);
    });
  }

  fs::path folder_;
  std::string path_;
};

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(ModelFileTest, RoundTrip) {
  for (const bool tied : {false, true}) {
    for (const DType dtype : {DType::float32, DType::float64}) {
      ModelSpec spec = small_spec();
      spec.tie_weights = tied;
      const Model saved = small_model(spec, dtype);
      save_model(path_, saved);
      for (const bool map : {false, true}) {
        const Model loaded = load_model(path_, {map});
        EXPECT_EQ(to_json(loaded.spec()), to_json(spec));
        EXPECT_EQ(loaded.vocabulary_json(), "{\"level\":\"char\",\"tokens\":[\"a\",\"b\",\"c\",\"d\",\"\xc3\xa9\"]}");
        EXPECT_EQ(loaded.vocabulary().decode({1, 4}), "b\xc3\xa9");
        EXPECT_EQ(loaded.training_json(), "null");
        ASSERT_EQ(loaded.named_parameters().size(), saved.named_parameters().size());
        for (std::size_t i = 0; i < saved.named_parameters().size(); ++i) {
          const auto& [name, got] = loaded.named_parameters()[i];
          const Tensor& want = saved.named_parameters()[i].second;
          EXPECT_EQ(name, saved.named_parameters()[i].first);
          ASSERT_EQ(got.shape(), want.shape());
          ASSERT_EQ(got.dtype(), dtype);
          EXPECT_EQ(std::memcmp(got.raw(), want.raw(), static_cast<std::size_t>(got.numel() * size_of(dtype))), 0);
        }
      }
    }
  }
}

TEST_F(ModelFileTest, AssetsAreKept) {
  const ModelSpec spec = small_spec();
  save_model(path_, Model(spec, small_parameters(spec), "null", "null", R"({"columns":["a","b"],"mean":[0.1,2]})"));
  EXPECT_EQ(load_model(path_).assets_json(), R"({"columns":["a","b"],"mean":[0.1,2]})");
  save_model(path_, small_model(spec));
  EXPECT_EQ(load_model(path_).assets_json(), "null");
  EXPECT_EQ(load_tensors(path_).metadata.at("rnncore").find("assets"), std::string::npos);
  EXPECT_CONTAINS(error_after_replacing("\"training\":null", "\"training\":null,\"assets\":[1]"),
                  "assets: expected null or an object, got an array");
}

TEST_F(ModelFileTest, ParameterNamesArePyTorchs) {
  ModelSpec spec = small_spec();
  std::string names;
  for (const ParameterInfo& info : parameters_of(spec)) names += info.name + to_string(info.shape) + " ";
  EXPECT_EQ(names,
            "embedding.weight(5, 3) rnn.weight_ih_l0(16, 3) rnn.weight_hh_l0(16, 4) rnn.bias_ih_l0(16,) "
            "rnn.bias_hh_l0(16,) rnn.weight_ih_l1(12, 4) rnn.weight_hh_l1(12, 3) rnn.bias_ih_l1(12,) "
            "rnn.bias_hh_l1(12,) head.weight(5, 3) head.bias(5,) ");
  spec.projection_size = 2;
  names.clear();
  for (const ParameterInfo& info : parameters_of(spec)) names += info.name + to_string(info.shape) + " ";
  EXPECT_CONTAINS(names, "rnn.bias_hh_l1(12,) projection.weight(2, 3) head.weight(5, 2) head.bias(5,) ");
}

TEST_F(ModelFileTest, SpecificationRoundTripsThroughJson) {
  for (const CellKind cell : {CellKind::rnn_tanh, CellKind::rnn_relu, CellKind::rnn_sigmoid, CellKind::lstm,
                              CellKind::gru, CellKind::gru_reset_before}) {
    ModelSpec spec = small_spec();
    for (LayerSpec& layer : spec.recurrent.layers) layer.cell = cell;
    spec.recurrent.bias = false;
    spec.dropout = 0.1;  // no exact binary fraction: the text must still give the same double
    const ModelSpec back = model_spec_from_json(to_json(spec));
    EXPECT_EQ(to_json(back), to_json(spec));
    EXPECT_EQ(back.recurrent.layers.at(1).cell, cell);
    EXPECT_EQ(back.dropout, 0.1);
    EXPECT_FALSE(back.recurrent.bias);
  }
}

TEST_F(ModelFileTest, EveryTensorProblemStandsInOneError) {
  const std::string error = error_after([](TensorFile& file) {
    std::vector<std::pair<std::string, Tensor>> kept;
    for (auto& [name, tensor] : file.tensors) {
      if (name == "head.bias") continue;
      if (name == "rnn.weight_hh_l0") tensor = Tensor::zeros({4, 16});
      if (name == "rnn.bias_ih_l1") tensor = Tensor::zeros({12}, DType::float64);
      kept.emplace_back(name, tensor);
    }
    kept.emplace_back("extra", Tensor::zeros({1}));
    file.tensors = kept;
  });
  EXPECT_CONTAINS(error, "[load_model] " + path_ + ": ");
  EXPECT_CONTAINS(error, "got 4 problems: ");
  EXPECT_CONTAINS(error, "rnn.weight_hh_l0: expected shape (16, 4), got (4, 16)");
  EXPECT_CONTAINS(error, "rnn.bias_ih_l1: expected dtype float32, got float64");
  EXPECT_CONTAINS(error, "head.bias: missing");
  EXPECT_CONTAINS(error, "'extra': unused");
}

TEST_F(ModelFileTest, SpecificationIsReadStrictly) {
  struct Case {
    const char *from, *to, *expected;
  };
  const Case cases[] = {
      {R"("version":1)", R"("version":2)", "version: expected 1, got 2; written by a newer rnncore"},
      {R"("version":1)", R"("version":"1")", "version: expected an integer, got '1'"},
      {R"(,"version":1)", "", "version: missing"},
      {R"("version":1)", R"("version":1,"more":0)", "unknown key 'more'"},
      {R"("version":1)", R"("version":1,"version":1)", "'version' stands twice"},
      {R"("kind":"language_model")", R"("kind":"oracle")",
       "kind: expected language_model | classifier | tagger | forecaster | multilabel | transcriber, got 'oracle'"},
      {R"("output_size":5)", R"("output_size":6)", "output_size: expected vocab_size = 5, got 6"},
      {R"("pooling":"none")", R"("pooling":"none","projection_size":2)", "projection.weight: missing"},
      {R"("pooling":"none")", R"("pooling":"none","projection_size":-2)", "projection_size: expected 1 to"},
      {R"("pooling":"none")", R"("pooling":"sum")", "pooling: expected none | last | mean | max, got 'sum'"},
      {R"("vocab_size":5)", R"("vocab_size":4611686018427387904)", "vocab_size: expected 1 to"},
      {R"("hidden_size":4)", R"("hidden_size":4e0)", "layers[0].hidden_size: expected an integer, got 4.0"},
      {R"("hidden_size":4)", R"("hidden_size":-4)", "hidden_size: expected 1 to"},
      {R"("hidden_size":4)", R"("hidden_size":4,"x":1)", "layers[0]: unknown key 'x'"},
      {R"("cell":"lstm")", R"("cell":"lsmt")", "lsmt"},
      {R"("bias":true)", R"("bias":1)", "model.recurrent.bias: expected true or false, got 1"},
      {R"("bidirectional":false)", R"("bidirectional":true)", "would see the token"},
      {R"("input_size":3)", R"("input_size":4)", "recurrent.input_size: expected embedding_size = 3, got 4"},
      {R"("dropout":0.25)", R"("dropout":1.0)", "dropout: expected a probability in [0, 1)"},
      {R"("tie_weights":false)", R"("tie_weights":true)", "'head.weight': unused"},
      {R"("training":null)", R"("training":[])", "training: expected null or an object, got an array"},
      {R"("training":null,)", "", "training: missing"},
      {R"("training":null)", R"("training":nul)", "not valid JSON"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.to);
    EXPECT_CONTAINS(error_after_replacing(c.from, c.to), c.expected);
  }
}

TEST_F(ModelFileTest, OtherSafetensorsFilesAreRefusedByName) {
  EXPECT_CONTAINS(error_after([](TensorFile& file) { file.metadata = {{"format", "pt"}}; }), "but no rnncore model");
}

// A vocabulary that does not fit stands in the same error as tensors that do not.
TEST_F(ModelFileTest, VocabularyAndTensorProblemsStandTogether) {
  const std::string error = error_after([](TensorFile& file) {
    std::string& text = file.metadata.at("rnncore");
    for (const char* key : {R"("vocab_size":5)", R"("output_size":5)"})
      text[text.find(key) + std::strlen(key) - 1] = '6';
  });
  EXPECT_CONTAINS(error, "vocab_size = 6 entries, got 5");
  EXPECT_CONTAINS(error, "embedding.weight: expected shape (6, 3), got (5, 3)");
  EXPECT_CONTAINS(error, "head.bias: expected shape (6,), got (5,)");
}

TEST_F(ModelFileTest, ParametersAreCheckedBeforeThereIsAModel) {
  const ModelSpec spec = small_spec();
  NamedTensors parameters = small_parameters(spec);
  std::reverse(parameters.begin(), parameters.end());  // any order will do
  EXPECT_EQ(Model(spec, parameters).named_parameters().front().first, "embedding.weight");
  EXPECT_THROW(Model(spec, parameters, "{"), ArgumentError);
  EXPECT_THROW(Model(spec, parameters, R"({"level":"char","tokens":["a"]})"), ArgumentError);
  EXPECT_THROW(Model(spec, parameters, "null", "[]"), ArgumentError);
  parameters.pop_back();
  EXPECT_THROW(Model(spec, parameters), ArgumentError);
  ModelSpec empty = spec;
  empty.recurrent.layers.clear();
  EXPECT_THROW(Model(empty, parameters), ArgumentError);
  EXPECT_THROW(model_spec_from_json("[]"), ArgumentError);
}

// A vocabulary of a level that only Python reads is kept, and refused by name where text is wanted.
TEST_F(ModelFileTest, OtherVocabularyLevelsAreKept) {
  const std::string json = R"({"file":"bpe","level":"subword"})";
  save_model(path_, Model(small_spec(), small_parameters(small_spec()), json));
  const Model loaded = load_model(path_);
  EXPECT_EQ(loaded.vocabulary_json(), json);
  EXPECT_FALSE(loaded.has_vocabulary());
  EXPECT_THROW(loaded.vocabulary(), ArgumentError);
}

TEST_F(ModelFileTest, TheBytesOfAFileAreAModelToo) {
  save_model(path_, small_model(small_spec()));
  std::ifstream in(path_, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  const Model model = parse_model(bytes.data(), bytes.size(), "bytes");
  bytes.assign(bytes.size(), '\0');  // they were copied
  EXPECT_EQ(model.parameter("embedding.weight").data<float>()[0], 0.625f);
  EXPECT_THROW(parse_model(bytes.data(), bytes.size()), IoError);
}

// Copy on write: what is trained in place stays in this process, and the mapping outlives the file's name.
TEST_F(ModelFileTest, AMappedModelIsTrainedInPlaceAndTheFileStays) {
  save_model(path_, small_model(small_spec()));
  Model model = load_model(path_);
  Tensor weight = model.parameter("head.weight");
  weight.fill_(7.0);
  EXPECT_EQ(load_model(path_).parameter("head.weight").data<float>()[0], 1.75f);
  save_model(path_, model);  // over the file that is mapped
  EXPECT_EQ(load_model(path_, {false}).parameter("head.weight").data<float>()[0], 7.0f);
  fs::remove(path_);
  EXPECT_EQ(weight.data<float>()[14], 7.0f);
  EXPECT_EQ(model.parameter("embedding.weight").data<float>()[14], 0.625f);
}

// Tensors at odd addresses (another writer's header) are copied, not viewed.
TEST_F(ModelFileTest, UnalignedDataIsRead) {
  save_model(path_, small_model(small_spec()));
  std::ifstream in(path_, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  bytes.insert(bytes.find('{'), "");
  const std::size_t end = bytes.find_last_of('}') + 1;
  std::size_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  bytes.erase(8 + length - 1, 1);
  if (8 + length - 1 < end) GTEST_SKIP() << "no padding to take away";
  --length;
  std::memcpy(bytes.data(), &length, 8);
  std::ofstream(path_, std::ios::binary) << bytes;
  const Model model = load_model(path_);
  EXPECT_EQ(model.parameter("embedding.weight").data<float>()[14], 0.625f);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(model.parameter("embedding.weight").raw()) % 4, 0u);
}

// The fuzzer starts from files that are accepted: where the format grows they must follow, or it no longer gets far.
TEST_F(ModelFileTest, TheFuzzersSeedsAreModels) {
  int models = 0;
  for (const auto& entry : fs::directory_iterator(RNNCORE_GOLDEN_FOLDER "/../fuzz/corpus")) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".file" || name.rfind("bad_", 0) == 0) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    EXPECT_NO_THROW(parse_model(bytes.data() + 1, bytes.size() - 1)) << name;  // the first byte chooses the reader
    ++models;
  }
  EXPECT_GE(models, 6);
}

}  // namespace
}  // namespace rnncore
