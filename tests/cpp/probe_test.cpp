// Probed evaluation: the same bits as the plain one, and gradients of the states between steps that agree with those of
// a run that starts there.
#include <gtest/gtest.h>

#include <cstring>

#include "gradcheck.h"
#include "rnncore/probe.hpp"
#include "rnncore/rnncore.hpp"

namespace rnncore {
namespace {

using test::leaf;
using test::numbers;

std::vector<Tensor> parameters_for(const RecurrentSpec& spec, DType dtype) {
  std::vector<Tensor> parameters;
  for (const ParameterInfo& info : parameters_of(spec)) {
    parameters.push_back(numbers(info.shape, 10 + parameters.size(), dtype));
    parameters.back().set_requires_grad(true);
  }
  return parameters;
}

void expect_same_bits(const Tensor& got, const Tensor& want) {
  ASSERT_EQ(got.shape(), want.shape());
  const std::size_t size = got.dtype() == DType::float64 ? sizeof(double) : sizeof(float);
  EXPECT_EQ(std::memcmp(got.raw(), want.raw(), static_cast<std::size_t>(got.numel()) * size), 0);
}

RecurrentSpec layer_spec(CellKind cell, const char* options = "{}", std::int64_t proj_size = 0) {
  RecurrentSpec spec;
  spec.input_size = 3;
  spec.layers.push_back({cell, 5, cell_options_from_json(options)});
  spec.layers.back().proj_size = proj_size;
  return spec;
}

std::vector<std::pair<const char*, RecurrentSpec>> single_layers() {
  return {{"rnn", layer_spec(CellKind::rnn_tanh)},
          {"leaky", layer_spec(CellKind::rnn_relu, R"({"leak": 0.3})")},
          {"lstm", layer_spec(CellKind::lstm)},
          {"peephole", layer_spec(CellKind::lstm, R"({"peephole": true})")},
          {"no_forget", layer_spec(CellKind::lstm, R"({"forget_gate": false})")},
          {"projected", layer_spec(CellKind::lstm, "{}", 2)},
          {"normalised", layer_spec(CellKind::lstm, R"({"layer_norm": true})")},
          {"gru", layer_spec(CellKind::gru)},
          {"gru_before", layer_spec(CellKind::gru_reset_before)},
          {"mgu", layer_spec(CellKind::mgu)},
          {"indrnn", layer_spec(CellKind::indrnn)}};
}

TEST(Probe, HasTheBitsOfThePlainRun) {
  for (const DType dtype : {DType::float32, DType::float64}) {
    for (const auto& [name, one] : single_layers()) {
      SCOPED_TRACE(name);
      RecurrentSpec spec = one;
      spec.layers.push_back(spec.layers[0]);
      spec.bidirectional = true;
      spec.connection = Connection::dense;
      const std::vector<Tensor> parameters = parameters_for(spec, dtype);
      RecurrentInput input;
      input.ids = Tensor::from(std::vector<std::int64_t>{0, 1, 3, 2, 1, 1, 0, 2, 3, 0, 1, 2}, {6, 2});
      input.embedding = numbers({4, 3}, 5, dtype);
      RecurrentProbe probe;
      const RecurrentOutput plain = recurrent(spec, parameters, input);
      const RecurrentOutput probed = recurrent(spec, parameters, input, probe);
      expect_same_bits(probed.y, plain.y);
      for (std::size_t i = 0; i < 4; ++i) expect_same_bits(probed.state.h[i], plain.state.h[i]);
      ASSERT_EQ(probe.layers.size(), 4u);
      EXPECT_EQ(probe.layers[3].x.shape(), (Shape{6, 2, 3 + 2 * spec.layers[0].state_size()}));
      const NoGradGuard guard;
      RecurrentProbe unrecorded;
      expect_same_bits(recurrent(spec, parameters, input, unrecorded).y, plain.y);
      if (probe.layers[0].gates.defined())
        expect_same_bits(unrecorded.layers[0].gates, probe.layers[0].gates);
      else
        EXPECT_STREQ(name, "normalised");
    }
  }
}

TEST(Probe, GradientsBetweenStepsAreThoseOfARunFromThere) {
  constexpr std::int64_t T = 5, N = 2;
  for (const auto& [name, spec] : single_layers()) {
    SCOPED_TRACE(name);
    const std::vector<Tensor> parameters = parameters_for(spec, DType::float64);
    const std::int64_t R = spec.output_size();
    const Tensor weights = numbers({T, N, R}, 3);
    RecurrentInput input;
    input.x = numbers({T, N, 3}, 1);
    RecurrentProbe probe;
    sum(mul(recurrent(spec, parameters, input, probe).y, weights)).backward();
    const LayerProbe& layer = probe.layers[0];
    for (std::int64_t t = 0; t + 1 < T; ++t) {
      RecurrentInput rest;
      rest.x = slice(input.x, 0, t + 1, T);
      rest.state.h = {leaf(slice(layer.h, 0, t, t + 1).reshape({N, R}))};
      if (layer.c.defined()) rest.state.c = {leaf(slice(layer.c, 0, t, t + 1).reshape({N, 5}))};
      sum(mul(recurrent(spec, parameters, rest).y, slice(weights, 0, t + 1, T))).backward();
      for (std::int64_t i = 0; i < N * R; ++i)
        EXPECT_NEAR(layer.h_added.grad().data<double>()[t * N * R + i],
                    rest.state.h[0].grad().data<double>()[i] + weights.data<double>()[t * N * R + i], 1e-12);
      for (std::int64_t i = 0; layer.c.defined() && i < N * 5; ++i)
        EXPECT_NEAR(layer.c_added.grad().data<double>()[t * N * 5 + i], rest.state.c[0].grad().data<double>()[i],
                    1e-12);
    }
  }
}

TEST(Probe, ShorterRowsAreThoseOfRunsAlone) {
  constexpr std::int64_t T = 5;
  const std::vector<std::int64_t> lengths = {5, 2, 0};
  for (const auto& [name, one] : single_layers()) {
    SCOPED_TRACE(name);
    RecurrentSpec spec = one;
    spec.layers.push_back(spec.layers[0]);
    spec.bidirectional = true;
    const std::vector<Tensor> parameters = parameters_for(spec, DType::float64);
    const std::int64_t R = spec.layers[0].state_size();
    // The loss reads every output and the last states.
    const auto loss = [](const RecurrentOutput& out) {
      Tensor total = sum(mul(out.y, out.y));
      for (const Tensor& h : out.state.h) total = add(total, sum(mul(h, h)));
      return total;
    };
    RecurrentInput input;
    input.x = numbers({T, 3, 3}, 1);
    input.lengths = Tensor::from(lengths, {3});
    RecurrentProbe probe;
    const RecurrentOutput probed = recurrent(spec, parameters, input, probe);
    const RecurrentOutput plain = recurrent(spec, parameters, input);
    expect_same_bits(probed.y, plain.y);
    for (std::size_t i = 0; i < 4; ++i) expect_same_bits(probed.state.h[i], plain.state.h[i]);
    loss(probed).backward();
    for (std::int64_t n = 0; n < 2; ++n) {
      const std::int64_t length = lengths[static_cast<std::size_t>(n)];
      RecurrentInput alone;
      alone.x = slice(slice(input.x, 0, 0, length), 1, n, n + 1);
      RecurrentProbe single;
      loss(recurrent(spec, parameters, alone, single)).backward();
      for (std::size_t i = 0; i < 4; ++i) {
        const double* const got = probe.layers[i].h_added.grad().data<double>();
        const double* const want = single.layers[i].h_added.grad().data<double>();
        for (std::int64_t t = 0; t < length; ++t)
          for (std::int64_t u = 0; u < R; ++u) EXPECT_NEAR(got[(t * 3 + n) * R + u], want[t * R + u], 1e-12);
      }
    }
  }
}

// Stacks whose layers stand still at some steps, or look further back.
std::vector<std::pair<const char*, RecurrentSpec>> layers_in_time() {
  std::vector<std::pair<const char*, RecurrentSpec>> specs = {
      {"plain", layer_spec(CellKind::lstm)},
      {"period", layer_spec(CellKind::lstm)},
      {"delays", layer_spec(CellKind::gru)},
      {"period and delays", layer_spec(CellKind::lstm)},
      {"groups", layer_spec(CellKind::rnn_tanh, R"({"group_periods": [1, 2, 3, 4, 6]})")}};
  specs[1].second.layers[0].period = specs[3].second.layers[0].period = 2;
  specs[2].second.layers[0].delays = specs[3].second.layers[0].delays = {2, 3};
  return specs;
}

TEST(Probe, HasTheBitsOfThePlainRunWhereLayersStandStillAndSequencesBegin) {
  const std::vector<std::uint8_t> begins = {0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0};
  for (const auto& [name, one] : layers_in_time()) {
    for (const bool learnt : {false, true}) {
      for (const bool reverse : {false, true}) {
        SCOPED_TRACE(name);
        RecurrentSpec spec = one;
        spec.layers.push_back(spec.layers[0]);
        (reverse ? spec.reverse : spec.bidirectional) = true;
        spec.learn_initial_state = learnt;
        const std::vector<Tensor> parameters = parameters_for(spec, DType::float64);
        RecurrentInput input;
        input.x = numbers({6, 3, 3}, 1);
        input.lengths = Tensor::from(std::vector<std::int64_t>{6, 4, 5}, {3});
        input.reset_mask = Tensor::from(begins, {6, 3});
        RecurrentProbe probe;
        const RecurrentOutput plain = recurrent(spec, parameters, input);
        const RecurrentOutput probed = recurrent(spec, parameters, input, probe);
        expect_same_bits(probed.y, plain.y);
        for (std::size_t i = 0; i < plain.state.h.size(); ++i) {
          expect_same_bits(probed.state.h[i], plain.state.h[i]);
          if (!plain.state.past.empty()) expect_same_bits(probed.state.past[i], plain.state.past[i]);
        }
        // And the same gradients of the parameters.
        std::vector<Tensor> wanted;
        for (const RecurrentOutput* out : {&plain, &probed}) {
          Tensor total = sum(mul(out->y, out->y));
          for (const Tensor& h : out->state.h) total = add(total, sum(mul(h, h)));
          total.backward();
          for (std::size_t i = 0; i < parameters.size(); ++i) {
            const Tensor grad = parameters[i].grad();
            if (out == &plain) {
              wanted.push_back(grad.clone());
            } else {
              for (std::int64_t k = 0; k < grad.numel(); ++k)
                EXPECT_NEAR(grad.data<double>()[k], 2 * wanted[i].data<double>()[k], 1e-12) << "parameter " << i;
            }
          }
        }
      }
    }
  }
}

TEST(Probe, GradientsOfStatesThatAreHeldAreThoseOfARunFromThere) {
  constexpr std::int64_t T = 6, N = 2;
  for (const auto& [name, one] : layers_in_time()) {
    if (!one.layers[0].delays.empty()) continue;  // a run from there has a past of its own
    SCOPED_TRACE(name);
    RecurrentSpec spec = one;
    spec.learn_initial_state = true;  // where resets lead, whatever state is given
    const std::vector<Tensor> parameters = parameters_for(spec, DType::float64);
    const Tensor weights = numbers({T, N, 5}, 3);
    RecurrentInput input;
    input.x = numbers({T, N, 3}, 1);
    input.reset_mask = Tensor::from(std::vector<std::uint8_t>{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}, {T, N});
    RecurrentProbe probe;
    sum(mul(recurrent(spec, parameters, input, probe).y, weights)).backward();
    const LayerProbe& layer = probe.layers[0];
    for (std::int64_t t = 0; t + 1 < T; ++t) {
      RecurrentInput rest;
      rest.x = slice(input.x, 0, t + 1, T);
      rest.reset_mask = slice(input.reset_mask, 0, t + 1, T);
      rest.state.h = {leaf(slice(layer.h, 0, t, t + 1).reshape({N, 5}))};
      if (layer.c.defined()) rest.state.c = {leaf(slice(layer.c, 0, t, t + 1).reshape({N, 5}))};
      if (spec.has_periods())
        rest.state.clock = Tensor::from(std::vector<std::int64_t>{t + 1, t < 3 ? t + 1 : t - 2}, {N});
      sum(mul(recurrent(spec, parameters, rest).y, slice(weights, 0, t + 1, T))).backward();
      for (std::int64_t i = 0; i < N * 5; ++i) {
        EXPECT_NEAR(layer.h_added.grad().data<double>()[t * N * 5 + i],
                    rest.state.h[0].grad().data<double>()[i] + weights.data<double>()[t * N * 5 + i], 1e-12);
        if (!layer.c.defined()) continue;
        EXPECT_NEAR(layer.c_added.grad().data<double>()[t * N * 5 + i], rest.state.c[0].grad().data<double>()[i],
                    1e-12);
      }
    }
  }
}

TEST(Probe, RefusesTraining) {
  RecurrentInput input;
  input.x = numbers({4, 2, 3}, 1);
  input.training = true;
  RecurrentProbe probe;
  const RecurrentSpec spec = layer_spec(CellKind::gru);
  EXPECT_THROW(recurrent(spec, parameters_for(spec, DType::float64), input, probe), ArgumentError);
}

}  // namespace
}  // namespace rnncore
