// Differentiable operations. Every function checks shapes and dtypes once, at the boundary, and throws
// ArgumentError / TypeError with "[operation] argument: expected E, got G; hint".
// Element-wise operations broadcast as NumPy does. Axes may be negative. Float operands share one float dtype.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rnncore/random.hpp"
#include "rnncore/tensor.hpp"

namespace rnncore {

// Products ------------------------------------------------------------------------------------------------
RNNCORE_EXPORT Tensor matmul(const Tensor& a, const Tensor& b);  // (..., M, K) x (K, N), or equal leading axes
// x (..., I), weight (O, I), bias (O) or undefined -> (..., O): x weight^T + bias
RNNCORE_EXPORT Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

// Element-wise --------------------------------------------------------------------------------------------
RNNCORE_EXPORT Tensor add(const Tensor& a, const Tensor& b);
RNNCORE_EXPORT Tensor sub(const Tensor& a, const Tensor& b);
RNNCORE_EXPORT Tensor mul(const Tensor& a, const Tensor& b);
RNNCORE_EXPORT Tensor div(const Tensor& a, const Tensor& b);
RNNCORE_EXPORT Tensor add(const Tensor& a, double b);
RNNCORE_EXPORT Tensor mul(const Tensor& a, double b);
RNNCORE_EXPORT Tensor pow(const Tensor& a, double exponent);
RNNCORE_EXPORT Tensor neg(const Tensor& a);
RNNCORE_EXPORT Tensor exp(const Tensor& a);
RNNCORE_EXPORT Tensor log(const Tensor& a);
RNNCORE_EXPORT Tensor sqrt(const Tensor& a);
RNNCORE_EXPORT Tensor abs(const Tensor& a);
RNNCORE_EXPORT Tensor tanh(const Tensor& a);
RNNCORE_EXPORT Tensor sigmoid(const Tensor& a);
RNNCORE_EXPORT Tensor relu(const Tensor& a);

// Shape ---------------------------------------------------------------------------------------------------
RNNCORE_EXPORT Tensor cat(const std::vector<Tensor>& tensors, std::int64_t axis);
RNNCORE_EXPORT Tensor stack(const std::vector<Tensor>& tensors, std::int64_t axis);
RNNCORE_EXPORT Tensor slice(const Tensor& a, std::int64_t axis, std::int64_t start, std::int64_t stop);
RNNCORE_EXPORT std::vector<Tensor> chunk(const Tensor& a, std::int64_t chunks, std::int64_t axis);
RNNCORE_EXPORT Tensor transpose(const Tensor& a, std::int64_t axis0, std::int64_t axis1);

// Reductions (axis given: that axis is removed unless keepdim) --------------------------------------------
RNNCORE_EXPORT Tensor sum(const Tensor& a);
RNNCORE_EXPORT Tensor sum(const Tensor& a, std::int64_t axis, bool keepdim = false);
RNNCORE_EXPORT Tensor mean(const Tensor& a);
RNNCORE_EXPORT Tensor mean(const Tensor& a, std::int64_t axis, bool keepdim = false);
RNNCORE_EXPORT Tensor argmax(const Tensor& a, std::int64_t axis);  // int64, not differentiable; first of equals

// Over each sequence's own steps: a (T, N, F) -> (N, F), the first lengths[n] (int64 (N); undefined: T) of sequence n.
// Of no step: 0. The maximum's gradient goes to the first of equals.
RNNCORE_EXPORT Tensor max_over_time(const Tensor& a, const Tensor& lengths = {});
RNNCORE_EXPORT Tensor mean_over_time(const Tensor& a, const Tensor& lengths = {});

// Attention (Bahdanau, Cho & Bengio 2015; Luong, Pham & Manning 2015) --------------------------------------
// Each of Tq queries over the first lengths[n] (int64 (N); undefined: Ts) keys of its own sequence:
//   score = query . key, or with v: v . tanh(query + key);  weights = softmax(scores), 0 beyond;
//   context = sum over the keys of weight * value.
// query (Tq, N, K), keys (Ts, N, K), values (Ts, N, V), v (K) or undefined. Of no key: zeros. Differentiable in all but
// the lengths. The bilinear score is the first over linear(keys, W).
struct Attended {
  Tensor context;  // (Tq, N, V)
  Tensor weights;  // (Tq, N, Ts)
};
RNNCORE_EXPORT Attended attention(const Tensor& query, const Tensor& keys, const Tensor& values,
                                  const Tensor& lengths = {}, const Tensor& v = {});

// Normalisation and losses --------------------------------------------------------------------------------
RNNCORE_EXPORT Tensor softmax(const Tensor& a, std::int64_t axis = -1);
RNNCORE_EXPORT Tensor log_softmax(const Tensor& a, std::int64_t axis = -1);
// a (..., D), weight (D) and bias (D) or undefined; Ba et al. 2016, equation 4
RNNCORE_EXPORT Tensor layer_norm(const Tensor& a, const Tensor& weight, const Tensor& bias, double eps = 1e-5);

enum class Reduction : std::uint8_t { none, mean, sum };
struct LossOptions {
  Reduction reduction = Reduction::mean;  // mean: over the targets that are not ignored
  std::int64_t ignore_index = -100;
  double label_smoothing = 0.0;  // in [0, 1); as PyTorch: (1-e) * nll + e * mean over classes
};
// log_probs (R, V), targets int64 (R)
RNNCORE_EXPORT Tensor nll_loss(const Tensor& log_probs, const Tensor& targets, const LossOptions& options = {});
// logits (R, V), targets int64 (R); log-softmax fused
RNNCORE_EXPORT Tensor cross_entropy(const Tensor& logits, const Tensor& targets, const LossOptions& options = {});
// cross_entropy(linear(x, weight, bias), targets) without holding the (R, V) logits: x (R, I), weight (V, I), bias (V).
// Reduction mean or sum; none where no gradients are wanted.
RNNCORE_EXPORT Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                           const Tensor& targets, const LossOptions& options = {});

