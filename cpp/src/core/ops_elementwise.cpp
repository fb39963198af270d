// Element-wise operations with broadcasting, and their gradients.
#include "core/ops_common.h"

namespace rnncore {
namespace {

Shape broadcast_shape(const char* operation, const Shape& a, const Shape& b) {
  const std::size_t dims = std::max(a.size(), b.size());
  Shape out(dims);
  for (std::size_t i = 0; i < dims; ++i) {
    const std::int64_t u = i + a.size() < dims ? 1 : a[i + a.size() - dims];
    const std::int64_t v = i + b.size() < dims ? 1 : b[i + b.size() - dims];
    if (u != v && u != 1 && v != 1)
      throw_argument(operation, "b", "a shape that broadcasts with " + to_string(a), to_string(b),
                     "axes are matched from the last; sizes must be equal or 1");
    out[i] = u == 1 ? v : u;
  }
  return out;
}

// Strides of `shape` seen as `out`: 0 where repeated.
std::vector<std::int64_t> strides_in(const Shape& shape, const Shape& out) {
  std::vector<std::int64_t> strides(out.size(), 0);
  std::int64_t step = 1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const std::size_t from = shape.size() - 1 - i, to = out.size() - 1 - i;
    strides[to] = shape[from] == 1 ? 0 : step;
    step *= shape[from];
  }
  return strides;
}

// Drops axes of size 1 and merges neighbours that both operands walk as one.
backend::Broadcast collapse(const char* operation, const Shape& out, const Shape& a, const Shape& b) {
  const auto a_strides = strides_in(a, out), b_strides = strides_in(b, out);
  backend::Broadcast s;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] == 1) continue;
    if (s.axes > 0) {
      const int last = s.axes - 1;
      if (s.a_stride[last] == a_strides[i] * out[i] && s.b_stride[last] == b_strides[i] * out[i]) {
        s.size[last] *= out[i];
        s.a_stride[last] = a_strides[i];
        s.b_stride[last] = b_strides[i];
        continue;
      }
    }
    if (s.axes == backend::kMaxAxes)
      throw_argument(operation, "b", "at most " + std::to_string(backend::kMaxAxes) + " broadcast axes",
                     to_string(out));
    s.size[s.axes] = out[i];
    s.a_stride[s.axes] = a_strides[i];
    s.b_stride[s.axes] = b_strides[i];
    ++s.axes;
  }
  if (s.axes == 0) {
    s.axes = 1;
    s.size[0] = s.a_stride[0] = s.b_stride[0] = 1;
  }
  return s;
}

Tensor record_binary(const char* name, const Tensor& a, const Tensor& b, Tensor out,
                     std::function<std::pair<Tensor, Tensor>(const Tensor&)> backward) {
  const Shape a_shape = a.shape(), b_shape = b.shape();
  record(name, {a, b}, {&out}, [a_shape, b_shape, backward](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    auto [da, db] = backward(grads[0]);
    if (da.defined()) da = reduce_to(da, a_shape);
    if (db.defined()) db = reduce_to(db, b_shape);
    return {da, db};
  });
  return out;
}

// y = f(a), derivative from a or y as the backend says.
Tensor unary(const char* name, backend::Unary op, const Tensor& a, double p = 0.0) {
  check_float(name, "a", a);
  Tensor out = map_unary(op, a, p);
  if (!should_record({a})) return out;
  const bool needs_saved = op != backend::Unary::scale && op != backend::Unary::shift;
  const Saved saved = needs_saved ? Saved(backend::derivative_from_output(op) ? out : a) : Saved();
  record(name, {a}, {&out}, [=](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
    if (op == backend::Unary::shift) return {grads[0]};
    Tensor da = Tensor::empty(grads[0].shape(), grads[0].dtype());
    const void* s = saved.defined() ? saved.get(name).raw() : nullptr;
    backend::unary_backward(da.device(), op, da.dtype(), da.numel(), grads[0].raw(), s, da.mutable_raw(), p);
    return {da};
  });
  return out;
}

}  // namespace

Tensor map_unary(backend::Unary op, const Tensor& a, double p) {
  Tensor out = Tensor::empty(a.shape(), a.dtype());
  backend::unary(a.device(), op, a.dtype(), a.numel(), a.raw(), out.mutable_raw(), p);
  return out;
}

Tensor broadcast_binary(const char* operation, backend::Binary op, const Tensor& a, const Tensor& b) {
  check_float(operation, "a", a);
  check_same_dtype(operation, "b", b, a.dtype());
  Tensor out = Tensor::empty(broadcast_shape(operation, a.shape(), b.shape()), a.dtype());
  if (out.numel() == 0) return out;
  backend::Broadcast s = collapse(operation, out.shape(), a.shape(), b.shape());
  s.dtype = a.dtype();
  s.a = a.raw();
  s.b = b.raw();
  s.y = out.mutable_raw();
  backend::binary(out.device(), op, s);
  return out;
}

