// A stateful audio effect: blocks of float samples in, blocks out, in real time (no allocation, lock or system call in
// process()). The model learns to imitate an amplifier: drive into a soft limit, behind a one-pole low pass.
//   effect train MODEL [STEPS]
//   effect run MODEL < in.f32 > out.f32        raw mono float32
#include <rnncore/rnncore.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <vector>

namespace {

using namespace rnncore;

constexpr std::int64_t kHidden = 16;

// What an audio host calls: prepare outside of the audio thread, process inside it.
class Effect {
 public:
  explicit Effect(const Model& model) : stream_(model.stream()) {}
  void reset() noexcept { stream_.reset(); }
  void process(float* samples, std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
      float out = 0;
      stream_.step(&samples[i], &out);
      samples[i] += out;  // the model gives the difference to the dry sound
    }
  }

 private:
  ModelStream stream_;
};

// The amplifier to imitate.
void amplify(const float* in, float* out, std::int64_t count) {
  float state = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    state += 0.4f * (std::tanh(3.0f * in[i]) - state);
    out[i] = state;
  }
}

void train(const char* path, int steps) {
  constexpr std::int64_t kTime = 128, kBatch = 8, kSettle = 16;
  ModelSpec spec;
  spec.kind = ModelKind::forecaster;
  spec.recurrent.input_size = 1;
  spec.recurrent.layers = {{CellKind::gru, kHidden}};
  spec.output_size = 1;
  Generator generator(1);
  Model model(spec, generator);
  model.set_requires_grad(true);
  OptimizerOptions options;
  options.kind = OptimizerKind::adam;
  options.lr = 0.01;
  Optimizer optimizer(model.parameters(), options);
  for (int step = 1; step <= steps; ++step) {
    Tensor noise = Tensor::empty({kBatch, kTime}), wet = Tensor::empty({kBatch, kTime});
    generator.normal_(noise, 0.0, 0.4);
    for (std::int64_t n = 0; n < kBatch; ++n)
      amplify(noise.data<float>() + n * kTime, wet.mutable_data<float>() + n * kTime, kTime);
    const Tensor x = transpose(noise, 0, 1).reshape({kTime, kBatch, 1});
    const Tensor wanted = sub(transpose(wet, 0, 1).reshape({kTime, kBatch, 1}), x);
    ModelInput input;
    input.x = x;
    optimizer.zero_grad();
    const Tensor error = slice(sub(model.forward(input).y, wanted), 0, kSettle, kTime);
    const Tensor loss = mean(pow(error, 2.0));
    loss.backward();
    optimizer.step();
    if (step % std::max(steps / 5, 1) == 0)
      std::fprintf(stderr, "step %4d  error to signal %.4f\n", step, loss.item() / mean(pow(wet, 2.0)).item());
  }
  save_model(path, model);
}

void run(const char* path) {
  Effect effect(load_model(path));
  std::array<float, 64> block{};
  std::chrono::duration<double> busy{};
  std::size_t samples = 0;
  while (const std::size_t count = std::fread(block.data(), sizeof(float), block.size(), stdin)) {
    const auto start = std::chrono::steady_clock::now();
    effect.process(block.data(), count);
    busy += std::chrono::steady_clock::now() - start;
    std::fwrite(block.data(), sizeof(float), count, stdout);
    samples += count;
  }
  std::fprintf(stderr, "%zu samples, %.0f ns each\n", samples, 1e9 * busy.count() / std::max<double>(1.0, samples));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc >= 3 && std::strcmp(argv[1], "train") == 0) {
      train(argv[2], argc > 3 ? std::atoi(argv[3]) : 600);
    } else if (argc == 3 && std::strcmp(argv[1], "run") == 0) {
      run(argv[2]);
    } else {
      std::fprintf(stderr, "usage: %s train MODEL [STEPS] | run MODEL < IN > OUT\n", argv[0]);
      return 2;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
