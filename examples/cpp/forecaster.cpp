// Trains a small forecaster from scratch: one number in, the next one out.
//   forecaster MODEL [STEPS] < series.txt      one number a line; the last fifth is held out
// The scale of the series goes into the weights, so whoever loads MODEL gives it numbers as they are (anomaly.cpp).
#include <rnncore/rnncore.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <vector>

namespace {

using namespace rnncore;

constexpr std::int64_t kHidden = 24, kWindow = 50, kBatch = 16;

Model new_forecaster(Generator& generator) {
  ModelSpec spec;
  spec.kind = ModelKind::forecaster;
  spec.recurrent.input_size = 1;
  spec.recurrent.layers = {{CellKind::gru, kHidden}};
  spec.output_size = 1;
  return Model(spec, generator);
}

// kBatch windows at random places: x (T, N, 1) and what follows each number.
struct Windows {
  Tensor x = Tensor::empty({kWindow, kBatch, 1}), next = Tensor::empty({kWindow, kBatch, 1});
  Windows(const std::vector<float>& series, Generator& generator) {
    float *from = x.mutable_data<float>(), *to = next.mutable_data<float>();
    for (std::int64_t n = 0; n < kBatch; ++n) {
      const std::int64_t start = generator.below(static_cast<std::int64_t>(series.size()) - kWindow);
      for (std::int64_t t = 0; t < kWindow; ++t) {
        from[t * kBatch + n] = series[static_cast<std::size_t>(start + t)];
        to[t * kBatch + n] = series[static_cast<std::size_t>(start + t + 1)];
      }
    }
  }
};

void train(Model& model, const std::vector<float>& series, int steps, Generator& generator) {
  model.set_requires_grad(true);
  OptimizerOptions options;
  options.kind = OptimizerKind::adam;
  options.lr = 0.01;
  Optimizer optimizer(model.parameters(), options);
  StepOptions clip;
  clip.clip_norm = 1.0;
  for (int step = 1; step <= steps; ++step) {
    const Windows windows(series, generator);
    ModelInput input;
    input.x = windows.x;
    optimizer.zero_grad();
    const Tensor loss = mean(pow(sub(model.forward(input).y, windows.next), 2.0));
    loss.backward();
    optimizer.step(clip);
    if (step % std::max(steps / 5, 1) == 0) std::printf("step %4d  mean squared error %.4f\n", step, loss.item());
  }
  model.set_requires_grad(false);
}

// From numbers z = (x - mean) / scale to x itself: W (x - mean) / scale + b, and the head's outputs back.
void take_in_scale(Model& model, float mean, float scale) {
  Tensor w = model.parameter("rnn.weight_ih_l0"), b = model.parameter("rnn.bias_ih_l0");
  for (std::int64_t i = 0; i < w.numel(); ++i) {
    w.mutable_data<float>()[i] /= scale;
    b.mutable_data<float>()[i] -= w.data<float>()[i] * mean;
  }
  model.parameter("head.weight").mul_(scale);
  Tensor shift = model.parameter("head.bias");
  shift.mutable_data<float>()[0] = shift.data<float>()[0] * scale + mean;
}

std::vector<float> read_series() {
  std::vector<float> series;
  for (float value = 0; std::cin >> value;) series.push_back(value);
  if (!std::cin.eof()) throw std::runtime_error("line " + std::to_string(series.size() + 1) + " is no number");
  if (series.size() < 5 * kWindow) throw std::runtime_error("a series of at least 250 numbers is needed");
  return series;
}

void run(const char* path, int steps) {
  const std::vector<float> series = read_series();
  const std::size_t train_size = series.size() * 4 / 5;
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < train_size; ++i) sum += series[i];
  const double mean = sum / static_cast<double>(train_size);
  for (std::size_t i = 0; i < train_size; ++i) squares += (series[i] - mean) * (series[i] - mean);
  const double scale = std::max(std::sqrt(squares / static_cast<double>(train_size)), 1e-6);
  std::vector<float> scaled;
  for (std::size_t i = 0; i < train_size; ++i) scaled.push_back(static_cast<float>((series[i] - mean) / scale));

  Generator generator(1);
  Model model = new_forecaster(generator);
  train(model, scaled, steps, generator);
  take_in_scale(model, static_cast<float>(mean), static_cast<float>(scale));
  save_model(path, model);

  // Held out, one step ahead, as a stream; beside the forecast that nothing changes.
  ModelStream stream = load_model(path).stream();
  double ours = 0, repeat = 0;
  for (std::size_t i = 0; i + 1 < series.size(); ++i) {
    float next = 0;
    stream.step(&series[i], &next);
    if (i < train_size) continue;
    ours += std::pow((next - series[i + 1]) / scale, 2);
    repeat += std::pow((series[i] - series[i + 1]) / scale, 2);
  }
  const double count = static_cast<double>(series.size() - 1 - train_size);
  std::printf("held out: mean squared error %.4f, repeating the last value %.4f\n", ours / count, repeat / count);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s MODEL [STEPS] < SERIES\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1], argc > 2 ? std::atoi(argv[2]) : 500);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
