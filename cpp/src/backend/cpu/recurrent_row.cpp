// A stack that steps one row at a time: pointers, sizes and kernels are settled when it is made.
#include <cstring>

#include "backend/cpu/recurrent_layout.h"

namespace rnncore::cpu {
namespace {

template <typename T>
class Rows final : public backend::RowStack {
 public:
  explicit Rows(const std::vector<Layer>& layers) {
    layers_.reserve(layers.size());
    for (const Layer& layer : layers) add(layer);
  }

  void step(const void* x, void* y) noexcept override {
    const FlushDenormals flush;
    layers_.front().args.x = static_cast<const T*>(x);
    layers_.front().args.gates = nullptr;
    step_layers(y);
  }

  void use_threads(bool on) override {
    constexpr double kWorthATeam = 2e4;  // nanoseconds to gain: a team starts and ends with each step
    double work = 0;
    for (const One& layer : layers_) work += layer.work;
    const int threads = on ? threads_for(work) : 1;
    threads_ = work / kRowRate * (1 - 1.0 / threads) > kWorthATeam ? threads : 1;
  }

  void set_embedding(std::int64_t V, const void* embedding) override {
    constexpr std::size_t kMostBytes = std::size_t{256} << 20;  // beyond it the products are made again at each step
    embedding_ = static_cast<const T*>(embedding);
    const std::size_t bytes = static_cast<std::size_t>(V * gate_values_) * sizeof(T);
    products_ = Buffer(bytes <= kMostBytes ? bytes : 0);
    known_.assign(bytes <= kMostBytes ? static_cast<std::size_t>(V) : 0, 0);
  }

  void step_token(std::int64_t token, void* y) noexcept override {
    const FlushDenormals flush;
    RowStep<T>& first = layers_.front().args;
    const T* const x = embedding_ + token * first.I;
    first.x = known_.empty() ? x : nullptr;
    first.gates = known_.empty() ? nullptr : static_cast<T*>(products_.data()) + token * gate_values_;
    if (!known_.empty() && !known_[static_cast<std::size_t>(token)]) {
      multiply(x, first.gates);
      known_[static_cast<std::size_t>(token)] = 1;
    }
    step_layers(y);
  }

  void get_state(std::size_t layer, void* h, void* c) const noexcept override {
    const RowStep<T>& args = layers_[layer].args;
    std::memcpy(h, args.h_prev, static_cast<std::size_t>(args.R) * sizeof(T));
    if (c) std::memcpy(c, args.c, static_cast<std::size_t>(args.H) * sizeof(T));
  }
  void set_state(std::size_t layer, const void* h, const void* c) noexcept override {
    const RowStep<T>& args = layers_[layer].args;
    std::memcpy(const_cast<T*>(args.h_prev), h, static_cast<std::size_t>(args.R) * sizeof(T));
    if (c) std::memcpy(args.c, c, static_cast<std::size_t>(args.H) * sizeof(T));
  }

 private:
  struct One {
    RowStep<T> args;
    void (*run)(const RowStep<T>&) = nullptr;
    T* next = nullptr;  // where h_prev stands
    backend::PackedPtr input, recurrent, projection;
    Buffer memory;                                                         // two rows of h, one of c, one of the bias
    double work = 0;                                                       // multiply-adds of a step
    const T* output() const { return projection ? args.h_prev : args.h; }  // of the step under way
  };

  void step_layers(void* y) noexcept {
    for (std::size_t i = 1; i < layers_.size(); ++i) layers_[i].args.x = layers_[i - 1].output();
    if (threads_ > 1)
      run_team(threads_, [this](const Member& m) { share_layers(m); });
    else
      for (const One& layer : layers_) {
        layer.run(layer.args);
        if (layer.projection) project(Member{}, layer);
      }
    for (One& layer : layers_) {
      layer.args.downwards = !layer.args.downwards;
      if (layer.projection) continue;
      std::swap(layer.args.h, layer.next);
      layer.args.h_prev = layer.next;
    }
    std::memcpy(y, layers_.back().args.h_prev, output_bytes_);
  }

