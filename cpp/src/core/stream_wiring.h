// What stands between the layers of a stream: the connections of recurrent.hpp, one step at a time, with the arithmetic
// of the operations that whole sequences use (so the bits agree), over buffers made at construction. Internal to core/.
#pragma once

#include <vector>

#include "backend/pointwise.h"
#include "core/recurrent_layer.h"

namespace rnncore {

class StreamWiring {
 public:
  StreamWiring(const RecurrentSpec& spec, const StackParameters& stack, std::int64_t batch, DType dtype);
  // What layer k reads: `in` (N, input_size) is the stack's input, `below` (N, O_{k-1}) the output under it.
  const void* input_of(std::size_t k, const void* in, const void* below) noexcept;
  // The output of layer k, y (N, O_k), joined to the one below.
  const void* joined(std::size_t k, const void* below, const void* y) noexcept;

 private:
  struct Link {
    std::int64_t below = 0, size = 0;
    backend::PackedPtr skip, gate;
    Tensor bias;       // of the gate
    Tensor x, t, out;  // (N, size): weight_skip x; the gate; the result
    Tensor seen;       // dense: (N, I_k)
    bool highway = false, residual = false;
  };
  void multiply(const Link& link, const backend::Packed* weight, const void* x, Tensor& out,
                const Tensor& bias) noexcept;
  void binary(backend::Binary op, std::int64_t n, const void* a, const void* b, void* y) const noexcept;

  std::int64_t batch_;
  DType dtype_;
  std::vector<Link> links_;
  std::int64_t input_size_;
};

}  // namespace rnncore
