// The tape: recording nodes, walking them backwards, freeing them.
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>

#include "backend/pointwise.h"
#include "core/tensor_impl.h"

namespace rnncore {
namespace {

std::atomic<std::uint64_t> next_sequence{1};

// Gradient of one node output while the walk has not reached the node yet.
struct Slot {
  Tensor grad;
  bool owned = false;  // made here, so it may be added into
};

void accumulate(Slot& slot, Tensor grad) {
  if (!slot.grad.defined()) {
    slot.grad = std::move(grad);
  } else if (slot.owned) {
    slot.grad.add_(grad);
  } else {
    Tensor sum = slot.grad.clone();
    sum.add_(grad);
    slot.grad = std::move(sum);
    slot.owned = true;
  }
}

// Callers on several threads may go back through shared parameters: one at a time adds into leaves. Held over a fork,
// so that the child does not find it locked for ever.
std::mutex& leaf_mutex() {
  static std::mutex* const instance = [] {
    auto* made = new std::mutex();
    pthread_atfork([] { leaf_mutex().lock(); }, [] { leaf_mutex().unlock(); }, [] { leaf_mutex().unlock(); });
    return made;
  }();
  return *instance;
}

void accumulate_leaf(TensorImpl& leaf, Tensor grad) {
  const std::lock_guard<std::mutex> lock(leaf_mutex());
  if (leaf.grad.defined()) {
    leaf.grad.add_(grad);
    return;
  }
  // Take the tensor itself only if nobody else can see its memory.
  const bool alone = grad.impl().use_count() == 1 && grad.impl()->storage.use_count() == 1 && grad.impl()->offset == 0;
  leaf.grad = alone ? std::move(grad) : grad.clone();
}

// A gradient that may be added into: zeros where there is none yet.
Tensor& own(Slot& slot, const TensorImpl& of) {
  if (!slot.grad.defined())
    slot.grad = Tensor::zeros(of.shape, of.dtype);
  else if (!slot.owned)
    slot.grad = slot.grad.clone();
  slot.owned = true;
  return slot.grad;
}

void accumulate_leaf_part(TensorImpl& leaf, const Node& part, const Tensor& grad) {
  const std::lock_guard<std::mutex> lock(leaf_mutex());
  if (!leaf.grad.defined()) leaf.grad = Tensor::zeros(leaf.shape, leaf.dtype);
  part.backward_into(grad, leaf.grad);
}

// All nodes that `root` depends on, latest first. Throws if any of them was freed.
std::vector<Node*> nodes_below(Node* root) {
  std::vector<Node*> found{root}, order;
  std::unordered_map<Node*, bool> seen{{root, true}};
  while (!found.empty()) {
    Node* node = found.back();
    found.pop_back();
    order.push_back(node);
    if (node->freed())
      throw_argument("backward", "self", "a tensor whose tape is intact", "one whose tape was freed",
                     std::string("backward() was already called through '") + node->name +
                         "'; run the forward computation again (add losses first to go back through both)");
    for (const Tensor& input : node->inputs) {
      if (!input.defined() || input.impl()->node == nullptr) continue;
      Node* next = input.impl()->node.get();
      if (seen.emplace(next, true).second) found.push_back(next);
    }
  }
  std::sort(order.begin(), order.end(), [](const Node* a, const Node* b) { return a->sequence > b->sequence; });
  return order;
}

Tensor checked_seed(const Tensor& self, const Tensor& seed) {
  if (!seed.defined()) {
    if (self.numel() != 1)
      throw_argument("backward", "self", "a single element, or a seed gradient of the same shape",
                     "shape " + to_string(self.shape()) + " and no seed", "reduce with sum or mean, or pass gradient=");
    return Tensor::full(self.shape(), 1.0, self.dtype());
  }
  if (seed.dtype() != self.dtype()) throw_type("backward", "gradient", name_of(self.dtype()), name_of(seed.dtype()));
  if (seed.shape() != self.shape())
    throw_argument("backward", "gradient", "shape " + to_string(self.shape()), to_string(seed.shape()));
  return seed.detach();
}

void check_gradient(const Node& node, std::size_t i, const Tensor& grad) {
  const Tensor& input = node.inputs[i];
  if (grad.shape() == input.shape() && grad.dtype() == input.dtype()) return;
  throw Error(error_message(std::string(node.name) + " backward", "gradient of input " + std::to_string(i),
                            std::string(name_of(input.dtype())) + " " + to_string(input.shape()),
                            std::string(name_of(grad.dtype())) + " " + to_string(grad.shape()), "a defect in rnncore"));
}

}  // namespace

// Destroying the last handle of a long chain must not recurse once per node: nodes that die while another is being
// destroyed on this thread hand it their inputs.
Node::~Node() {
  thread_local std::vector<Tensor>* draining = nullptr;
  if (draining != nullptr) {
    for (Tensor& input : inputs) draining->push_back(std::move(input));
    return;
  }
  std::vector<Tensor> pending = std::move(inputs);
  draining = &pending;
  backward = nullptr;
  backward_into = nullptr;
  while (!pending.empty()) {
    const Tensor last = std::move(pending.back());
    pending.pop_back();
  }
  draining = nullptr;
}

bool should_record(const std::vector<Tensor>& inputs) {
  if (!grad_enabled()) return false;
  return std::any_of(inputs.begin(), inputs.end(), [](const Tensor& t) { return t.defined() && t.requires_grad(); });
}

namespace {

std::shared_ptr<Node> new_node(const char* name, std::vector<Tensor> inputs, const std::vector<Tensor*>& outputs) {
  auto node = std::make_shared<Node>();
  node->name = name;
  node->sequence = next_sequence.fetch_add(1, std::memory_order_relaxed);
  node->inputs = std::move(inputs);
  node->output_count = outputs.size();
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    TensorImpl& impl = *outputs[i]->impl();
    node->output_shapes.push_back(impl.shape);
    node->output_dtypes.push_back(impl.dtype);
    impl.requires_grad = true;
    impl.node = node;
    impl.output_index = i;
  }
  return node;
}

}  // namespace

