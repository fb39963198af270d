// Labels of texts by a classifier or a tagger that Python trained:
//   rnncore train classify --train names/ --test-fraction 0.1 --out runs/names
//   echo Satoshi | label runs/names/model.safetensors              Japanese
//   rnncore train tag --train en-train.conllu.gz --out runs/pos
//   echo "Time flies" | label runs/pos/model.safetensors           NOUN VERB
// A text a line; the labels are those of `rnncore predict`. Lines are read a hundred at a time.
#include <rnncore/rnncore.hpp>

#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

namespace {

using namespace rnncore;

void print(const Model& model, std::vector<std::string>& texts) {
  if (texts.empty()) return;
  for (const std::vector<std::string>& labels : label(model, texts)) {
    const char* before = "";
    for (const std::string& one : labels) {
      std::printf("%s%s", before, one.c_str());
      before = " ";
    }
    std::printf("\n");
  }
  texts.clear();
}

void run(const char* path) {
  const Model model = load_model(path);
  std::vector<std::string> texts;
  for (std::string line; std::getline(std::cin, line);) {
    texts.push_back(line);
    if (texts.size() == 100) print(model, texts);
  }
  print(model, texts);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL < TEXTS\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
