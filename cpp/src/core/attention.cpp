// Attention of each step of one sequence over the steps of another.
#include "core/ops_common.h"

namespace rnncore {
namespace {

constexpr const char* kName = "attention";

void check_rows(const char* argument, const Tensor& t, const Tensor& query, std::int64_t steps, std::int64_t width) {
  check_same_dtype(kName, argument, t, query.dtype());
  const std::int64_t N = query.size(1);
  const bool good =
      t.dim() == 3 && t.size(1) == N && (steps < 0 || t.size(0) == steps) && (width < 0 || t.size(2) == width);
  if (good) return;
  const auto wanted = [](std::int64_t size, const char* name) {
    return size < 0 ? std::string(name) : std::string(name) + " = " + std::to_string(size);
  };
  throw_argument(kName, argument,
                 "shape (" + wanted(steps, "Ts") + ", " + wanted(N, "N") + ", " + wanted(width, width < 0 ? "V" : "K") +
                     ") for a query " + to_string(query.shape()),
                 to_string(t.shape()));
}

void check_lengths(const Tensor& lengths, std::int64_t N, std::int64_t Ts) {
  if (lengths.dtype() != DType::int64) throw_type(kName, "lengths", "int64", name_of(lengths.dtype()));
  if (lengths.shape() != Shape{N})
    throw_argument(kName, "lengths", "shape (N,) = " + to_string({N}), to_string(lengths.shape()));
  const std::int64_t* length = lengths.data<std::int64_t>();
  for (std::int64_t n = 0; n < N; ++n)
    if (length[n] < 0 || length[n] > Ts)
      throw_argument(kName, "lengths[" + std::to_string(n) + "]", "0 <= length <= Ts = " + std::to_string(Ts),
                     std::to_string(length[n]));
}

backend::Attention check_attention(const Tensor& query, const Tensor& keys, const Tensor& values, const Tensor& lengths,
                                   const Tensor& v) {
  check_float(kName, "query", query);
  if (query.dim() != 3) throw_argument(kName, "query", "shape (Tq, N, K)", to_string(query.shape()));
  backend::Attention a;
  a.dtype = query.dtype();
  a.Tq = query.size(0);
  a.N = query.size(1);
  a.K = query.size(2);
  check_rows("keys", keys, query, -1, a.K);
  a.Ts = keys.size(0);
  check_rows("values", values, query, a.Ts, -1);
  a.V = values.size(2);
  if (v.defined()) {
    check_same_dtype(kName, "v", v, a.dtype);
    if (v.shape() != Shape{a.K}) throw_argument(kName, "v", "shape (K,) = " + to_string({a.K}), to_string(v.shape()));
  }
  if (lengths.defined()) check_lengths(lengths, a.N, a.Ts);
  return a;
}

// What backward reads; `shape` with the pointers into it.
struct SavedAttention {
  Saved query, keys, values, lengths, v, weights;

  backend::Attention at(backend::Attention shape) const {
    shape.query = query.get(kName).raw();
    shape.keys = keys.get(kName).raw();
    shape.values = values.get(kName).raw();
    shape.lengths = lengths.defined() ? lengths.get(kName).data<std::int64_t>() : nullptr;
    shape.v = v.defined() ? v.get(kName).raw() : nullptr;
    return shape;
  }
};

std::vector<Tensor> go_back(const SavedAttention& saved, const backend::Attention& shape,
                            const std::vector<Tensor>& grads) {
  backend::Attention a = saved.at(shape);
  a.weights = const_cast<void*>(saved.weights.get(kName).raw());
  Tensor dquery = Tensor::empty({a.Tq, a.N, a.K}, a.dtype), dkeys = Tensor::empty({a.Ts, a.N, a.K}, a.dtype);
  Tensor dvalues = Tensor::empty({a.Ts, a.N, a.V}, a.dtype);
  Tensor parts = a.v != nullptr ? Tensor::empty({a.N, a.K}, a.dtype) : Tensor();
  backend::AttentionGradients g;
  g.dcontext = grads[0].defined() ? grads[0].raw() : nullptr;
  g.dweights = grads[1].defined() ? grads[1].raw() : nullptr;
  g.dquery = dquery.mutable_raw();
  g.dkeys = dkeys.mutable_raw();
  g.dvalues = dvalues.mutable_raw();
  g.dv = parts.defined() ? parts.mutable_raw() : nullptr;
  backend::attention_backward(dquery.device(), a, g);
  const NoGradGuard guard;
  return {dquery, dkeys, dvalues, parts.defined() ? sum(parts, 0) : Tensor()};
}

}  // namespace

Attended attention(const Tensor& query, const Tensor& keys, const Tensor& values, const Tensor& lengths,
                   const Tensor& v) {
  const backend::Attention shape = check_attention(query, keys, values, lengths, v);
  Attended out{Tensor::empty({shape.Tq, shape.N, shape.V}, shape.dtype),
               Tensor::empty({shape.Tq, shape.N, shape.Ts}, shape.dtype)};
  SavedAttention saved{Saved(query), Saved(keys), Saved(values), Saved(lengths), Saved(v), {}};
  backend::Attention a = saved.at(shape);
  a.weights = out.weights.mutable_raw();
  a.context = out.context.mutable_raw();
  backend::attention(query.device(), a);
  if (!should_record({query, keys, values, v})) return out;
  saved.weights = Saved(out.weights);
  record(kName, {query, keys, values, v}, {&out.context, &out.weights},
         [saved, shape](const std::vector<Tensor>& grads) { return go_back(saved, shape, grads); });
  return out;
}

}  // namespace rnncore