void record(const char* name, std::vector<Tensor> inputs, std::vector<Tensor*> outputs,
            std::function<std::vector<Tensor>(const std::vector<Tensor>&)> backward) {
  new_node(name, std::move(inputs), outputs)->backward = std::move(backward);
}

void record_part(const char* name, const Tensor& input, Tensor& output,
                 std::function<void(const Tensor&, Tensor&)> backward) {
  new_node(name, {input}, {&output})->backward_into = std::move(backward);
}

const Tensor& Saved::get(const char* operation) const {
  if (tensor_.defined() && tensor_.version() != version_)
    throw_argument(std::string(operation) + " backward", "saved value", "the value the forward pass used",
                   "shape " + to_string(tensor_.shape()) + " written to since",
                   "call backward() before updating parameters or writing in place");
  return tensor_;
}

backend::PackedPtr packed_weight(const Tensor& weight, bool trans_b) {
  const std::int64_t rows = weight.size(0), cols = weight.size(1);
  const TensorImpl& impl = *weight.impl();
  // Slices share a storage: the key tells them apart (64-bit mix of what defines the matrix).
  std::uint64_t key = 0x9E3779B97F4A7C15ull;
  for (const std::uint64_t part :
       {static_cast<std::uint64_t>(impl.offset), static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(cols),
        static_cast<std::uint64_t>(impl.dtype) * 2 + trans_b}) {
    key = (key ^ part) * 0xBF58476D1CE4E5B9ull;
    key ^= key >> 29;
  }
  return impl.storage->packed(key, backend::pack_epoch(weight.device()), [&] {
    return backend::pack_matrix(weight.device(), weight.dtype(), trans_b, trans_b ? rows : cols, trans_b ? cols : rows,
                                weight.raw(), cols);
  });
}

