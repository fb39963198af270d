// Text from a language model that Python trained:
//   rnncore train lm --text book.txt --out runs/book
//   sample runs/book/model.safetensors "Once upon" 300 0.8 1     (prompt, length, temperature, seed)
// The text comes character by character as it is made, from a stream of steps.
#include <rnncore/rnncore.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

namespace {

using namespace rnncore;

void write(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void run(const Model& model, const std::string& prompt, int length, double temperature, std::uint64_t seed) {
  const Vocabulary& vocabulary = model.vocabulary();
  std::vector<std::int64_t> ids = vocabulary.encode(prompt, false);
  if (ids.empty()) ids.push_back(vocabulary.end_id());  // the start of a line
  ModelStream stream = model.stream();
  Tensor logits = Tensor::zeros({1, stream.output_size()});
  for (const std::int64_t id : ids) stream.step(&id, logits.mutable_data<float>());
  Generator generator(seed);
  SampleOptions options;
  options.temperature = temperature;
  write(prompt);
  for (int i = 0; i < length; ++i) {
    const std::int64_t id = sample(logits, options, generator).data<std::int64_t>()[0];
    write(vocabulary.decode({id}));
    stream.step(&id, logits.mutable_data<float>());
  }
  write("\n");
  std::fprintf(stderr, "log-probability of the prompt: %.3f nats\n", ids.size() > 1 ? -score(model, ids).nats : 0.0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s MODEL [PROMPT [LENGTH [TEMPERATURE [SEED]]]]\n", argv[0]);
    return 2;
  }
  try {
    run(load_model(argv[1]), argc > 2 ? argv[2] : "", argc > 3 ? std::atoi(argv[3]) : 500,
        argc > 4 ? std::atof(argv[4]) : 1.0, argc > 5 ? std::strtoull(argv[5], nullptr, 10) : 0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
