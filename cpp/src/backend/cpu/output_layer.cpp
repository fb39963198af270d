// The output layer with its loss: logits = x W^T + bias, their cross-entropy and its gradients. Classes go by in chunks
// that stay in the second cache: product, exponentials and dx of a chunk follow one another. The sum of a row's
// exponentials is known only after the last chunk, so dx is scaled at the end, and the exponentials, which are kept,
// on their way into the weights' gradient: that and the bias's are made class by class of all rows at once.
#include "backend/cpu/output_layer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/dispatch.h"
#include "backend/cpu/gemm.h"
#include "backend/pointwise.h"

namespace rnncore {
namespace cpu {
namespace {

// The reference that is taken from a row's logits before exp follows the largest so far at this distance: sums of
// exp(40) are far from the largest number, and what was made with the last reference is hardly ever made again.
constexpr double kSlack = 40.0;
constexpr std::int64_t kRows = 240;                          // rows that go through the chunks together
constexpr std::int64_t kChunkBytes = std::int64_t{3} << 17;  // of a chunk's weights, both copies
constexpr std::int64_t kFewPanels = 8;                       // for each member: fewer are cut into tiles

template <typename T>
class OutputLayer {
 public:
  OutputLayer(const backend::OutputBlock& block, int threads)
      : b_(block),
        table_(gemm_table<T>()),
        run_(output_kernels<T>()),
        layout_(block.weight->layout()),
        rows_(block.loss.rows),
        inputs_(block.inputs),
        classes_(block.loss.cols),
        chunk_(chunk_panels(layout_, block.inputs)),
        slot_(std::min(kRows, (rows_ + table_.row_tile - 1) / table_.row_tile * table_.row_tile) * chunk_ *
              layout_.width),
        keep_(block.dweight != nullptr || block.dbias != nullptr),
        bias_(bytes_of(layout_.N)),
        working_(bytes_of(threads * slot_)),
        kept_(bytes_of(keep_ ? rows_ * layout_.N : 0)),
        factors_(bytes_of(rows_)) {
    T* bias = static_cast<T*>(bias_.data());
    std::fill(bias, bias + layout_.N, T(0));
    if (b_.bias) std::memcpy(bias, b_.bias, bytes_of(classes_));
    std::fill(bias + classes_, bias + layout_.N, -std::numeric_limits<T>::infinity());  // columns of no class: exp is 0
    if (b_.dweight) packed_x_ = backend::pack_matrix(Device::cpu, b_.loss.dtype, false, inputs_, rows_, b_.x, inputs_);
  }

  void run(const Member& member) {
    const Range mine = member.share(rows_, table_.row_tile);
    const std::int64_t tile = table_.row_tile,
                       height = tile * even_height((mine.size() + tile - 1) / tile, kRows / tile);
    for (std::int64_t r = mine.begin; r < mine.end; r += height) forward(member, {r, std::min(mine.end, r + height)});
    if (!keep_) return;
    const std::int64_t panels = layout_.panels();
    if (panels < kFewPanels * member.size) {
      for (std::int64_t p = 0; p < panels; ++p) make_gradient(p, mine);
      member.barrier();
      for (std::int64_t p = member.rank; p < panels; p += member.size) add_to_bias(p);
      const Range tiles = member.share((classes_ + tile - 1) / tile);
      for (std::int64_t p = 0; p < panels; ++p) multiply(p, tiles.begin * tile, tiles.end * tile);
      return;
    }
    member.barrier();
    // The last panels first: they are still in the third cache.
    for (std::int64_t p = panels - 1 - member.rank; p >= 0; p -= member.size) {
      make_gradient(p, {0, rows_});
      add_to_bias(p);
      multiply(p, 0, classes_);
    }
  }

 private:
  static std::size_t bytes_of(std::int64_t elements) { return static_cast<std::size_t>(elements) * sizeof(T); }

  // Panels of a chunk. Their number must depend on the layer alone: a row's sums are made chunk by chunk.
  static std::int64_t chunk_panels(const PanelLayout& layout, std::int64_t inputs) {
    const std::int64_t bytes = 2 * inputs * layout.width * static_cast<std::int64_t>(sizeof(T));
    return std::min(layout.panels(), std::clamp<std::int64_t>(kChunkBytes / bytes, 2, 16));
  }

  // Exponentials of panel p's logits, then d(loss)/d(logits): rows of the panel's width.
  T* kept(std::int64_t p) const { return static_cast<T*>(kept_.data()) + p * rows_ * layout_.width; }
  T* input_gradient_row(std::int64_t r) const { return static_cast<T*>(b_.dx) + r * inputs_; }

  struct Chunk {
    std::int64_t first = 0, panels = 0;                // panels
    std::int64_t begin = 0, columns = 0, classes = 0;  // its first class; columns: whole vectors
    T* at = nullptr;                                   // (rows, columns)
  };

