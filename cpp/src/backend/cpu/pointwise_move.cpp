// Copies, fills, conversions, exchanges of axes, row gathers and scatters: memory movement, no target-specific code.
#include <algorithm>
#include <cstring>

#include "backend/cpu/dispatch.h"
#include "backend/pointwise.h"

namespace rnncore {
namespace cpu {
namespace {

// Bytes moved count like a quarter of an element visit each.
double work_of_bytes(std::int64_t bytes) { return 0.25 * static_cast<double>(bytes); }

template <typename T>
void fill_range(void* y, Range r, double value) {
  std::fill(static_cast<T*>(y) + r.begin, static_cast<T*>(y) + r.end, static_cast<T>(value));
}

template <class F>
void with_dtype(DType dtype, const F& f) {
  switch (dtype) {
    case DType::float32:
      return f(float());
    case DType::float64:
      return f(double());
    case DType::int64:
      return f(std::int64_t());
    case DType::uint8:
      return f(std::uint8_t());
  }
}

// One (d1, d2) -> (d2, d1) of single elements, in tiles that fit the L1 cache.
template <typename T>
void transpose_tiles(std::int64_t d1, std::int64_t d2, const T* x, T* y, Range rows_of_y) {
  constexpr std::int64_t kTile = 16;
  for (std::int64_t j0 = rows_of_y.begin; j0 < rows_of_y.end; j0 += kTile)
    for (std::int64_t i0 = 0; i0 < d1; i0 += kTile)
      for (std::int64_t j = j0; j < std::min(j0 + kTile, rows_of_y.end); ++j)
        for (std::int64_t i = i0; i < std::min(i0 + kTile, d1); ++i) y[j * d1 + i] = x[i * d2 + j];
}

template <typename T>
void exchange_elements(std::int64_t d0, std::int64_t d1, std::int64_t d2, const void* x, void* y) {
  const std::int64_t size = d1 * d2;
  run_team(threads_for(2.0 * static_cast<double>(d0 * size)), [&](const Member& member) {
    for (std::int64_t i = 0; i < d0; ++i)
      transpose_tiles(d1, d2, static_cast<const T*>(x) + i * size, static_cast<T*>(y) + i * size, member.share(d2, 16));
  });
}

template <typename T>
void scatter_columns(const T* x, const std::int64_t* ids, std::int64_t count, std::int64_t cols, std::int64_t skip,
                     T* table, Range columns) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (ids[i] == skip) continue;
    const T* from = x + i * cols;
    T* to = table + ids[i] * cols;
    for (std::int64_t c = columns.begin; c < columns.end; ++c) to[c] += from[c];
  }
}

template <typename T>
void scatter_rows(const T* x, const std::int64_t* ids, std::int64_t count, std::int64_t cols, std::int64_t skip,
                  T* table, Range rows) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (ids[i] == skip || ids[i] < rows.begin || ids[i] >= rows.end) continue;
    for (std::int64_t c = 0; c < cols; ++c) table[ids[i] * cols + c] += x[i * cols + c];
  }
}

}  // namespace
}  // namespace cpu

