// The output layer of a ModelStream, over buffers that were allocated at construction. Internal to core/.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "core/tensor_impl.h"
#include "rnncore/model.hpp"

namespace rnncore {

class OutputStream {
 public:
  OutputStream(const Model& model, std::int64_t batch);
  // hidden (N, width) -> out (N, O): logits, or the log-probabilities of a softmax with clusters, as head_logits gives.
  // threads: 1, or 0: as many as the work deserves. Allocates nothing.
  void step(const void* hidden, void* out, int threads) const noexcept;

 private:
  struct Product {  // y = x W^T + bias
    backend::PackedPtr weight;
    Tensor bias;  // a copy, or undefined: zeros
    std::int64_t inputs = 0, outputs = 0;
  };
  struct Cluster {
    Product projection, words;  // projection: of no output where there is none
    Tensor hidden;              // (N, D), where there is a projection
    std::int64_t first = 0;
  };
  static Product pack(const Tensor& weight, const Tensor& bias);
  void multiply(const Product& p, const void* x, char* y, std::int64_t stride, int threads) const noexcept;
  void log_softmax(char* row, std::int64_t cols, int threads) const noexcept;
  template <typename T>
  void add_to(char* row, std::int64_t cols, double value) const noexcept;

  std::int64_t batch_, outputs_, shortlist_ = 0;
  DType dtype_;
  Product projection_;  // of no output where there is none
  Tensor projected_;    // (N, projection_size)
  Product head_;
  Tensor head_out_;  // (N, c_0 + n)
  std::vector<Cluster> clusters_;
};

}  // namespace rnncore
