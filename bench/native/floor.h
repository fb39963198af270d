// What the machine allows: the numbers that bench/native/stream.cpp and draw.cpp put beside a step. Implemented in
// floor.cpp, which alone is compiled for this very machine and therefore includes nothing of rnncore.
#pragma once

namespace rnncore::bench {

double read_ns(long bytes);               // nanoseconds to read `bytes`, again and again, with the widest vectors
double read_ns(long bytes, int threads);  // the same, each thread its own share of them
double fma_ns();                          // latency of a vector fused multiply-add
double divide_ns();                       // and of a vector division

}  // namespace rnncore::bench
