// The gates that a forward pass in training mode kept, in the weights' order.
#include "backend/cpu/recurrent_layout.h"

namespace rnncore::cpu {
namespace {

template <typename T>
void copy_gates(const backend::RecurrentGeometry& g, const backend::RecurrentBuffers& buffers, T* out) {
  const Layout<T> l(g);
  const std::int64_t gates = gates_of(LayerSpec{g.cell, g.H, g.options});
  for (std::int64_t row = 0; row < l.T_ * l.N; ++row) {
    const T* const from = static_cast<const T*>(buffers.gates) + l.rows.run(l.T_, row).at * l.gates_row;
    for (int s = l.k.slots - 1; s >= 0; --s) {  // the first slot of a gate is the one that stays
      T* const to = out + (row * gates + l.k.gate[s]) * l.H;
      for (std::int64_t u = 0; u < l.H; ++u) to[u] = from[(u / l.k.block * l.k.slots + s) * l.k.block + u % l.k.block];
    }
  }
}

}  // namespace
}  // namespace rnncore::cpu

namespace rnncore::backend {

void recurrent_gates(Device, const RecurrentGeometry& g, const RecurrentBuffers& buffers, void* out) {
  if (g.dtype == DType::float64)
    cpu::copy_gates(g, buffers, static_cast<double*>(out));
  else
    cpu::copy_gates(g, buffers, static_cast<float*>(out));
}

}  // namespace rnncore::backend