Tensor reduce_to(const Tensor& grad, const Shape& shape) {
  if (grad.shape() == shape) return grad;
  // Aligned view of `shape` with leading ones.
  Shape want(grad.shape().size() - shape.size(), 1);
  want.insert(want.end(), shape.begin(), shape.end());
  Tensor current = grad;
  Shape now = grad.shape();
  for (std::size_t end = now.size(); end > 0;) {
    if (want[end - 1] == now[end - 1]) {
      --end;
      continue;
    }
    std::size_t begin = end;
    while (begin > 0 && want[begin - 1] != now[begin - 1]) --begin;
    const std::int64_t outer = product(now, 0, begin), n = product(now, begin, end),
                       inner = product(now, end, now.size());
    for (std::size_t i = begin; i < end; ++i) now[i] = 1;
    Tensor sum = Tensor::empty(now, grad.dtype());
    backend::sum_axis(sum.device(), sum.dtype(), outer, n, inner, 1.0, current.raw(), sum.mutable_raw());
    current = sum;
    end = begin;
  }
  return current.reshape(shape);
}

Tensor add(const Tensor& a, const Tensor& b) {
  Tensor out = broadcast_binary("add", backend::Binary::add, a, b);
  if (!should_record({a, b})) return out;
  return record_binary("add", a, b, out, [](const Tensor& g) { return std::make_pair(g, g); });
}

Tensor sub(const Tensor& a, const Tensor& b) {
  Tensor out = broadcast_binary("sub", backend::Binary::sub, a, b);
  if (!should_record({a, b})) return out;
  const bool b_needs = b.requires_grad();
  return record_binary("sub", a, b, out, [b_needs](const Tensor& g) {
    return std::make_pair(g, b_needs ? map_unary(backend::Unary::scale, g, -1.0) : Tensor());
  });
}

Tensor mul(const Tensor& a, const Tensor& b) {
  Tensor out = broadcast_binary("mul", backend::Binary::mul, a, b);
  if (!should_record({a, b})) return out;
  const Saved for_a = a.requires_grad() ? Saved(b) : Saved(), for_b = b.requires_grad() ? Saved(a) : Saved();
  return record_binary("mul", a, b, out, [for_a, for_b](const Tensor& g) {
    Tensor da, db;
    if (for_a.defined()) da = broadcast_binary("mul", backend::Binary::mul, g, for_a.get("mul"));
    if (for_b.defined()) db = broadcast_binary("mul", backend::Binary::mul, g, for_b.get("mul"));
    return std::make_pair(da, db);
  });
}

Tensor div(const Tensor& a, const Tensor& b) {
  Tensor out = broadcast_binary("div", backend::Binary::div, a, b);
  if (!should_record({a, b})) return out;
  const Saved divisor(b), quotient = b.requires_grad() ? Saved(out) : Saved();
  return record_binary("div", a, b, out, [divisor, quotient](const Tensor& g) {
    const Tensor da = broadcast_binary("div", backend::Binary::div, g, divisor.get("div"));  // g / b
    if (!quotient.defined()) return std::make_pair(da, Tensor());
    const Tensor product = broadcast_binary("div", backend::Binary::mul, da, quotient.get("div"));
    return std::make_pair(da, map_unary(backend::Unary::scale, product, -1.0));  // -g a / b^2
  });
}

Tensor add(const Tensor& a, double b) { return unary("add", backend::Unary::shift, a, b); }
Tensor mul(const Tensor& a, double b) { return unary("mul", backend::Unary::scale, a, b); }
Tensor pow(const Tensor& a, double exponent) { return unary("pow", backend::Unary::pow, a, exponent); }
Tensor neg(const Tensor& a) { return unary("neg", backend::Unary::scale, a, -1.0); }
Tensor exp(const Tensor& a) { return unary("exp", backend::Unary::exp, a); }
Tensor log(const Tensor& a) { return unary("log", backend::Unary::log, a); }
Tensor sqrt(const Tensor& a) { return unary("sqrt", backend::Unary::sqrt, a); }
Tensor abs(const Tensor& a) { return unary("abs", backend::Unary::abs, a); }
Tensor tanh(const Tensor& a) { return unary("tanh", backend::Unary::tanh, a); }
Tensor sigmoid(const Tensor& a) { return unary("sigmoid", backend::Unary::sigmoid, a); }
Tensor relu(const Tensor& a) { return unary("relu", backend::Unary::relu, a); }

}  // namespace rnncore
