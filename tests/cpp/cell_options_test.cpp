// What a cell's options may be: errors at construction, JSON and parameters.
// What breaks it: an option that is accepted where it means nothing, or is lost in a file.
#include <gtest/gtest.h>

#include "rnncore/rnncore.hpp"

namespace rnncore {
namespace {

std::string refusal(CellKind cell, const char* json) {
  RecurrentSpec spec;
  spec.input_size = 3;
  try {
    spec.layers = {{cell, 4, cell_options_from_json(json)}};
    check(spec);
  } catch (const ArgumentError& e) {
    return e.what();
  }
  return "";
}

void expect_refusal(CellKind cell, const char* json, const char* argument, const char* reason) {
  const std::string message = refusal(cell, json);
  EXPECT_NE(message.find(argument), std::string::npos) << json << ": " << message;
  EXPECT_NE(message.find(reason), std::string::npos) << json << ": " << message;
}

TEST(CellOptions, AreRefusedWhereTheyMeanNothing) {
  expect_refusal(CellKind::gru, R"({"peephole": true})", "peephole", "only the LSTM");
  expect_refusal(CellKind::gru, R"({"coupled": true})", "coupled", "only the LSTM");
  expect_refusal(CellKind::rnn, R"({"forget_gate": false})", "forget_gate", "only the LSTM");
  expect_refusal(CellKind::gru, R"({"truncate_gates": true})", "truncate_gates", "only the LSTM");
  expect_refusal(CellKind::gru, R"({"activations": {"hidden": {"kind": "relu"}}})", "activations.hidden", "LSTM");
  expect_refusal(CellKind::rnn, R"({"activations": {"gate": {"kind": "relu"}}})", "activations.gate", "no gates");
  expect_refusal(CellKind::rnn_tanh, R"({"activations": {"candidate": {"kind": "relu"}}})", "activations.candidate",
                 "use the cell 'rnn'");
  expect_refusal(CellKind::lstm, R"({"coupled": true, "forget_gate": false})", "coupled", "not both");
  expect_refusal(CellKind::gru, R"({"zoneout_c": 0.1})", "zoneout_c", "only the LSTM");
  expect_refusal(CellKind::lstm, R"({"leak": 0.1})", "leak", "Elman");
  expect_refusal(CellKind::rnn, R"({"leak": 0.1, "zoneout_h": 0.1})", "zoneout_h", "how much of the old state");
  expect_refusal(CellKind::indrnn, R"({"state_dropout": 0.1})", "state_dropout", "no recurrent product");
}

TEST(CellOptions, ARefusalSaysWhatWasGiven) {
  expect_refusal(CellKind::gru, R"({"peephole": true})", "peephole", "got true");
  expect_refusal(CellKind::gru, R"({"forget_gate": false})", "forget_gate", "got false");
  expect_refusal(CellKind::gru, R"({"zoneout_c": 0.25})", "zoneout_c", "got 0.25");
  expect_refusal(CellKind::lstm, R"({"leak": 0.5})", "leak", "got 0.5");
  expect_refusal(CellKind::gru, R"({"activations": {"hidden": {"kind": "relu"}}})", "activations.hidden", "got 'relu'");
}

TEST(CellOptions, AreRefusedOutOfRange) {
  expect_refusal(CellKind::lstm, R"({"clip": -1})", "clip", "a positive number");
  expect_refusal(CellKind::lstm, R"({"zoneout_h": 1})", "zoneout_h", "[0, 1)");
  expect_refusal(CellKind::rnn, R"({"leak": 0})", "leak", "(0, 1]");
  expect_refusal(CellKind::lstm, R"({"activations": {"gate": {"kind": "tanh", "alpha": 1}}})", "activations.gate.alpha",
                 "none for 'tanh'");
  expect_refusal(CellKind::lstm, R"({"activations": {"gate": {"kind": "elu", "alpha": -1}}})", "activations.gate.alpha",
                 "at least 0");
  expect_refusal(CellKind::lstm, R"({"activations": {"gate": {"kind": "scaled-tanh", "alpha": 0}}})", "alpha",
                 "other than 0");
}

TEST(CellOptions, GroupsAreEqualAndSlower) {
  expect_refusal(CellKind::rnn, R"({"group_periods": [1, 2, 4]})", "hidden_size", "a multiple of the 3 groups");
  expect_refusal(CellKind::rnn, R"({"group_periods": [2, 1]})", "group_periods", "ascending");
  expect_refusal(CellKind::rnn, R"({"group_periods": [2, 2]})", "group_periods", "[2, 2]");
  expect_refusal(CellKind::rnn, R"({"group_periods": [0, 1]})", "group_periods", "from 1 to 65536");
  expect_refusal(CellKind::rnn, R"({"group_periods": [1.5]})", "group_periods", "whole numbers");
  expect_refusal(CellKind::rnn, R"({"group_periods": 2})", "group_periods", "array");
  expect_refusal(CellKind::rnn, R"({"group_periods": [1, 2], "layer_norm": true})", "layer_norm", "statistics");
  expect_refusal(CellKind::lstm, R"({"group_periods": [1, 2], "zoneout_c": 0.1})", "zoneout_c", "got 0.1");
  expect_refusal(CellKind::lstm, R"({"group_periods": [1, 2], "zoneout_h": 0.2})", "zoneout_h", "keep their state");
  expect_refusal(CellKind::rnn, R"({"group_periods": [1, 2], "leak": 0.5})", "leak", "keep their state");
  RecurrentSpec spec;
  spec.input_size = 3;
  spec.layers = {{CellKind::rnn, 4, cell_options_from_json(R"({"group_periods": [1, 8]})"), {}, 2}};
  EXPECT_THROW(check(spec), ArgumentError);
  spec.layers[0].period = 1;
  EXPECT_EQ(to_json(recurrent_spec_from_json(to_json(spec))), to_json(spec));
  EXPECT_NE(to_json(spec).find(R"("group_periods":[1,8])"), std::string::npos) << to_json(spec);
}

TEST(CellOptions, UnknownKeysAndKindsAreErrors) {
  expect_refusal(CellKind::lstm, R"({"peepholes": true})", "peepholes", "unknown key");
  expect_refusal(CellKind::lstm, R"({"activations": {"g": {"kind": "tanh"}}})", "'g'", "unknown key");
  expect_refusal(CellKind::lstm, R"({"activations": {"gate": {"kind": "gelu"}}})", "activation", "hard-sigmoid");
  expect_refusal(CellKind::lstm, R"({"peephole": 1})", "peephole", "true or false");
  expect_refusal(CellKind::lstm, R"([])", "options", "an object");
}

TEST(CellOptions, JsonHoldsWhatDiffersFromTheDefault) {
  EXPECT_EQ(to_json(CellOptions()), "{}");
  const char* const json = R"({"activations":{"gate":{"alpha":0.25,"kind":"hard-sigmoid"},"hidden":{"kind":"relu"}},)"
                           R"("clip":2.5,"coupled":true,"peephole":true,"truncate_gates":true})";
  EXPECT_EQ(to_json(cell_options_from_json(json)), json);
  EXPECT_EQ(to_json(cell_options_from_json(R"({"clip": 0, "forget_gate": true})")), "{}");
}

TEST(CellOptions, EveryActivationHasItsOwnName) {
  for (int i = 0; i <= static_cast<int>(Activation::softplus); ++i) {
    const Activation kind = static_cast<Activation>(i);
    EXPECT_EQ(activation_from_name(name_of(kind)), kind);
  }
}

TEST(CellOptions, DecideParameters) {
  const auto shapes = [](const char* json, bool bias) {
    RecurrentSpec spec;
    spec.input_size = 3;
    spec.layers = {{CellKind::lstm, 4, cell_options_from_json(json)}};
    spec.bias = bias;
    std::string text;
    for (const ParameterInfo& p : parameters_of(spec)) text += p.name + to_string(p.shape) + " ";
    return text;
  };
  EXPECT_EQ(shapes(R"({"peephole": true})", true),
            "weight_ih_l0(16, 3) weight_hh_l0(16, 4) bias_ih_l0(16,) bias_hh_l0(16,) weight_peephole_l0(3, 4) ");
  EXPECT_EQ(shapes(R"({"peephole": true, "coupled": true})", false),
            "weight_ih_l0(12, 3) weight_hh_l0(12, 4) weight_peephole_l0(2, 4) ");
}

TEST(CellOptions, SurviveAModelFile) {
  ModelSpec spec;
  spec.vocab_size = 7;
  spec.embedding_size = 3;
  spec.recurrent.input_size = 3;
  spec.recurrent.layers = {{CellKind::lstm, 4, cell_options_from_json(R"({"peephole": true})")}, {CellKind::lstm, 4}};
  const std::string json = to_json(spec);
  EXPECT_NE(json.find(R"("options":{"peephole":true})"), std::string::npos) << json;
  EXPECT_EQ(to_json(model_spec_from_json(json)), json);
  EXPECT_TRUE(model_spec_from_json(json).recurrent.layers[0].options.peephole);
  EXPECT_TRUE(is_plain(model_spec_from_json(json).recurrent.layers[1].options));
}

}  // namespace
}  // namespace rnncore
