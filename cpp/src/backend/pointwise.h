// The verbs beside products and recurrent layers: copies, element-wise, reductions, normalisation, losses, lookup,
// dropout, updates. Same contract as backend.h: checked by the caller, raw row-major contiguous memory, no throw.
// Sums run in a fixed order that does not depend on the number of threads.
#pragma once

#include <cstdint>

#include "rnncore/tensor.hpp"

namespace rnncore::backend {

class Packed;  // backend.h

// Memory ------------------------------------------------------------------------------------------------------
void zero(Device device, void* y, std::int64_t bytes);
void copy(Device device, const void* x, void* y, std::int64_t bytes);
void fill(Device device, DType dtype, std::int64_t n, double value, void* y);
void convert(Device device, DType from, DType to, std::int64_t n, const void* x, void* y);
// rows of `bytes` bytes each; strides in bytes
void copy_rows(Device device, std::int64_t rows, std::int64_t bytes, const void* x, std::int64_t x_stride, void* y,
               std::int64_t y_stride);
// y (d0, d2, d1, d3) = x (d0, d1, d2, d3) with axes 1 and 2 exchanged
void exchange(Device device, std::int64_t element_bytes, std::int64_t d0, std::int64_t d1, std::int64_t d2,
              std::int64_t d3, const void* x, void* y);

// Element-wise ------------------------------------------------------------------------------------------------
// y = f(x), p the constant of scale (x p), shift (x + p) and pow (x^p); y may be x.
enum class Unary : std::uint8_t { scale, shift, pow, exp, log, sqrt, abs, tanh, sigmoid, relu };
void unary(Device device, Unary op, DType dtype, std::int64_t n, const void* x, void* y, double p);
// True if the derivative is taken from y = f(x), false if from x.
bool derivative_from_output(Unary op);
// dx = dy f'(saved): saved is y or x as derivative_from_output says (unused for scale and shift).
void unary_backward(Device device, Unary op, DType dtype, std::int64_t n, const void* dy, const void* saved, void* dx,
                    double p);
void axpy(Device device, DType dtype, std::int64_t n, double alpha, const void* x, void* y);  // y += alpha x

enum class Binary : std::uint8_t { add, sub, mul, div };
constexpr int kMaxAxes = 8;
// y = a op b over `axes` axes (last fastest); an operand's stride is 0 where it is repeated. y is contiguous.
struct Broadcast {
  DType dtype = DType::float32;
  int axes = 0;
  std::int64_t size[kMaxAxes] = {}, a_stride[kMaxAxes] = {}, b_stride[kMaxAxes] = {};
  const void* a = nullptr;
  const void* b = nullptr;
  void* y = nullptr;
};
void binary(Device device, Binary op, const Broadcast& shape);

// Reductions --------------------------------------------------------------------------------------------------
// y (outer, inner) = scale * sum over the middle axis of x (outer, n, inner)
void sum_axis(Device device, DType dtype, std::int64_t outer, std::int64_t n, std::int64_t inner, double scale,
              const void* x, void* y);
// First index of the largest element of each row (NaN counts as largest).
void argmax_rows(Device device, DType dtype, std::int64_t rows, std::int64_t cols, const void* x, std::int64_t* y);

// Rows --------------------------------------------------------------------------------------------------------
// y may be x. threads: 0: as the work deserves.
void softmax_rows(Device device, DType dtype, bool log, std::int64_t rows, std::int64_t cols, const void* x, void* y,
                  int threads = 0);
void softmax_rows_backward(Device device, DType dtype, bool log, std::int64_t rows, std::int64_t cols, const void* dy,
                           const void* y, void* dx);

// y = (x - mean) / sqrt(var + eps) * weight + bias per row; weight and bias (cols) or null.
struct LayerNorm {
  DType dtype = DType::float32;
  std::int64_t rows = 0, cols = 0;
  double eps = 0.0;
  const void *x = nullptr, *weight = nullptr, *bias = nullptr;
  void* y = nullptr;
  void* stats = nullptr;  // (rows, 2): mean and 1/sqrt(var + eps)
};
void layer_norm(Device device, const LayerNorm& norm);
// dx, dweight, dbias: null where not wanted. Reads x, weight, stats of `norm`.
void layer_norm_backward(Device device, const LayerNorm& norm, const void* dy, void* dx, void* dweight, void* dbias);

// Losses ------------------------------------------------------------------------------------------------------
// Per row r: loss = (1-e) * -log_p[target] + e * mean(-log_p), 0 where target == ignore_index. Targets were checked.
struct CrossEntropy {
  DType dtype = DType::float32;
  std::int64_t rows = 0, cols = 0;
  std::int64_t ignore_index = -100;
  double label_smoothing = 0.0;
  bool log_probs = false;  // x holds log-probabilities (nll_loss), else logits (log-softmax fused)
  const void* x = nullptr;
  const std::int64_t* targets = nullptr;
  double* losses = nullptr;    // (rows)
  double* log_sums = nullptr;  // (rows): log sum exp of the logits; unused for log_probs
};
void cross_entropy(Device device, const CrossEntropy& loss);
// dx = scale * d(row loss)/dx, times row_scale[r] where given (null: 1). dx may be x. Reads log_sums.
void cross_entropy_backward(Device device, const CrossEntropy& loss, double scale, const void* row_scale, void* dx);

// Some rows of an output layer with its loss: logits = x W^T + bias, their cross-entropy, and what is wanted of the
// gradients of scale * (the sum of the row losses). Pointers that may be null say what is wanted.
struct OutputBlock {
  CrossEntropy loss;  // rows, cols (classes), targets and losses; x and log_sums are not used
  std::int64_t inputs = 0;
  const void* x = nullptr;            // (rows, inputs)
  const Packed* weight = nullptr;     // pack_matrix of W (classes, inputs), transposed
  const void* bias = nullptr;         // (classes) or null
  const Packed* weight_t = nullptr;   // W straight, for dx
  const void* weight_rows = nullptr;  // W as it is, for dx
  const void* weight_sum = nullptr;   // (inputs): the sum of W's rows, for dx with label smoothing; else null
  double scale = 1.0;
  void* dx = nullptr;       // (rows, inputs) or null
  void* dweight = nullptr;  // (classes, inputs) or null
  void* dbias = nullptr;    // (classes) or null
  bool accumulate = false;  // adds to dweight and dbias
};
void output_block(Device device, const OutputBlock& block);

// Losses of values: loss(x[i], y[i / group]), 0 where mask[i / masked] is 0.
struct ValueLoss {
  enum class Kind : std::uint8_t { squared, absolute, logistic, quantile };
  Kind kind = Kind::squared;
  DType dtype = DType::float32;
  std::int64_t n = 0, group = 1, masked = 1;
  const void *x = nullptr, *y = nullptr;
  const std::uint8_t* mask = nullptr;  // null: everything counts
  const double* levels = nullptr;      // (group): the quantile of x[i] is levels[i % group]
};
// The sum, by blocks of a fixed size combined in order; each loss too where `losses` is given.
double value_loss(Device device, const ValueLoss& loss, void* losses);
// dx = scale * d(loss)/dx, times element_scale[i] where given.
void value_loss_backward(Device device, const ValueLoss& loss, double scale, const void* element_scale, void* dx);

// CTC of N sequences, each by one thread, in log space and double precision. Lengths and labels were checked.
struct Ctc {
  DType dtype = DType::float32;
  std::int64_t T = 0, N = 0, C = 0, blank = 0;
  bool zero_infinity = false;
  const void* log_probs = nullptr;              // (T, N, C)
  const std::int64_t* labels = nullptr;         // of all sequences
  const std::int64_t* label_offsets = nullptr;  // (N): where a sequence's labels begin
  const std::int64_t *input_lengths = nullptr, *target_lengths = nullptr;
  const std::int64_t* space_offsets = nullptr;  // (N): where its part of `space` begins, of ctc_space doubles
  double* space = nullptr;
  double* losses = nullptr;        // (N)
  const double* scales = nullptr;  // (N): of the gradients
  void* gradient = nullptr;        // (T, N, C), or null
};
std::int64_t ctc_space(std::int64_t steps, std::int64_t labels, bool gradient);
void ctc_loss(Device device, const Ctc& ctc);

// A linear chain of tags (K) over N sequences. Lengths and targets were checked.
struct Crf {
  DType dtype = DType::float32;
  std::int64_t T = 0, N = 0, K = 0;
  const void* emissions = nullptr;              // (T, N, K)
  const void* transitions = nullptr;            // (K, K): from, to
  const void *start = nullptr, *end = nullptr;  // (K)
  const std::int64_t* lengths = nullptr;        // (N)
  const std::int64_t* targets = nullptr;        // (T, N)
  double* alpha = nullptr;                      // (N, T, K): crf_loss writes it, its backward reads it
  double* losses = nullptr;                     // (N): log Z - score of the targets
};
void crf_loss(Device device, const Crf& crf);
// dx (T, N, K) or null; dweights: transitions (K, K), start (K), end (K) in a row. scales (N): of the losses.
// space: N (K K + 4 K) doubles.
void crf_loss_backward(Device device, const Crf& crf, const double* scales, double* space, void* dx, double* dweights);
// The best tags (T, N); what lies beyond a sequence's length is left as it is. space: N 2 K doubles, back: (N, T, K).
void crf_decode(Device device, const Crf& crf, double* space, std::int64_t* back, std::int64_t* tags);

// Attention of Tq queries of each sequence over its own first lengths[n] keys (null: Ts). The score of a key is
// query . key, or with v: v . tanh(query + key). weights = softmax of the scores, 0 beyond; context = weights values.
// A sequence of no key: zeros.
struct Attention {
  DType dtype = DType::float32;
  std::int64_t Tq = 0, Ts = 0, N = 0, K = 0, V = 0;
  const std::int64_t* lengths = nullptr;                            // (N)
  const void *query = nullptr, *keys = nullptr, *values = nullptr;  // (Tq, N, K), (Ts, N, K), (Ts, N, V)
  const void* v = nullptr;                                          // (K) or null
  void *weights = nullptr, *context = nullptr;                      // (Tq, N, Ts), (Tq, N, V)
};
void attention(Device device, const Attention& a);
struct AttentionGradients {
  const void *dcontext = nullptr, *dweights = nullptr;           // null: zero
  void *dquery = nullptr, *dkeys = nullptr, *dvalues = nullptr;  // all three are written
  void* dv = nullptr;                                            // (N, K), with v: each sequence's part of its gradient
};
// Reads `weights`; allocates (std::bad_alloc) before it starts.
void attention_backward(Device device, const Attention& a, const AttentionGradients& g);

// Pooling -----------------------------------------------------------------------------------------------------
// y (N, F) of x (T, N, F) over the first lengths[n] steps of each sequence (null: T); of no step: 0.
struct TimePool {
  DType dtype = DType::float32;
  std::int64_t T = 0, N = 0, F = 0;
  const std::int64_t* lengths = nullptr;
  const void* x = nullptr;
  void* y = nullptr;
  std::int32_t* best =
      nullptr;  // (N, F) for the maximum: its step (the first of equals), -1 of no step; null: the mean
};
void pool_time(Device device, const TimePool& pool);
void pool_time_backward(Device device, const TimePool& pool, const void* dy, void* dx);

// Lookup ------------------------------------------------------------------------------------------------------
void gather_rows(Device device, DType dtype, std::int64_t count, std::int64_t cols, const void* table,
                 const std::int64_t* ids, void* y);
// table[ids[i]] += x[i] in order of i; rows with id == skip are left out
void scatter_add_rows(Device device, DType dtype, std::int64_t table_rows, std::int64_t count, std::int64_t cols,
                      const void* x, const std::int64_t* ids, std::int64_t skip, void* table);

// Randomness --------------------------------------------------------------------------------------------------
// y[i] = x[i] / (1 - p) where word i of the stream (seed, call) keeps it, else 0.
void dropout(Device device, DType dtype, std::int64_t n, double p, std::uint64_t seed, std::uint64_t call,
             const void* x, void* y);

// Updates -----------------------------------------------------------------------------------------------------
// Sum of squares of g (after clamping to +-clip_value if > 0), in double over fixed blocks combined in order.
double sum_of_squares(Device device, DType dtype, std::int64_t n, const void* g, double clip_value);
void clamp(Device device, DType dtype, std::int64_t n, double limit, void* y);  // y into [-limit, limit]

enum class Update : std::uint8_t { sgd, adam, rmsprop, asgd, dynamic };
// One parameter. g' = clamp(g, +-clip_value) * grad_scale [+ weight_decay * w]; the equations are those of torch.optim;
// dynamic: w' = w - lr scale g' + back (start - w).
struct UpdateStep {
  Update kind = Update::sgd;
  DType dtype = DType::float32;
  std::int64_t n = 0;
  void* w = nullptr;
  const void* g = nullptr;  // null: zeros
  // sgd: momentum; adam: m, v; rmsprop: v, mean (centered), momentum; asgd: ax; dynamic, only read: start, scale, back
  void* slot[3] = {};
  double grad_scale = 1.0, clip_value = 0.0, weight_decay = 0.0, lr = 0.0;
  double decay = 1.0;  // w is multiplied by this first (adamw: 1 - lr * weight_decay; asgd: 1 - lambd * eta)
  double momentum = 0.0, dampening = 0.0;
  bool nesterov = false, first = false;  // first: the momentum buffer becomes g'
  double beta1 = 0.0, beta2 = 0.0, eps = 0.0;
  double step_size = 0.0, bias2_sqrt = 1.0;  // adam: lr / (1 - beta1^t), sqrt(1 - beta2^t)
  double alpha = 0.0;                        // rmsprop: smoothing; asgd: weight of w in the average; dynamic: back
};
void update(Device device, const UpdateStep& step);

}  // namespace rnncore::backend
