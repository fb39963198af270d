// TensorImpl: what a Tensor handle points at; Node: one recorded operation; record(): how operations put
// themselves on the tape. Internal to core/.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/storage.h"
#include "rnncore/tensor.hpp"

namespace rnncore {

// One recorded operation. `backward` maps dL/doutputs (undefined = zero) to dL/dinputs (undefined = none).
// Nodes hold their inputs, never their outputs, so no cycle arises: results that backward needs are kept by Saved.
struct Node {
  const char* name = "";
  std::uint64_t sequence = 0;  // creation order: backward runs in descending order
  std::vector<Tensor> inputs;
  std::size_t output_count = 1;
  std::vector<Shape> output_shapes;
  std::vector<DType> output_dtypes;
  // One of the two; both empty once freed.
  std::function<std::vector<Tensor>(const std::vector<Tensor>& output_grads)> backward;
  std::function<void(const Tensor& output_grad, Tensor& input_grad)> backward_into;  // adds: one input, one output

  Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node();  // frees long chains without recursion
  bool freed() const { return !backward && !backward_into; }
  void free() {
    backward = nullptr;
    backward_into = nullptr;
    inputs.clear();
  }
};

struct TensorImpl {
  std::shared_ptr<Storage> storage;
  Shape shape;
  DType dtype = DType::float32;
  std::int64_t offset = 0;  // elements into the storage (slices along axis 0 share it)
  bool requires_grad = false;
  Tensor grad;                 // leaves only
  std::shared_ptr<Node> node;  // non-leaves: who made it
  std::size_t output_index = 0;
};

// A tensor kept for backward: off the tape, its version checked when it is used again.
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor& t) : tensor_(t.defined() ? t.detach() : t), version_(t.defined() ? t.version() : 0) {}
  // ArgumentError if it was written to in between.
  const Tensor& get(const char* operation) const;
  bool defined() const { return tensor_.defined(); }

 private:
  Tensor tensor_;
  std::uint64_t version_ = 0;
};

// After the last byte of an in-place write (mutable_raw() marks its beginning): a copy that another thread packed from
// half-written memory is not taken for the current one.
inline void finish_write(const Tensor& t) { t.impl()->storage->bump(); }

// True if grad mode is on and any of the inputs requires grad.
bool should_record(const std::vector<Tensor>& inputs);

// Puts one node on the tape for `outputs` (fresh tensors); call only if should_record(inputs).
void record(const char* name, std::vector<Tensor> inputs, std::vector<Tensor*> outputs,
            std::function<std::vector<Tensor>(const std::vector<Tensor>&)> backward);

// As record, where the output is a part of the input: `backward` adds dL/doutput into the gradient of the input, which
// starts as zeros, so that T parts cost one pass over the input and not T.
void record_part(const char* name, const Tensor& input, Tensor& output,
                 std::function<void(const Tensor& output_grad, Tensor& input_grad)> backward);

// The packed copy of a weight matrix (rows, cols) for x W^T (trans = true) or x W.
backend::PackedPtr packed_weight(const Tensor& weight, bool trans_b);

}  // namespace rnncore