// A softmax in two levels over V classes whose ids fall in frequency (Grave et al. 2017, section 4; with c_0 = 0 and no
// projections the class-based softmax of Goodman 2001). Cluster i holds the classes [c_i, c_{i+1}); h = head(x):
//   log P(w) = log softmax(h)[w]                                                        for w < c_0
//   log P(w) = log softmax(h)[c_0 + i] + log softmax(W_i P_i x + b_i)[w - c_i]          for w in cluster i
struct ClusteredSoftmax {
  struct Cluster {
    Tensor projection;  // P_i (D, I), or undefined: none
    Tensor weight;      // W_i (c_{i+1} - c_i, D)
    Tensor bias;        // b_i, or undefined
  };
  std::vector<std::int64_t> cutoffs;  // c_0 < c_1 < ... < c_n = V
  Tensor head_weight, head_bias;      // (c_0 + n, I); (c_0 + n) or undefined
  std::vector<Cluster> clusters;      // n
};
// The cross-entropy of targets int64 (R) given x (R, I): a row meets its cluster's weights alone, and of logits one
// block is held. Reduction mean or sum; none where no gradients are wanted. No label smoothing.
RNNCORE_EXPORT Tensor clustered_cross_entropy(const Tensor& x, const ClusteredSoftmax& softmax, const Tensor& targets,
                                              const LossOptions& options = {});
// All log-probabilities (R, V).
RNNCORE_EXPORT Tensor clustered_log_prob(const Tensor& x, const ClusteredSoftmax& softmax);

// Losses of real values, element by element. The target has the input's shape (without its last axis for
// quantile_loss) and is no part of the tape.
struct ValueLossOptions {
  Reduction reduction = Reduction::mean;  // mean: over the elements that count
  Tensor mask;  // uint8, of the target's shape, or of that without its last axis: 0 does not count. Undefined: all do
};
RNNCORE_EXPORT Tensor mse_loss(const Tensor& input, const Tensor& target, const ValueLossOptions& options = {});
RNNCORE_EXPORT Tensor l1_loss(const Tensor& input, const Tensor& target, const ValueLossOptions& options = {});
// -y log sigmoid(x) - (1 - y) log(1 - sigmoid(x)), y in [0, 1]
RNNCORE_EXPORT Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target,
                                                       const ValueLossOptions& options = {});
