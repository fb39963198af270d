// Trains an LSTM to continue a sine wave, then runs it as a stream: one sample in, one sample out, no allocation.
// Build: see CMakeLists.txt beside this file. --quick trains for fewer steps.
#include <rnncore/rnncore.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

namespace {

using namespace rnncore;

// PyTorch's default: U(-1/sqrt(H), 1/sqrt(H)).
std::vector<Tensor> initial_parameters(const RecurrentSpec& spec, Generator& generator) {
  std::vector<Tensor> parameters;
  for (const ParameterInfo& info : parameters_of(spec)) {
    parameters.push_back(Tensor::empty(info.shape));
    const double bound = 1.0 / std::sqrt(static_cast<double>(info.fan_hidden));
    generator.uniform_(parameters.back(), -bound, bound);
    parameters.back().set_requires_grad(true);
  }
  return parameters;
}

}  // namespace

int main(int argc, char** argv) {
  const int steps = argc > 1 && std::strcmp(argv[1], "--quick") == 0 ? 50 : 500;
  constexpr std::int64_t kTime = 200, kHidden = 32;
  std::vector<float> wave(kTime + 1);
  for (std::size_t t = 0; t < wave.size(); ++t) wave[t] = std::sin(0.2f * static_cast<float>(t));
  RecurrentInput input;
  input.x = Tensor::from(wave.data(), {kTime, 1, 1});                  // (T, N, I)
  const Tensor wanted = Tensor::from(wave.data() + 1, {kTime, 1, 1});  // the same, one step later

  RecurrentSpec spec;
  spec.input_size = 1;
  spec.layers = {{CellKind::lstm, kHidden}};
  Generator generator(1);
  const std::vector<Tensor> parameters = initial_parameters(spec, generator);
  Tensor readout = Tensor::zeros({1, kHidden});
  readout.set_requires_grad(true);

  std::vector<Tensor> trained = parameters;
  trained.push_back(readout);
  OptimizerOptions options;
  options.kind = OptimizerKind::adam;
  options.lr = 0.01;
  Optimizer optimizer(trained, options);
  StepOptions clip;
  clip.clip_norm = 1.0;
  for (int step = 0; step <= steps; ++step) {
    optimizer.zero_grad();
    const Tensor loss = mean(pow(sub(linear(recurrent(spec, parameters, input).y, readout), wanted), 2.0));
    if (step % (steps / 5) == 0) std::printf("step %4d  mean squared error %.6f\n", step, loss.item());
    loss.backward();
    optimizer.step(clip);
  }

  Stream stream(spec, parameters);
  std::vector<float> hidden(kHidden);
  float worst = 0.0f;
  for (std::size_t t = 0; t + 1 < wave.size(); ++t) {
    stream.step(&wave[t], hidden.data());
    float next = 0.0f;
    for (std::size_t j = 0; j < hidden.size(); ++j) next += readout.data<float>()[j] * hidden[j];
    if (t >= 100) worst = std::max(worst, std::abs(next - wave[t + 1]));
  }
  std::printf("largest error of the stream's second half: %.4f\n", static_cast<double>(worst));
  return worst < 1.0f ? 0 : 1;
}
