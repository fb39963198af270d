// How surprising is each number of a sensor, given all before it? Online, from standard input:
//   forecaster MODEL < normal.txt ; some-sensor | anomaly MODEL [THRESHOLD]
// For each number one line: its value, the forecast made for it, and its score: the forecast's error in standard
// deviations of the errors so far. Lines beyond THRESHOLD (5) end in "anomaly"; those numbers do not enter the
// deviation, and the model goes on from its own forecast instead of them.
#include <rnncore/rnncore.hpp>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>

namespace {

constexpr int kWarmUp = 30;  // numbers until there is an idea of the usual error

// Root mean square of what was added.
class Deviation {
 public:
  void add(double error) {
    ++count_;
    mean_square_ += (error * error - mean_square_) / static_cast<double>(count_);
  }
  long count() const { return count_; }
  double value() const { return std::sqrt(mean_square_) + 1e-12; }

 private:
  long count_ = 0;
  double mean_square_ = 0;
};

void run(const char* path, double threshold) {
  rnncore::ModelStream stream = rnncore::load_model(path).stream();
  if (stream.input_size() != 1 || stream.output_size() != 1)
    throw std::runtime_error("a model of one number in, one number out is needed");
  Deviation usual;
  float forecast = 0;
  bool first = true;
  for (float value = 0; std::cin >> value; first = false) {
    const double error = first ? 0.0 : static_cast<double>(value) - forecast;
    const double score = usual.count() < kWarmUp ? 0.0 : std::abs(error) / usual.value();
    const bool anomaly = score > threshold;
    std::printf("%g %g %.2f%s\n", static_cast<double>(value), static_cast<double>(first ? value : forecast), score,
                anomaly ? " anomaly" : "");
    std::fflush(stdout);
    if (!anomaly && !first) usual.add(error);
    const float seen = anomaly ? forecast : value;
    stream.step(&seen, &forecast);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s MODEL [THRESHOLD] < SERIES\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1], argc > 2 ? std::atof(argv[2]) : 5.0);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
