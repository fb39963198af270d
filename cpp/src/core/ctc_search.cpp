// Decoding of CTC outputs: the best path (Graves et al. 2006, section 3.2), and a prefix search with a beam: the paths
// that lead to one labelling are summed, those that end in a blank apart from those that end in a label, since only
// after a blank does a repeated label count twice (the same section's prefix search, bounded; Hannun et al. 2014,
// "First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs", algorithm 1).
#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "core/ops_common.h"

namespace rnncore {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();  // ln 0

double log_add(double a, double b) {
  if (a == kNever) return b;
  if (b == kNever) return a;
  return a > b ? a + std::log1p(std::exp(b - a)) : b + std::log1p(std::exp(a - b));
}

void check_search(const char* name, const Tensor& log_probs, const Tensor& lengths, std::int64_t blank) {
  check_float(name, "log_probs", log_probs);
  if (log_probs.dim() != 3 || log_probs.size(2) == 0)
    throw_argument(name, "log_probs", "shape (T, N, C) with C >= 1", to_string(log_probs.shape()));
  const std::int64_t T = log_probs.size(0), N = log_probs.size(1), C = log_probs.size(2);
  if (blank < 0 || blank >= C)
    throw_argument(name, "blank", "a class in [0, " + std::to_string(C) + ")", std::to_string(blank));
  check_defined(name, "input_lengths", lengths);
  if (lengths.dtype() != DType::int64) throw_type(name, "input_lengths", "int64", name_of(lengths.dtype()));
  if (lengths.shape() != Shape{N})
    throw_argument(name, "input_lengths", "shape (N,) = (" + std::to_string(N) + ",)", to_string(lengths.shape()));
  for (std::int64_t n = 0; n < N; ++n) {
    const std::int64_t length = lengths.data<std::int64_t>()[n];
    if (length < 0 || length > T)
      throw_argument(name, "input_lengths[" + std::to_string(n) + "]", "a length in [0, " + std::to_string(T) + "]",
                     std::to_string(length));
  }
}

// The labellings that were met, as a tree: each but the root (0, nothing) is its parent with one label more.
class Labellings {
 public:
  std::int64_t child(std::int64_t parent, std::int64_t label, std::int64_t classes) {
    const auto [at, made] = children_.try_emplace(parent * classes + label, static_cast<std::int64_t>(parents_.size()));
    if (made) {
      parents_.push_back(parent);
      labels_.push_back(label);
    }
    return at->second;
  }
  std::int64_t last(std::int64_t node) const { return labels_[static_cast<std::size_t>(node)]; }
  std::vector<std::int64_t> labels(std::int64_t node) const {
    std::vector<std::int64_t> result;
    for (; node != 0; node = parents_[static_cast<std::size_t>(node)]) result.push_back(last(node));
    std::reverse(result.begin(), result.end());
    return result;
  }

 private:
  std::vector<std::int64_t> parents_{-1}, labels_{-1};
  std::unordered_map<std::int64_t, std::int64_t> children_;
};

// Log-probability of the paths so far that give a labelling, ending in a blank or in its last label.
struct Prefix {
  std::int64_t node = 0;
  double in_blank = kNever, in_label = kNever;
  double total() const { return log_add(in_blank, in_label); }
};

class Beam {
 public:
  Beam(std::int64_t width, std::int64_t classes, std::int64_t blank) : width_(width), classes_(classes), blank_(blank) {
    prefixes_.push_back({0, 0.0, kNever});
  }

  // y: log-probabilities (C) of the next frame.
  template <typename T>
  void step(const T* y) {
    next_.clear();
    place_.clear();
    for (const Prefix& prefix : prefixes_) {
      const double total = prefix.total();
      const std::int64_t last = tree_.last(prefix.node);
      Prefix& same = at(prefix.node);
      same.in_blank = log_add(same.in_blank, total + static_cast<double>(y[blank_]));
      if (prefix.node != 0) same.in_label = log_add(same.in_label, prefix.in_label + static_cast<double>(y[last]));
      for (std::int64_t k = 0; k < classes_; ++k) {
        if (k == blank_) continue;
        const double before = k == last ? prefix.in_blank : total;
        if (before == kNever) continue;
        Prefix& longer = at(tree_.child(prefix.node, k, classes_));
        longer.in_label = log_add(longer.in_label, before + static_cast<double>(y[k]));
      }
    }
    prefixes_.swap(next_);
    keep(width_);
  }

