// How rows of several steps of N sequences lie in working memory: in parts, so that each member of a team has the rows
// of its own sequences, of all steps, to itself. Between cores that are far apart it costs hundreds of nanoseconds to
// take a cache line that another has written, and prefetchers, which run some rows ahead, take lines beyond the last
// row: with the rows of a step side by side, they would take the neighbour's.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cpu/team.h"

namespace rnncore::cpu {

struct RowParts {
  std::int64_t N = 0;
  std::int64_t parts = 1;
  static constexpr std::int64_t kGap = 8;  // rows between the parts

  Range part(std::int64_t p) const { return part_of(N, static_cast<int>(p), static_cast<int>(parts)); }
  std::int64_t part_with(std::int64_t n) const {
    std::int64_t p = 0;
    while (part(p).end <= n) ++p;
    return p;
  }
  std::int64_t rows(std::int64_t steps) const { return steps * N + (parts - 1) * kGap; }
  // Row n of part p at `step` of a buffer of `steps` steps is row origin + n.
  std::int64_t origin(std::int64_t p, std::int64_t steps, std::int64_t step) const {
    const Range r = part(p);
    return r.begin * (steps - 1) + p * kGap + step * r.size();
  }
  // Row k = step * N + n, and how many after it follow one another.
  struct Run {
    std::int64_t at, rows;
  };
  Run run(std::int64_t steps, std::int64_t k) const {
    if (parts == 1) return {k, steps * N - k};
    const std::int64_t step = k / N, n = k % N, p = part_with(n);
    return {origin(p, steps, step) + n, part(p).end - n};
  }
};

}  // namespace rnncore::cpu