// max(q (y - x_q), (q - 1) (y - x_q)) for each q of `quantiles`, all in (0, 1): Koenker & Bassett 1978. input (..., Q)
RNNCORE_EXPORT Tensor quantile_loss(const Tensor& input, const Tensor& target, const std::vector<double>& quantiles,
                                    const ValueLossOptions& options = {});

// Connectionist temporal classification (Graves et al. 2006) ----------------------------------------------
struct CtcOptions {
  std::int64_t blank = 0;
  Reduction reduction = Reduction::mean;  // mean, as PyTorch: of each loss divided by its target's length (at least 1)
  bool zero_infinity = false;             // targets that fit into no path: 0 and no gradient, not infinity
};
// -ln p(target | log_probs). log_probs (T, N, C): log-softmax over C classes; targets int64 (N, S), or all labels in
// one row; input_lengths and target_lengths int64 (N). The gradient is the one of the logits whose log-softmax
// log_probs is, as PyTorch's: log_softmax's backward leaves it as it is.
RNNCORE_EXPORT Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const Tensor& input_lengths,
                               const Tensor& target_lengths, const CtcOptions& options = {});

struct CtcHypothesis {
  std::vector<std::int64_t> labels;
  double log_prob = 0.0;  // of the one path (greedy), or of all paths of these labels that the beam kept
};
// The best path of each sequence: the best class of each frame, repetitions merged, blanks left out.
RNNCORE_EXPORT std::vector<CtcHypothesis> ctc_greedy_search(const Tensor& log_probs, const Tensor& input_lengths,
                                                            std::int64_t blank = 0);
// Prefix search with a beam: the best labellings of each sequence, best first; at most `top` of them.
RNNCORE_EXPORT std::vector<std::vector<CtcHypothesis>> ctc_beam_search(const Tensor& log_probs,
                                                                       const Tensor& input_lengths,
                                                                       std::int64_t beam = 16, std::int64_t top = 1,
                                                                       std::int64_t blank = 0);

// Linear-chain conditional random field (Lafferty, McCallum & Pereira 2001) -------------------------------
// score(y) = start[y_1] + sum_t emissions[t, y_t] + sum_t transitions[y_{t-1}, y_t] + end[y_L]. A weight of -infinity
// forbids.
struct CrfWeights {
  Tensor transitions;  // (K, K): from, to
  Tensor start, end;   // (K)
};
// log Z - score(targets) of each sequence: (N). emissions (T, N, K), targets int64 (T, N), lengths int64 (N) or
// undefined: T. Forward algorithm in log space. ArgumentError where the weights forbid the targets.
RNNCORE_EXPORT Tensor crf_loss(const Tensor& emissions, const CrfWeights& weights, const Tensor& targets,
                               const Tensor& lengths = {});
// The tags (T, N) of the highest score (Viterbi 1967); -100 beyond a sequence's length. Not differentiable.
RNNCORE_EXPORT Tensor crf_decode(const Tensor& emissions, const CrfWeights& weights, const Tensor& lengths = {});
// -infinity where a sequence of these labels would not be BIO ("I-X" after anything but "B-X" and "I-X", or first),
// else 0: added to a CRF's weights, or alone, they keep invalid sequences out of crf_decode.
RNNCORE_EXPORT CrfWeights bio_penalties(const std::vector<std::string>& labels, DType dtype = DType::float32);

// Lookup and randomness -----------------------------------------------------------------------------------
// weight (V, E), ids int64 (...) -> (..., E); the row padding_idx (if >= 0) gets no gradient
RNNCORE_EXPORT Tensor embedding(const Tensor& weight, const Tensor& ids, std::int64_t padding_idx = -1);
// Inverted dropout: keeps with probability 1-p and scales by 1/(1-p); identity if !training or p == 0
RNNCORE_EXPORT Tensor dropout(const Tensor& a, double p, bool training, Generator& generator);

// One draw per row of logits (N, V) -> int64 (N). temperature 0: argmax. top_k 0: all. top_p 1: all.
struct SampleOptions {
  double temperature = 1.0;
  std::int64_t top_k = 0;
  double top_p = 1.0;
};
RNNCORE_EXPORT Tensor sample(const Tensor& logits, const SampleOptions& options, Generator& generator);

}  // namespace rnncore
