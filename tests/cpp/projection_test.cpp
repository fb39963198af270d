// Projected LSTMs (proj_size) in every wiring, against the properties of wiring.h; their values against a plain loop
// here, against PyTorch in tests/golden and tests/python. What breaks it: a state that is taken for H wide where it has
// R features (or c the other way round), a reset or a length that acts on the cell's output and not on h.
#include <cmath>

#include "wiring.h"

namespace rnncore {
namespace {

using test::expect_sound_wiring;
using test::numbers;

LayerSpec projected(std::int64_t H, std::int64_t R, const char* options = "{}") {
  LayerSpec layer{CellKind::lstm, H, cell_options_from_json(options)};
  layer.proj_size = R;
  return layer;
}
RecurrentSpec stack(std::int64_t I, std::vector<LayerSpec> layers) {
  RecurrentSpec spec;
  spec.input_size = I;
  spec.layers = std::move(layers);
  return spec;
}

// Sak et al. 2014, equations 7 to 12 (without peepholes), in double: y (T, N, R), h, c.
struct Plain {
  std::vector<double> y, h, c;
};
Plain plain_lstm(const RecurrentSpec& spec, const std::vector<Tensor>& p, const Tensor& x) {
  const std::int64_t T = x.size(0), N = x.size(1), I = x.size(2);
  const std::int64_t H = spec.layers[0].hidden_size, R = spec.layers[0].proj_size;
  const double *w_ih = p[0].data<double>(), *w_hh = p[1].data<double>(), *b_ih = p[2].data<double>(),
               *b_hh = p[3].data<double>(), *w_hr = p[4].data<double>();
  const auto sigmoid = [](double a) { return 1 / (1 + std::exp(-a)); };
  Plain out;
  out.h.assign(static_cast<std::size_t>(N * R), 0);
  out.c.assign(static_cast<std::size_t>(N * H), 0);
  for (std::int64_t t = 0; t < T; ++t) {
    for (std::int64_t n = 0; n < N; ++n) {
      std::vector<double> gates(static_cast<std::size_t>(4 * H)), m(static_cast<std::size_t>(H));
      for (std::int64_t g = 0; g < 4 * H; ++g) {
        double a = b_ih[g] + b_hh[g];
        for (std::int64_t i = 0; i < I; ++i) a += w_ih[g * I + i] * x.data<double>()[(t * N + n) * I + i];
        for (std::int64_t r = 0; r < R; ++r) a += w_hh[g * R + r] * out.h[static_cast<std::size_t>(n * R + r)];
        gates[static_cast<std::size_t>(g)] = a;
      }
      const auto gate = [&](std::int64_t number, std::int64_t u) {
        return gates[static_cast<std::size_t>(number * H + u)];
      };
      for (std::int64_t u = 0; u < H; ++u) {
        double& c = out.c[static_cast<std::size_t>(n * H + u)];
        c = sigmoid(gate(1, u)) * c + sigmoid(gate(0, u)) * std::tanh(gate(2, u));
        m[static_cast<std::size_t>(u)] = sigmoid(gate(3, u)) * std::tanh(c);
      }
      for (std::int64_t r = 0; r < R; ++r) {
        double h = 0;
        for (std::int64_t u = 0; u < H; ++u) h += w_hr[r * H + u] * m[static_cast<std::size_t>(u)];
        out.h[static_cast<std::size_t>(n * R + r)] = h;
      }
    }
    out.y.insert(out.y.end(), out.h.begin(), out.h.end());
  }
  return out;
}

TEST(Projection, EqualsAPlainLoopOnEveryTarget) {
  const std::string best = target_name();
  for (const std::string& target : supported_targets()) {
    set_target(target);
    for (const auto& [H, R] : {std::pair<std::int64_t, std::int64_t>{2, 1}, {7, 3}, {20, 17}, {33, 16}, {70, 5}})
      for (const std::int64_t N : {1, 5}) {
        const RecurrentSpec spec = stack(4, {projected(H, R)});
        const std::vector<Tensor> parameters = test::make_parameters(spec);
        RecurrentInput input;
        input.x = numbers({6, N, 4}, 3);
        const RecurrentOutput out = recurrent(spec, parameters, input);
        const Plain wanted = plain_lstm(spec, parameters, input.x);
        const auto expect_near = [&](const Tensor& got, const std::vector<double>& want, const char* what) {
          ASSERT_EQ(got.numel(), static_cast<std::int64_t>(want.size())) << what;
          for (std::size_t i = 0; i < want.size(); ++i)
            ASSERT_NEAR(got.data<double>()[i], want[i], 1e-12) << target << " H=" << H << " " << what << " " << i;
        };
        expect_near(out.y, wanted.y, "y");
        expect_near(out.state.h[0], wanted.h, "h");
        expect_near(out.state.c[0], wanted.c, "c");
      }
  }
  set_target(best);
}

TEST(Projection, InAStackOfCells) {
  expect_sound_wiring(stack(3, {projected(5, 2), {CellKind::gru, 4}, projected(7, 6), projected(4, 1)}));
}

TEST(Projection, WithOptions) {
  expect_sound_wiring(stack(2, {projected(5, 3, R"({"peephole": true, "coupled": true, "clip": 1.1})")}));
  expect_sound_wiring(stack(2, {projected(4, 3, R"({"zoneout_h": 0.2, "zoneout_c": 0.3})")}));
  expect_sound_wiring(stack(2, {projected(5, 2, R"({"layer_norm": true, "peephole": true})")}));
}

TEST(Projection, InBothDirections) {
  for (const Merge merge : {Merge::concat, Merge::sum, Merge::mean}) {
    RecurrentSpec spec = stack(2, {projected(4, 3), projected(5, 2)});
    spec.bidirectional = true;
    spec.merge = merge;
    expect_sound_wiring(spec);
  }
}

TEST(Projection, WithDelays) {
  expect_sound_wiring(stack(2, {projected(5, 2, R"({"peephole": true})")}));
  RecurrentSpec spec = stack(2, {projected(6, 3), projected(4, 2)});
  spec.layers[0].delays = {2, 4};
  spec.layers[1].delays = {3};
  expect_sound_wiring(spec);
  spec.bidirectional = true;
  expect_sound_wiring(spec);
}

TEST(Projection, AtPeriods) {
  RecurrentSpec spec = stack(2, {projected(4, 3), projected(5, 2)});
  spec.layers[1].period = 3;
  spec.layers[1].delays = {2};
  expect_sound_wiring(spec);
}

TEST(Projection, WithConnections) {
  for (const Connection connection : {Connection::residual, Connection::highway, Connection::dense}) {
    RecurrentSpec spec = stack(3, {projected(6, 4), projected(5, 4), projected(5, 2)});
    spec.connection = connection;
    expect_sound_wiring(spec);
  }
}

TEST(Projection, WithLearntInitialStates) {
  RecurrentSpec spec = stack(2, {projected(5, 3), projected(4, 2)});
  spec.layers[0].delays = {2};
  spec.learn_initial_state = true;
  expect_sound_wiring(spec);
}

TEST(Projection, GoingBackwards) {
  RecurrentSpec spec = stack(3, {projected(5, 2)});
  spec.reverse = true;
  for (const bool masked : {false, true}) {
    test::expect_wiring_gradients(spec, 6, 3, {masked, masked}, true);
    test::expect_threads_agree(spec, 9, 5, {masked, masked});
  }
  test::expect_padded_equals_alone(spec, true);
  test::expect_resets_equal_separate(spec);
}

// Large enough for a team that shares rows, and for one that shares units.
TEST(Projection, ThreadsDoNotMatterAtAnySize) {
  for (const char* options : {"{}", R"({"zoneout_h": 0.2})", R"({"layer_norm": true})"})
    for (const auto& [T, N, H, R] : {std::array<std::int64_t, 4>{20, 40, 128, 50}, {12, 3, 260, 130}})
      for (const bool masked : {false, true}) {
        RecurrentSpec spec = stack(31, {projected(H, R, options)});
        test::expect_threads_agree(spec, T, N, {masked, masked});
        spec.layers[0].delays = {2, 3};
        if (!spec.layers[0].options.layer_norm) test::expect_threads_agree(spec, T, N, {masked, masked});
      }
}

// Errors flow back through c alone: by hand for two steps of one unit and one feature less than units.
TEST(Projection, TruncatedGatesDoNotReachTheStepBefore) {
  RecurrentSpec spec = stack(2, {projected(3, 2, R"({"truncate_gates": true, "forget_gate": false})")});
  std::vector<Tensor> parameters;
  for (const Tensor& p : test::make_parameters(spec)) parameters.push_back(test::leaf(p));
  RecurrentInput input;
  input.x = numbers({2, 1, 2}, 3);
  input.state.h = {test::leaf(numbers({1, 2}, 4))};
  const RecurrentOutput out = recurrent(spec, parameters, input);
  sum(slice(out.y, 0, 1, 2)).backward();
  for (std::int64_t i = 0; i < 2; ++i) EXPECT_EQ(input.state.h[0].grad().data<double>()[i], 0.0);
  double total = 0;
  for (std::int64_t i = 0; i < parameters[4].numel(); ++i) total += std::abs(parameters[4].grad().data<double>()[i]);
  EXPECT_GT(total, 0.0);
}

template <typename T>
void expect_row_stream_equals_sequence(std::int64_t H, std::int64_t R) {
  const DType dtype = dtype_of<T>::value;
  const RecurrentSpec spec = stack(6, {projected(H, R), {CellKind::gru, 5}, projected(H, R)});
  const std::vector<Tensor> parameters = test::make_parameters(spec, dtype);
  const NoGradGuard guard;
  const Tensor table = numbers({7, 6}, 5, dtype);
  const std::vector<std::int64_t> ids = {3, 1, 3, 0, 6, 6, 2, 1};
  const auto length = static_cast<std::int64_t>(ids.size());
  RecurrentInput input;
  input.x = embedding(table, Tensor::from(ids, {length, 1}));
  const RecurrentOutput whole = recurrent(spec, parameters, input);
  for (const bool tokens : {false, true}) {
    Stream stream(spec, parameters);
    if (tokens) stream.set_embedding(table);
    stream.use_threads(H >= 400);  // and then the work of a step is worth a team
    Tensor y = Tensor::zeros({length, 1, R}, dtype);
    for (std::int64_t t = 0; t < length; ++t) {
      T* const out = y.mutable_data<T>() + t * R;
      if (tokens)
        stream.step(ids.data() + t, out);
      else
        stream.step(input.x.data<T>() + t * 6, out);
    }
    test::expect_same_bits(y, whole.y, "H=" + std::to_string(H) + (tokens ? " tokens" : ""));
    test::expect_same_state(stream.state(), whole.state, "H=" + std::to_string(H));
    EXPECT_EQ(stream.state_bytes(), static_cast<std::size_t>((2 * (R + H) + 5) * size_of(dtype)));
  }
}

TEST(Projection, AStreamOfOneRowEqualsTheSequenceOnEveryTarget) {
  const std::string best = target_name();
  for (const std::string& target : supported_targets()) {
    set_target(target);
    for (const auto& [H, R] :
         {std::pair<std::int64_t, std::int64_t>{3, 2}, {8, 7}, {19, 4}, {64, 33}, {130, 65}, {400, 300}}) {
      expect_row_stream_equals_sequence<float>(H, R);
      expect_row_stream_equals_sequence<double>(H, R);
    }
  }
  set_target(best);
}

TEST(Projection, DecidesNamesAndShapes) {
  RecurrentSpec spec = stack(3, {projected(4, 2, R"({"peephole": true})"), projected(5, 3)});
  spec.layers[0].delays = {2};
  spec.learn_initial_state = true;
  std::string text;
  for (const ParameterInfo& p : parameters_of(spec)) text += p.name + to_string(p.shape) + " ";
  EXPECT_EQ(text,
            "weight_ih_l0(16, 3) weight_hh_l0(16, 2) bias_ih_l0(16,) bias_hh_l0(16,) weight_hr_l0(2, 4) "
            "weight_peephole_l0(3, 4) weight_delay_l0_d2(16, 2) h_0_l0(2,) c_0_l0(4,) "
            "weight_ih_l1(20, 2) weight_hh_l1(20, 3) bias_ih_l1(20,) bias_hh_l1(20,) weight_hr_l1(3, 5) "
            "h_0_l1(3,) c_0_l1(5,) ");
  EXPECT_EQ(spec.output_size(), 3);
  EXPECT_EQ(to_json(recurrent_spec_from_json(to_json(spec))), to_json(spec));
  EXPECT_EQ(recurrent_spec_from_json(to_json(spec)).layers[1].proj_size, 3);
}

TEST(Projection, IsRefusedWhereItMeansNothing) {
  const auto refusal = [](LayerSpec layer) -> std::string {
    try {
      check(layer);
    } catch (const ArgumentError& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_NE(refusal(projected(4, 4)).find("proj_size: expected 0 (none) or less than hidden_size = 4, got 4"),
            std::string::npos);
  EXPECT_NE(refusal(projected(4, -1)).find("got -1"), std::string::npos);
  LayerSpec gru = projected(4, 2);
  gru.cell = CellKind::gru;
  EXPECT_NE(refusal(gru).find("only the LSTM has a projection"), std::string::npos);
  EXPECT_EQ(refusal(projected(4, 3)), "");
}

TEST(Projection, StatesOfAnotherWidthAreRefused) {
  const RecurrentSpec spec = stack(3, {projected(4, 2)});
  RecurrentInput input;
  input.x = numbers({2, 1, 3}, 1);
  input.state.h = {Tensor::zeros({1, 4}, DType::float64)};
  try {
    recurrent(spec, test::make_parameters(spec), input);
    FAIL() << "h of H features was accepted";
  } catch (const ArgumentError& e) {
    EXPECT_NE(std::string(e.what()).find("h_0[0]: expected shape (N, proj_size) = (1, 2), got (1, 4)"),
              std::string::npos)
        << e.what();
  }
}

TEST(Projection, IsExplained) {
  const LayerCost cost = explain(stack(8, {projected(64, 16)}))[0],
                  whole = explain(stack(8, {{CellKind::lstm, 64}}))[0];
  EXPECT_EQ(cost.kernel, "lstm, projected");
  EXPECT_EQ(cost.multiply_adds, 64 * 4 * (8 + 16) + 16 * 64);
  EXPECT_EQ(cost.state_bytes, (16 + 64) * 4);
  EXPECT_EQ(cost.saved_bytes, whole.saved_bytes + 64 * 4);
  EXPECT_EQ(cost.weight_bytes, (64 * 4 * 16 + 16 * 64) * 4);
}

TEST(Projection, SurvivesAModelFile) {
  ModelSpec spec;
  spec.vocab_size = 7;
  spec.embedding_size = 3;
  spec.recurrent = stack(3, {projected(6, 4), projected(5, 2)});
  EXPECT_NE(to_json(spec).find(R"("proj_size":4)"), std::string::npos) << to_json(spec);
  EXPECT_EQ(to_json(model_spec_from_json(to_json(spec))), to_json(spec));
  Generator generator(1);
  const Model model(spec, generator);
  EXPECT_EQ(model.parameter("head.weight").shape(), (Shape{7, 2}));
  const std::string path = testing::TempDir() + "projected.safetensors";
  save_model(path, model);
  const Model read = load_model(path);
  const NoGradGuard guard;
  ModelInput input;
  input.ids = Tensor::from(std::vector<std::int64_t>{1, 6, 0, 2}, {4, 1});
  const Tensor y = model.forward(input).y;
  test::expect_same_bits(read.forward(input).y, y, "the model read again");
  ModelStream stream = read.stream();
  Tensor streamed = Tensor::zeros({4, 1, 7});
  for (std::int64_t t = 0; t < 4; ++t)
    ASSERT_TRUE(stream.step(input.ids.data<std::int64_t>() + t, streamed.mutable_data<float>() + t * 7));
  test::expect_same_bits(streamed, y, "its stream");
  EXPECT_EQ(stream.state_bytes(), static_cast<std::size_t>((6 + 4 + 5 + 2) * 4));
}

}  // namespace
}  // namespace rnncore
