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

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_BENCH_CEILINGS_H_
