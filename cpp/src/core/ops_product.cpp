// matmul and linear.
#include "core/ops_common.h"

namespace rnncore {
namespace {

// c (M, N) = op(a) op(b) for contiguous matrices.
struct Product {
  std::int64_t M, N, K;
  bool trans_a = false, trans_b = false;
  const void* bias = nullptr;
  const backend::Packed* packed = nullptr;
};

void multiply(const Tensor& like, const Product& p, const void* a, const void* b, void* c) {
  if (p.M == 0 || p.N == 0) return;
  backend::Gemm g;
  g.dtype = like.dtype();
  g.trans_a = p.trans_a;
  g.trans_b = p.trans_b;
  g.M = p.M;
  g.N = p.N;
  g.K = p.K;
  g.a = a;
  g.lda = p.trans_a ? p.M : p.K;
  g.b = b;
  g.ldb = p.trans_b ? p.K : p.N;
  g.c = c;
  g.ldc = p.N;
  g.bias = p.bias;
  g.packed_b = p.packed;
  backend::gemm(like.device(), g);
}

// Batch b of a tensor whose matrices have `size` elements.
const void* at(const Tensor& t, std::int64_t b, std::int64_t size) {
  return static_cast<const char*>(t.raw()) + b * size * size_of(t.dtype());
}
void* at(Tensor& t, void* base, std::int64_t b, std::int64_t size) {
  return static_cast<char*>(base) + b * size * size_of(t.dtype());
}

struct MatmulShape {
  std::int64_t batches, M, K, N;
  Shape out;
};

MatmulShape matmul_shape(const Tensor& a, const Tensor& b) {
  check_float("matmul", "a", a);
  check_same_dtype("matmul", "b", b, a.dtype());
  const Shape &u = a.shape(), &v = b.shape();
  if (u.size() < 2) throw_argument("matmul", "a", "at least 2 axes", to_string(u));
  if (v.size() < 2) throw_argument("matmul", "b", "at least 2 axes", to_string(v));
  MatmulShape s{1, u[u.size() - 2], u.back(), v.back(), u};
  if (v[v.size() - 2] != s.K)
    throw_argument("matmul", "b", "(..., K, N) with K = " + std::to_string(s.K) + " as a " + to_string(u),
                   to_string(v));
  if (v.size() == 2) {
    s.M = product(u, 0, u.size() - 1);
  } else {
    if (v.size() != u.size() || !std::equal(u.begin(), u.end() - 2, v.begin()))
      throw_argument("matmul", "b", "two axes, or the leading axes of a " + to_string(u), to_string(v));
    s.batches = product(u, 0, u.size() - 2);
  }
  s.out.back() = s.N;
  return s;
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  const MatmulShape s = matmul_shape(a, b);
  Tensor out = Tensor::empty(s.out, a.dtype());
  // Only parameters are worth keeping a packed copy of.
  const bool parameter = b.dim() == 2 && b.is_leaf() && b.requires_grad();
  const auto packed = parameter && s.M > 0 ? packed_weight(b, false) : backend::PackedPtr();
  void* y = out.mutable_raw();
  for (std::int64_t i = 0; i < s.batches; ++i)
    multiply(a, {s.M, s.N, s.K, false, false, nullptr, packed.get()}, at(a, i, s.M * s.K), at(b, i, s.K * s.N),
             at(out, y, i, s.M * s.N));
  if (!should_record({a, b})) return out;
  const Saved saved_a = b.requires_grad() ? Saved(a) : Saved(), saved_b = a.requires_grad() ? Saved(b) : Saved();
  record("matmul", {a, b}, {&out},
         [=, a_shape = a.shape(), b_shape = b.shape()](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
           const Tensor& dy = grads[0];
           Tensor da, db;
           if (saved_b.defined()) {
             const Tensor& w = saved_b.get("matmul");
             da = Tensor::empty(a_shape, dy.dtype());
             const auto packed_t = parameter && s.M > 0 ? packed_weight(w, true) : backend::PackedPtr();
             void* to = da.mutable_raw();
             for (std::int64_t i = 0; i < s.batches; ++i)
               multiply(dy, {s.M, s.K, s.N, false, true, nullptr, packed_t.get()}, at(dy, i, s.M * s.N),
                        at(w, i, s.K * s.N), at(da, to, i, s.M * s.K));
           }
           if (saved_a.defined()) {
             const Tensor& x = saved_a.get("matmul");
             db = Tensor::empty(b_shape, dy.dtype());
             void* to = db.mutable_raw();
             for (std::int64_t i = 0; i < s.batches; ++i)
               multiply(dy, {s.K, s.N, s.M, true, false}, at(x, i, s.M * s.K), at(dy, i, s.M * s.N),
                        at(db, to, i, s.K * s.N));
           }
           return {da, db};
         });
  return out;
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_float("linear", "x", x);
  check_same_dtype("linear", "weight", weight, x.dtype());
  if (weight.dim() != 2) throw_argument("linear", "weight", "shape (out, in)", to_string(weight.shape()));
  const std::int64_t O = weight.size(0), I = weight.size(1);
  if (x.dim() < 1 || x.shape().back() != I)
    throw_argument("linear", "x",
                   "shape (..., I) with I = " + std::to_string(I) + " as weight " + to_string(weight.shape()),
                   to_string(x.shape()), x.dim() == 2 && x.size(0) == I ? "transposed?" : "");
  if (bias.defined()) {
    check_same_dtype("linear", "bias", bias, x.dtype());
    if (bias.shape() != Shape{O})
      throw_argument("linear", "bias", "shape (out,) = (" + std::to_string(O) + ",)", to_string(bias.shape()));
  }
  const std::int64_t rows = product(x.shape(), 0, x.shape().size() - 1);
  Shape shape = x.shape();
  shape.back() = O;
  Tensor out = Tensor::empty(shape, x.dtype());
  if (rows > 0 && O > 0) {
    const auto packed = packed_weight(weight, true);
    multiply(x, {rows, O, I, false, true, bias.defined() ? bias.raw() : nullptr, packed.get()}, x.raw(), weight.raw(),
             out.mutable_raw());
  }
  if (!should_record({x, weight, bias})) return out;
  const Saved saved_x = weight.requires_grad() ? Saved(x) : Saved(),
              saved_w = x.requires_grad() ? Saved(weight) : Saved();
  const bool bias_needs = bias.defined() && bias.requires_grad();
  record("linear", {x, weight, bias}, {&out},
         [=, x_shape = x.shape()](const std::vector<Tensor>& grads) -> std::vector<Tensor> {
           const Tensor& dy = grads[0];
           Tensor dx, dw, db;
           if (saved_w.defined()) {
             const Tensor& w = saved_w.get("linear");
             dx = Tensor::empty(x_shape, dy.dtype());
             if (rows > 0 && I > 0)
               multiply(dy, {rows, I, O, false, false, nullptr, packed_weight(w, false).get()}, dy.raw(), w.raw(),
                        dx.mutable_raw());
           }
           if (saved_x.defined()) {
             dw = Tensor::empty({O, I}, dy.dtype());
             multiply(dy, {O, I, rows, true, false}, dy.raw(), saved_x.get("linear").raw(), dw.mutable_raw());
           }
           if (bias_needs) {
             db = Tensor::empty({O}, dy.dtype());
             backend::sum_axis(db.device(), db.dtype(), 1, rows, O, 1.0, dy.raw(), db.mutable_raw());
           }
           return {dx, dw, db};
         });
  return out;
}

}  // namespace rnncore
