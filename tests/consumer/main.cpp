// Uses the installed package as a stranger would: saves and loads a model, streams it, trains it a little and meets an
// error. Exits with 0 only if everything came out right.
#include <rnncore/rnncore.hpp>

#include <iostream>
#include <vector>

namespace {

int failures = 0;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::cerr << "consumer: failed: " << what << "\n";
  ++failures;
}

rnncore::Model new_model() {
  rnncore::ModelSpec spec;
  spec.vocab_size = 7;
  spec.embedding_size = 4;
  spec.recurrent.input_size = 4;
  spec.recurrent.layers = {{rnncore::CellKind::lstm, 6}, {rnncore::CellKind::lstm, 5}};
  rnncore::Generator generator(1);
  return rnncore::Model(spec, generator);
}

void stream_equals_sequence(const rnncore::Model& model) {
  const std::vector<std::int64_t> ids = {0, 3, 6, 6, 1, 2, 5, 4, 0};
  const std::size_t V = 7;
  rnncore::ModelInput input;
  input.ids = rnncore::Tensor::from(ids, {static_cast<std::int64_t>(ids.size()), 1});
  const rnncore::Tensor logits = model.forward(input).y;
  rnncore::ModelStream stream = model.stream();
  std::vector<float> out(V);
  for (std::size_t t = 0; t < ids.size(); ++t) {
    expect(stream.step(&ids[t], out.data()), "the stream steps");
    for (std::size_t j = 0; j < V; ++j)
      expect(out[j] == logits.data<float>()[t * V + j], "a streamed step has the sequence's bits");
  }
}

void training_lowers_the_loss(rnncore::Model model) {
  model.set_requires_grad(true);
  rnncore::OptimizerOptions options;
  options.kind = rnncore::OptimizerKind::adam;
  options.lr = 0.01;
  rnncore::Optimizer optimizer(model.parameters(), options);
  rnncore::ModelInput input;
  input.ids = rnncore::Tensor::from(std::vector<std::int64_t>{1, 2, 3, 1, 2, 3, 1, 2}, {8, 1});
  const rnncore::Tensor targets = rnncore::Tensor::from(std::vector<std::int64_t>{2, 3, 1, 2, 3, 1, 2, 3}, {8});
  double first = 0, last = 0;
  for (int step = 0; step < 60; ++step) {
    optimizer.zero_grad();
    const rnncore::Tensor loss = rnncore::cross_entropy(model.forward(input).y.reshape({8, 7}), targets);
    loss.backward();
    optimizer.step();
    (step == 0 ? first : last) = loss.item();
  }
  expect(last < 0.5 * first, "sixty updates halve the loss");
}

void errors_are_typed() {
  try {
    rnncore::load_model("/nonexistent/model.safetensors");
    expect(false, "a missing file is an error");
  } catch (const rnncore::IoError& e) {
    expect(std::string(e.what()).find("/nonexistent/model.safetensors") != std::string::npos,
           "the error names the file");
  }
}

}  // namespace

// consumer FILE: the model is left in FILE, for the consumer written in C.
int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::cout << "rnncore " << rnncore::version() << " on " << rnncore::target_name() << "\n";
  rnncore::save_model(argv[1], new_model());
  const rnncore::Model model = rnncore::load_model(argv[1]);
  expect(model.named_parameters().size() == 11, "the model has its parameters");
  stream_equals_sequence(model);
  training_lowers_the_loss(model);
  errors_are_typed();
  return failures == 0 ? 0 : 1;
}