  // What is known of a row while its chunks go by.
  struct Row {
    T reference = std::numeric_limits<T>::lowest();
    T at_target = 0;               // the exponential there; 0 before its chunk
    double sum = 0, expected = 0;  // of exponentials; what the loss takes from log sum exp
  };

  void forward(const Member& member, Range rows) {
    const std::int64_t count = rows.size(), panels = layout_.panels();
    Row all[kRows];
    Chunk c;
    c.at = static_cast<T*>(working_.data()) + member.rank * slot_;
    for (; c.first < panels; c.first += c.panels) {
      c.panels = std::min(chunk_, panels - c.first);
      c.begin = c.first * layout_.width;
      c.columns = std::min(c.panels * layout_.width, layout_.N - c.begin);
      c.classes = std::min(c.columns, classes_ - c.begin);
      logits(rows, c);
      for (std::int64_t i = 0; i < count; ++i) exponentials(rows.begin + i, c, c.at + i * c.columns, all[i]);
      if (keep_) keep(rows, c);
      if (b_.dx) input_gradient(rows, c);
    }
    for (std::int64_t i = 0; i < count; ++i) finish(rows.begin + i, all[i]);
  }

  // Where row r's target lies among `count` classes from `begin` on, or -1.
  std::int64_t target_in(std::int64_t begin, std::int64_t count, std::int64_t r) const {
    const std::int64_t target = b_.loss.targets[r];
    return target != b_.loss.ignore_index && target >= begin && target < begin + count ? target - begin : -1;
  }

  void exponentials(std::int64_t r, const Chunk& c, T* x, Row& row) const {
    const std::int64_t target = target_in(c.begin, c.classes, r);
    row.expected += expected_part(c, x, target);
    const T top = run_.max(c.columns, x);
    if (static_cast<double>(top) > static_cast<double>(row.reference) + kSlack) {
      if (c.first > 0) raise(r, c.first, row.reference - top, row);
      row.reference = top;
    }
    row.sum += run_.exp(c.columns, row.reference, x);
    if (target >= 0) row.at_target = x[target];
  }

  void logits(Range rows, const Chunk& c) const {
    PanelArgs<T> args;
    args.a = static_cast<const T*>(b_.x) + rows.begin * inputs_;
    args.a_row = args.run = inputs_;
    args.c_row = c.columns;
    args.rows = rows.size();
    args.start = Start::bias;
    for (std::int64_t p = c.first; p < c.first + c.panels; ++p) {
      args.b = b_.weight->template panel<T>(p);
      args.bias = static_cast<const T*>(bias_.data()) + p * layout_.width;
      args.c = c.at + p * layout_.width - c.begin;
      args.columns = layout_.width_of(p);
      table_.row_panel[args.columns / table_.lanes](args);
    }
  }

  double expected_part(const Chunk& c, const T* x, std::int64_t target) const {
    const double e = b_.loss.label_smoothing;
    const double part = target >= 0 ? (1.0 - e) * static_cast<double>(x[target]) : 0.0;
    if (e == 0.0) return part;
    return part + e * run_.sum(c.classes, x) / static_cast<double>(classes_);
  }

  // A larger reference: what was made with the last one, of panels before `end`, shrinks.
  void raise(std::int64_t r, std::int64_t end, T difference, Row& row) const {
    const T factor = std::exp(difference);
    row.sum *= static_cast<double>(factor);
    row.at_target *= factor;
    if (b_.dx)
      for (T *dx = input_gradient_row(r), *last = dx + inputs_; dx < last; ++dx) *dx *= factor;
    if (!keep_) return;
    for (std::int64_t p = 0; p < end; ++p)
      run_.scale_rows(1, layout_.width, &factor, T(0), kept(p) + r * layout_.width);
  }

  // Without the targets' own share: their gradient is a small difference, made in finish().
  void input_gradient(Range rows, const Chunk& c) const {
    for (std::int64_t r = rows.begin; r < rows.end; ++r)
      if (const std::int64_t target = target_in(c.begin, c.classes, r); target >= 0)
        c.at[(r - rows.begin) * c.columns + target] = T(0);
    const PanelLayout& to = b_.weight_t->layout();
    PanelArgs<T> args;
    args.a = c.at;
    args.a_row = c.columns;
    args.run = c.classes;
    args.c_row = inputs_;
    args.rows = rows.size();
    args.start = c.first == 0 ? Start::zero : Start::c;
    for (std::int64_t p = 0; p < to.panels(); ++p) {
      const std::int64_t width = to.width_of(p);
      args.b = b_.weight_t->template panel<T>(p) + c.begin * width;
      args.columns = std::min(width, inputs_ - p * to.width);
      args.c = input_gradient_row(rows.begin) + p * to.width;
      table_.row_panel[width / table_.lanes](args);
    }
  }

