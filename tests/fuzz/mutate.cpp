// For compilers without libFuzzer: mutations of the corpus through the same entry point, the same ones for the same
// seed. Usage: rnncore_fuzz CORPUS [SECONDS [SEED]]; with 0 seconds each input as it is, and 5,000 mutations.
// A finding ends the process (the sanitizers do that); the input lies in fuzz-finding then.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" void __sanitizer_set_death_callback(void (*callback)());

namespace {

std::string current;

void keep_finding() { std::ofstream("fuzz-finding", std::ios::binary) << current; }

void run(const std::string& input) {
  current = input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

class Mutator {
 public:
  Mutator(std::vector<std::string> corpus, unsigned seed) : corpus_(std::move(corpus)), random_(seed) {}

  std::string next() {
    std::string input = corpus_[random_() % corpus_.size()];
    for (std::size_t i = 1 + random_() % 4; i > 0; --i) change(input);
    return input;
  }

 private:
  std::size_t place(const std::string& input) { return input.empty() ? 0 : random_() % input.size(); }

  void change(std::string& input) {
    static const char* const kWords[] = {"0",
                                         "-1",
                                         "4294967296",
                                         "9223372036854775807",
                                         "18446744073709551615",
                                         "1e999",
                                         "null",
                                         "{}",
                                         "[[[[[[[[",
                                         "\"\":",
                                         "\xff",
                                         "true",
                                         "\"F32\"",
                                         "\"shape\"",
                                         "\\u0000"};
    const std::size_t at = place(input);
    switch (random_() % 6) {
      case 0:
        if (!input.empty()) input[at] = static_cast<char>(random_());
        break;
      case 1:
        input.insert(at, 1, static_cast<char>(random_()));
        break;
      case 2:
        input.erase(at, 1 + random_() % 8);
        break;
      case 3:
        input.insert(at, kWords[random_() % std::size(kWords)]);
        break;
      case 4: {  // a number or a word gives place to another
        const std::size_t end = input.find_first_of(",]}\"", at);
        if (end != std::string::npos) input.replace(at, end - at, kWords[random_() % std::size(kWords)]);
        break;
      }
      default: {  // the end of another input
        const std::string& other = corpus_[random_() % corpus_.size()];
        input = input.substr(0, at) + other.substr(place(other));
      }
    }
  }

  std::vector<std::string> corpus_;
  std::mt19937 random_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s CORPUS [SECONDS [SEED]]\n", argv[0]);
    return 2;
  }
  __sanitizer_set_death_callback(keep_finding);
  std::vector<std::filesystem::path> files(std::filesystem::directory_iterator(argv[1]), {});
  std::sort(files.begin(), files.end());
  std::vector<std::string> corpus;
  for (const auto& path : files) {
    std::ifstream in(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    run(corpus.back());
  }
  if (corpus.empty()) {
    std::fprintf(stderr, "%s: no input in %s\n", argv[0], argv[1]);
    return 2;
  }
  const double seconds = argc > 2 ? std::atof(argv[2]) : 0;
  Mutator mutator(corpus, argc > 3 ? static_cast<unsigned>(std::atoi(argv[3])) : 1);
  const auto start = std::chrono::steady_clock::now();
  const auto passed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  long runs = 0;
  while (seconds > 0 ? passed() < seconds : runs < 5000) {
    run(mutator.next());
    ++runs;
  }
  std::printf("%zu inputs, %ld mutations in %.1f s: no finding\n", corpus.size(), runs, passed());
  return 0;
}