  std::vector<CtcHypothesis> best(std::int64_t top) {
    keep(top);
    std::vector<CtcHypothesis> result;
    for (const Prefix& prefix : prefixes_) result.push_back({tree_.labels(prefix.node), prefix.total()});
    return result;
  }

 private:
  Prefix& at(std::int64_t node) {
    const auto [place, made] = place_.try_emplace(node, next_.size());
    if (made) next_.push_back({node, kNever, kNever});
    return next_[place->second];
  }
  // The best, best first; equals in the order in which they were met.
  void keep(std::int64_t count) {
    const auto kept = std::min(static_cast<std::size_t>(count), prefixes_.size());
    std::partial_sort(prefixes_.begin(), prefixes_.begin() + static_cast<std::ptrdiff_t>(kept), prefixes_.end(),
                      [](const Prefix& a, const Prefix& b) {
                        const double x = a.total(), y = b.total();
                        return x != y ? x > y : a.node < b.node;
                      });
    prefixes_.resize(kept);
  }

  std::int64_t width_, classes_, blank_;
  Labellings tree_;
  std::vector<Prefix> prefixes_, next_;
  std::unordered_map<std::int64_t, std::size_t> place_;
};

template <typename T>
CtcHypothesis best_path(const Tensor& log_probs, std::int64_t n, std::int64_t length, std::int64_t blank) {
  const std::int64_t N = log_probs.size(1), C = log_probs.size(2);
  CtcHypothesis result;
  std::int64_t before = blank;
  for (std::int64_t t = 0; t < length; ++t) {
    const T* y = log_probs.data<T>() + (t * N + n) * C;
    const std::int64_t best = std::max_element(y, y + C) - y;
    result.log_prob += static_cast<double>(y[best]);
    if (best != blank && best != before) result.labels.push_back(best);
    before = best;
  }
  return result;
}

template <typename T>
std::vector<CtcHypothesis> search(const Tensor& log_probs, std::int64_t n, std::int64_t length, Beam beam,
                                  std::int64_t top) {
  const std::int64_t N = log_probs.size(1), C = log_probs.size(2);
  for (std::int64_t t = 0; t < length; ++t) beam.step(log_probs.data<T>() + (t * N + n) * C);
  return beam.best(top);
}

}  // namespace

std::vector<CtcHypothesis> ctc_greedy_search(const Tensor& log_probs, const Tensor& input_lengths, std::int64_t blank) {
  check_search("ctc_greedy_search", log_probs, input_lengths, blank);
  std::vector<CtcHypothesis> result;
  for (std::int64_t n = 0; n < log_probs.size(1); ++n) {
    const std::int64_t length = input_lengths.data<std::int64_t>()[n];
    result.push_back(log_probs.dtype() == DType::float32 ? best_path<float>(log_probs, n, length, blank)
                                                         : best_path<double>(log_probs, n, length, blank));
  }
  return result;
}

std::vector<std::vector<CtcHypothesis>> ctc_beam_search(const Tensor& log_probs, const Tensor& input_lengths,
                                                        std::int64_t beam, std::int64_t top, std::int64_t blank) {
  const char* name = "ctc_beam_search";
  check_search(name, log_probs, input_lengths, blank);
  if (beam < 1) throw_argument(name, "beam", "at least 1", std::to_string(beam));
  if (top < 1 || top > beam)
    throw_argument(name, "top", "in [1, beam = " + std::to_string(beam) + "]", std::to_string(top));
  std::vector<std::vector<CtcHypothesis>> result;
  for (std::int64_t n = 0; n < log_probs.size(1); ++n) {
    const std::int64_t length = input_lengths.data<std::int64_t>()[n];
    Beam start(beam, log_probs.size(2), blank);
    result.push_back(log_probs.dtype() == DType::float32 ? search<float>(log_probs, n, length, std::move(start), top)
                                                         : search<double>(log_probs, n, length, std::move(start), top));
  }
  return result;
}

}  // namespace rnncore