  void keep(Range rows, const Chunk& c) const {
    for (std::int64_t p = c.first; p < c.first + c.panels; ++p) {
      const std::int64_t width = layout_.width_of(p);
      const T* from = c.at + p * layout_.width - c.begin;
      T* to = kept(p) + rows.begin * width;
      for (std::int64_t i = 0; i < rows.size(); ++i, from += c.columns, to += width)
        std::memcpy(to, from, bytes_of(width));
    }
  }

  void finish(std::int64_t r, const Row& row) const {
    const std::int64_t target = b_.loss.targets[r];
    const bool ignored = target == b_.loss.ignore_index;
    b_.loss.losses[r] = ignored ? 0.0 : static_cast<double>(row.reference) + std::log(row.sum) - row.expected;
    const T factor = ignored ? T(0) : static_cast<T>(b_.scale / row.sum);
    static_cast<T*>(factors_.data())[r] = factor;
    if (!b_.dx) return;
    T* const dx = input_gradient_row(r);
    if (ignored) return std::fill(dx, dx + inputs_, T(0));
    const T* const w = static_cast<const T*>(b_.weight_rows) + target * inputs_;
    const T at_target = row.at_target * factor - target_share(), shift = everywhere();
    for (std::int64_t i = 0; i < inputs_; ++i) dx[i] = dx[i] * factor + at_target * w[i];
    if (const T* const all = static_cast<const T*>(b_.weight_sum))
      for (std::int64_t i = 0; i < inputs_; ++i) dx[i] -= shift * all[i];
  }

  // d(loss)/d(logits) = scale * softmax - everywhere(), and at the target less target_share().
  T everywhere() const { return static_cast<T>(b_.scale * b_.loss.label_smoothing / static_cast<double>(classes_)); }
  T target_share() const { return static_cast<T>((1.0 - b_.loss.label_smoothing) * b_.scale); }

  void make_gradient(std::int64_t p, Range rows) const {
    const std::int64_t width = layout_.width_of(p), first = p * layout_.width;
    T* const x = kept(p);
    run_.scale_rows(rows.size(), width, static_cast<const T*>(factors_.data()) + rows.begin, everywhere(),
                    x + rows.begin * width);
    for (std::int64_t r = rows.begin; r < rows.end; ++r)
      if (const std::int64_t target = target_in(first, width, r); target >= 0) x[r * width + target] -= target_share();
  }

  void add_to_bias(std::int64_t p) const {
    if (!b_.dbias) return;
    const std::int64_t width = layout_.width_of(p), valid = std::min(width, classes_ - p * layout_.width);
    alignas(64) T sums[256 / sizeof(T)] = {};  // the widest panel: four vectors of 64 bytes
    T* const dbias = static_cast<T*>(b_.dbias) + p * layout_.width;
    if (b_.accumulate) std::copy(dbias, dbias + valid, sums);
    run_.add_rows(rows_, width, kept(p), sums);
    std::copy(sums, sums + valid, dbias);
  }

  // The weights' gradient for those of the panel's classes that lie in [begin, end).
  void multiply(std::int64_t p, std::int64_t begin, std::int64_t end) const {
    const std::int64_t width = layout_.width_of(p), start = p * layout_.width;
    begin = std::max(begin, start);
    end = std::min({end, start + width, classes_});
    if (!b_.dweight || begin >= end) return;
    const PanelLayout& from = packed_x_->layout();
    PanelArgs<T> args;
    args.a = kept(p) + (begin - start);
    args.a_row = 1;
    args.a_k = width;
    args.run = rows_;
    args.c_row = inputs_;
    args.rows = end - begin;
    args.start = b_.accumulate ? Start::c : Start::zero;
    for (std::int64_t q = 0; q < from.panels(); ++q) {
      args.b = packed_x_->template panel<T>(q);
      args.columns = std::min(from.width_of(q), inputs_ - q * from.width);
      args.c = static_cast<T*>(b_.dweight) + begin * inputs_ + q * from.width;
      table_.row_panel[from.width_of(q) / table_.lanes](args);
    }
  }

  const backend::OutputBlock& b_;
  const GemmTable<T>& table_;
  const OutputKernels<T>& run_;
  const PanelLayout layout_;
  const std::int64_t rows_, inputs_, classes_, chunk_;
  const std::int64_t slot_;  // elements of a member's chunk
  const bool keep_;          // the exponentials, for the weights' gradient
  Buffer bias_, working_, kept_, factors_;
  backend::PackedPtr packed_x_;
};

}  // namespace
}  // namespace cpu

namespace backend {

void output_block(Device, const OutputBlock& block) {
  cpu::with_float(block.loss.dtype, [&](auto zero) {
    using T = decltype(zero);
    const double work = static_cast<double>(block.loss.rows) * static_cast<double>(block.loss.cols * block.inputs);
    const int threads = cpu::threads_for(work);
    cpu::OutputLayer<T> layer(block, threads);
    cpu::run_team(threads, [&](const cpu::Member& member) { layer.run(member); });
  });
}

}  // namespace backend
}  // namespace rnncore