// Tensor's tape members ---------------------------------------------------------------------------------------

bool Tensor::requires_grad() const { return impl_ != nullptr && impl_->requires_grad; }
bool Tensor::is_leaf() const { return impl_ == nullptr || impl_->node == nullptr; }

Tensor& Tensor::set_requires_grad(bool value) {
  if (value && !is_float(dtype())) throw_type("requires_grad", "self", "a float dtype", name_of(dtype()));
  if (!is_leaf()) {
    if (value) return *this;
    throw_argument("requires_grad", "self", "a leaf", "the result of a recorded operation", "use detach()");
  }
  impl_->requires_grad = value;
  return *this;
}

Tensor Tensor::grad() const {
  static_cast<void>(shape());  // an undefined tensor is an error
  return impl_->grad;
}

void Tensor::set_grad(Tensor grad) {
  if (grad.defined()) {
    if (grad.dtype() != dtype()) throw_type("set_grad", "grad", name_of(dtype()), name_of(grad.dtype()));
    if (grad.shape() != shape())
      throw_argument("set_grad", "grad", "shape " + to_string(shape()), to_string(grad.shape()));
    if (grad.requires_grad()) grad = grad.detach();
  } else {
    static_cast<void>(shape());
  }
  impl_->grad = std::move(grad);
}

void Tensor::backward(const Tensor& seed) const {
  if (!is_float(dtype())) throw_type("backward", "self", "a float dtype", name_of(dtype()));
  if (!requires_grad())
    throw_argument("backward", "self", "a tensor that requires grad", "one that does not",
                   "was it computed under no_grad, detached, or from gradients (double backward is not supported)?");
  Tensor first = checked_seed(*this, seed);
  const NoGradGuard guard;
  if (is_leaf()) {
    accumulate_leaf(*impl_, std::move(first));
    return;
  }
  const std::vector<Node*> order = nodes_below(impl_->node.get());
  // Each node lives through its consumers' inputs, which are dropped as the walk passes: hold all of them.
  std::unordered_map<Node*, std::vector<Slot>> slots;
  std::vector<std::shared_ptr<Node>> alive{impl_->node};
  slots[impl_->node.get()].resize(impl_->node->output_count);
  slots[impl_->node.get()][impl_->output_index].grad = std::move(first);
  const auto slot_of = [&slots](const TensorImpl& of) -> Slot& {
    auto& into = slots[of.node.get()];
    into.resize(of.node->output_count);
    return into[of.output_index];
  };
  for (Node* node : order) {
    const std::vector<Tensor> inputs = node->inputs;
    for (const Tensor& input : inputs)
      if (input.defined() && input.impl()->node != nullptr) alive.push_back(input.impl()->node);
    const auto found = slots.find(node);
    std::vector<Tensor> grads;
    if (found != slots.end()) {
      std::vector<Tensor> output_grads;
      for (Slot& slot : found->second) output_grads.push_back(std::move(slot.grad));
      slots.erase(found);
      if (node->backward) {
        grads = node->backward(output_grads);
      } else {
        TensorImpl& input = *inputs[0].impl();
        if (input.node == nullptr)
          accumulate_leaf_part(input, *node, output_grads[0]);
        else
          node->backward_into(output_grads[0], own(slot_of(input), input));
      }
    }
    for (std::size_t i = 0; i < grads.size(); ++i)
      if (grads[i].defined()) check_gradient(*node, i, grads[i]);
    node->free();
    for (std::size_t i = 0; i < grads.size(); ++i) {
      if (!grads[i].defined() || !inputs[i].defined() || !inputs[i].requires_grad()) continue;
      TensorImpl& input = *inputs[i].impl();
      if (input.node == nullptr)
        accumulate_leaf(input, std::move(grads[i]));
      else
        accumulate(slot_of(input), std::move(grads[i]));
    }
  }
}

}  // namespace rnncore
