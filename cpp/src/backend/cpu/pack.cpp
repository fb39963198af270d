// Laying out matrices for the panel kernels.
#include <cstring>

#include "backend/cpu/gemm.h"

namespace rnncore::cpu {
namespace {

constexpr std::int64_t kColumnsAtOnce = 8;

// Columns [j, j + count) of a panel from rows of w (trans): reads run along k, writes stay in one line.
template <typename T>
void pack_transposed(T* dst, std::int64_t width, std::int64_t K, const PackSource<T>& s, const std::int64_t* columns,
                     std::int64_t count) {
  const T* src[kColumnsAtOnce];
  for (std::int64_t c = 0; c < count; ++c) src[c] = columns[c] < 0 ? nullptr : s.w + columns[c] * s.ld;
  bool all = count == kColumnsAtOnce && s.row == nullptr;
  for (std::int64_t c = 0; c < count; ++c) all = all && src[c] != nullptr;
  if (all) {
    for (std::int64_t k = 0; k < K; ++k)
      for (std::int64_t c = 0; c < kColumnsAtOnce; ++c) dst[k * width + c] = src[c][k];
    return;
  }
  for (std::int64_t c = 0; c < count; ++c)
    for (std::int64_t k = 0; k < K; ++k) {
      const std::int64_t row = s.row ? s.row[k] : k;
      dst[k * width + c] = src[c] == nullptr || row < 0 ? T(0) : src[c][row];
    }
}

template <typename T>
void pack_straight(T* dst, std::int64_t width, std::int64_t K, const PackSource<T>& s, std::int64_t first) {
  const std::int64_t valid = s.column ? 0 : std::max<std::int64_t>(0, std::min(width, s.columns - first));
  for (std::int64_t k = 0; k < K; ++k, dst += width) {
    const std::int64_t row = s.row ? s.row[k] : k;
    if (row < 0) {
      std::memset(dst, 0, static_cast<std::size_t>(width) * sizeof(T));
    } else if (s.column) {
      for (std::int64_t j = 0; j < width; ++j)
        dst[j] = s.column[first + j] < 0 ? T(0) : s.w[row * s.ld + s.column[first + j]];
    } else {
      std::memcpy(dst, s.w + row * s.ld + first, static_cast<std::size_t>(valid) * sizeof(T));
      std::memset(dst + valid, 0, static_cast<std::size_t>(width - valid) * sizeof(T));
    }
  }
}

template <typename T>
void pack_panel(T* dst, const PanelLayout& layout, std::int64_t panel, const PackSource<T>& s) {
  const std::int64_t width = layout.width_of(panel), first = panel * layout.width;
  if (!s.trans) return pack_straight(dst, width, layout.K, s, first);
  for (std::int64_t j = 0; j < width; j += kColumnsAtOnce) {
    const std::int64_t count = std::min(kColumnsAtOnce, width - j);
    std::int64_t columns[kColumnsAtOnce];
    for (std::int64_t c = 0; c < count; ++c) {
      const std::int64_t at = first + j + c;
      columns[c] = s.column ? s.column[at] : at < s.columns ? at : -1;
    }
    pack_transposed(dst + j, width, layout.K, s, columns, count);
  }
}

}  // namespace

template <typename T>
backend::PackedPtr pack(const PanelLayout& layout, const PackSource<T>& source) {
  auto packed = std::make_shared<backend::Packed>(layout, static_cast<std::int64_t>(sizeof(T)));
  T* data = packed->template data<T>();
  run_team(threads_for(static_cast<double>(layout.K * layout.N)), [&](const Member& member) {
    const Range mine = member.share(layout.panels());
    for (std::int64_t p = mine.begin; p < mine.end; ++p) pack_panel(data + layout.offset(p), layout, p, source);
  });
  return packed;
}

template backend::PackedPtr pack<float>(const PanelLayout&, const PackSource<float>&);
template backend::PackedPtr pack<double>(const PanelLayout&, const PackSource<double>&);

}  // namespace rnncore::cpu
