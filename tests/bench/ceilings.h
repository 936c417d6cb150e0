#ifndef LEAPSTREAM_TESTS_BENCH_CEILINGS_H_
#define LEAPSTREAM_TESTS_BENCH_CEILINGS_H_

#include <map>
#include <string>

#include "model/engine/kernels/packed_linear.h"
#include "model/engine/kernels/simd.h"

namespace leapstream {

// The most that one thread of this machine can do, by loops that share nothing with our kernels. So
// a kernel that becomes slower is further from these figures.
struct Ceilings {
  double read = 0;                    // Bytes per second, from memory.
  std::map<ComputeType, double> ops;  // Multiplications and additions per second, in registers.
};

// kernels: the name of the SimdKernels whose instructions the loops in registers use.
Ceilings MeasureCeilings(const std::string& kernels = Simd().name);

// The gain of a second thread for loops that share nothing: the time on the wall that one thread
// takes for a loop, times two, over the time in which two threads take one each. 2 if each has a
// core of its own.
struct ThreadGain {
  double ops = 0;   // Multiplications and additions of float32, in registers.
  double read = 0;  // Reading memory.
};

ThreadGain MeasureThreadGain();

// The states of a step's sessions, as linear attention with LeaP's features keeps them: for each
// block, session and head, sums [2 d, d] in float32 or float16, and [2 d] more in float32.
struct StateShape {
  int64_t blocks = 0;
  int64_t sessions = 0;
  int64_t heads = 0;
  int64_t d = 0;
  bool halves = false;
};

// The least time that a step needs for the states, by a plain loop that goes through them as a step
// does: all are read and multiplied with a query; in every other step two positions are added in
// the same pass, which writes them, too. 0: `d` is no multiple of 16, or the processor has no
// instruction for halves.
double PlainStateSeconds(const StateShape& shape);

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_BENCH_CEILINGS_H_