namespace backend {

using cpu::Member;
using cpu::Range;

void zero(Device, void* y, std::int64_t bytes) {
  cpu::run_team(cpu::threads_for(cpu::work_of_bytes(bytes)), [&](const Member& member) {
    const Range r = member.share(bytes, 4096);
    if (r.size() > 0) std::memset(static_cast<char*>(y) + r.begin, 0, static_cast<std::size_t>(r.size()));
  });
}

void copy(Device, const void* x, void* y, std::int64_t bytes) {
  if (x == y) return;
  cpu::run_team(cpu::threads_for(cpu::work_of_bytes(bytes)), [&](const Member& member) {
    const Range r = member.share(bytes, 4096);
    if (r.size() > 0)
      std::memmove(static_cast<char*>(y) + r.begin, static_cast<const char*>(x) + r.begin,
                   static_cast<std::size_t>(r.size()));
  });
}

void fill(Device, DType dtype, std::int64_t n, double value, void* y) {
  cpu::with_dtype(dtype, [&](auto element) {
    using T = decltype(element);
    cpu::run_team(cpu::threads_for(static_cast<double>(n)),
                  [&](const Member& member) { cpu::fill_range<T>(y, member.share(n, cpu::kGrain), value); });
  });
}

void convert(Device, DType from, DType to, std::int64_t n, const void* x, void* y) {
  cpu::with_dtype(from, [&](auto in) {
    using From = decltype(in);
    cpu::with_dtype(to, [&](auto out) {
      using To = decltype(out);
      cpu::run_team(cpu::threads_for(static_cast<double>(n)), [&](const Member& member) {
        const Range r = member.share(n, cpu::kGrain);
        for (std::int64_t i = r.begin; i < r.end; ++i)
          static_cast<To*>(y)[i] = static_cast<To>(static_cast<const From*>(x)[i]);
      });
    });
  });
}

void copy_rows(Device, std::int64_t rows, std::int64_t bytes, const void* x, std::int64_t x_stride, void* y,
               std::int64_t y_stride) {
  if (bytes == 0) return;
  cpu::run_team(cpu::threads_for(cpu::work_of_bytes(rows * bytes)), [&](const Member& member) {
    const Range r = member.share(rows);
    for (std::int64_t i = r.begin; i < r.end; ++i)
      std::memcpy(static_cast<char*>(y) + i * y_stride, static_cast<const char*>(x) + i * x_stride,
                  static_cast<std::size_t>(bytes));
  });
}

void exchange(Device device, std::int64_t element_bytes, std::int64_t d0, std::int64_t d1, std::int64_t d2,
              std::int64_t d3, const void* x, void* y) {
  if (d0 * d1 * d2 * d3 == 0) return;
  if (d3 == 1 && element_bytes == 1) return cpu::exchange_elements<std::uint8_t>(d0, d1, d2, x, y);
  if (d3 == 1 && element_bytes == 4) return cpu::exchange_elements<std::uint32_t>(d0, d1, d2, x, y);
  if (d3 == 1 && element_bytes == 8) return cpu::exchange_elements<std::uint64_t>(d0, d1, d2, x, y);
  const std::int64_t row = d3 * element_bytes;
  for (std::int64_t i = 0; i < d0; ++i) {
    const char* from = static_cast<const char*>(x) + i * d1 * d2 * row;
    char* to = static_cast<char*>(y) + i * d1 * d2 * row;
    for (std::int64_t j = 0; j < d2; ++j) copy_rows(device, d1, row, from + j * row, d2 * row, to + j * d1 * row, row);
  }
}

void gather_rows(Device, DType dtype, std::int64_t count, std::int64_t cols, const void* table, const std::int64_t* ids,
                 void* y) {
  const std::int64_t bytes = cols * size_of(dtype);
  if (bytes == 0) return;
  cpu::run_team(cpu::threads_for(cpu::work_of_bytes(count * bytes)), [&](const Member& member) {
    const Range r = member.share(count);
    for (std::int64_t i = r.begin; i < r.end; ++i)
      std::memcpy(static_cast<char*>(y) + i * bytes, static_cast<const char*>(table) + ids[i] * bytes,
                  static_cast<std::size_t>(bytes));
  });
}

// Columns are shared between threads (each sees all rows in order); narrow tables are shared by rows instead.
void scatter_add_rows(Device, DType dtype, std::int64_t table_rows, std::int64_t count, std::int64_t cols,
                      const void* x, const std::int64_t* ids, std::int64_t skip, void* table) {
  constexpr std::int64_t kColumns = 32;
  cpu::with_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* from = static_cast<const T*>(x);
    cpu::run_team(cpu::threads_for(static_cast<double>(count * cols)), [&](const Member& member) {
      if (cols >= kColumns * member.size) {
        cpu::scatter_columns(from, ids, count, cols, skip, static_cast<T*>(table), member.share(cols, kColumns / 2));
      } else {
        cpu::scatter_rows(from, ids, count, cols, skip, static_cast<T*>(table), member.share(table_rows));
      }
    });
  });
}

}  // namespace backend
}  // namespace rnncore