  // Each member takes some units of every layer, always the same ones: its share of the weights stays in its caches.
  void share_layers(const Member& m) const noexcept {
    for (const One& layer : layers_) {
      RowStep<T> mine = layer.args;
      const Range vectors = m.share(layer.args.vector_end);
      mine.vector_begin = vectors.begin;
      mine.vector_end = vectors.end;
      if (vectors.size() > 0) layer.run(mine);
      m.barrier();
      if (!layer.projection) continue;
      project(m, layer);
      m.barrier();
    }
  }

  // h from the cell's output, into the row that the cell has read.
  void project(const Member& m, const One& layer) const noexcept {
    RowProduct<T> p;
    p.a = layer.args.h;
    p.run = layer.args.H;
    p.b = layer.projection.get();
    p.c = layer.next;
    p.rows = 1;
    p.columns = layer.args.R;
    row_product(m, p);
  }

  // The first layer's input product of one row, with the bias.
  void multiply(const T* x, T* gates) const noexcept {
    const One& first = layers_.front();
    RowProduct<T> p;
    p.a = x;
    p.run = first.args.I;
    p.b = first.input.get();
    p.c = gates;
    p.rows = 1;
    p.columns = gate_values_;
    p.bias = first.args.bias;
    p.start = Start::bias;
    row_product(Member{}, p);
  }

  void add(const Layer& layer) {
    backend::RecurrentGeometry g;
    g.cell = layer.spec.cell;
    g.options = layer.spec.options;
    g.H = layer.spec.hidden_size;
    const Layout<T> l(g);
    One one;
    one.run = l.k.row;
    one.input = layer.input;
    one.recurrent = layer.recurrent;
    one.projection = layer.projection;
    one.memory = Buffer(static_cast<std::size_t>(3 * l.units + l.gate_values) * sizeof(T));
    std::memset(one.memory.data(), 0, one.memory.bytes());
    T* const memory = static_cast<T*>(one.memory.data());
    one.args.H = g.H;
    one.args.R = layer.spec.state_size();
    one.args.I = layer.I;
    one.args.vector_end = (g.H + l.k.lanes - 1) / l.k.lanes;
    one.args.input_weights = one.input->template data<T>();
    one.args.weights = one.recurrent->template data<T>();
    one.args.h_prev = one.next = memory;
    one.args.h = memory + l.units;
    one.work = static_cast<double>(l.units) *
               static_cast<double>(layer.I * l.k.input_count + one.args.R * l.k.recurrent_count);
    if (one.projection) one.work += static_cast<double>(g.H * one.args.R);
    if (l.k.cell) one.args.c_prev = one.args.c = memory + 2 * l.units;
    T* const bias = memory + 3 * l.units;
    fill_bias(l, layer.bias_ih, layer.bias_hh, bias);
    one.args.bias = bias;
    output_bytes_ = static_cast<std::size_t>(one.args.R) * sizeof(T);
    if (layers_.empty()) gate_values_ = l.gate_values;
    layers_.push_back(std::move(one));
  }

  std::vector<One> layers_;
  int threads_ = 1;
  std::int64_t gate_values_ = 0;  // of the first layer
  const T* embedding_ = nullptr;
  Buffer products_;  // (V, gate_values_)
  std::vector<std::uint8_t> known_;
  std::size_t output_bytes_ = 0;
};

}  // namespace
}  // namespace rnncore::cpu

namespace rnncore::backend {

bool row_stack_serves(Device, DType dtype, const LayerSpec& layer) {
  if (!layer.delays.empty()) return false;
  return dtype == DType::float64 ? cpu::kernels_of<double>(layer.cell, layer.options).row != nullptr
                                 : cpu::kernels_of<float>(layer.cell, layer.options).row != nullptr;
}

std::unique_ptr<RowStack> make_row_stack(Device, DType dtype, const std::vector<RowStack::Layer>& layers) {
  if (dtype == DType::float64) return std::make_unique<cpu::Rows<double>>(layers);
  return std::make_unique<cpu::Rows<float>>(layers);
}

}  // namespace rnncore::backend
