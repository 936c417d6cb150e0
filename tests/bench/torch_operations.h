#ifndef LEAPSTREAM_TESTS_BENCH_TORCH_OPERATIONS_H_
#define LEAPSTREAM_TESTS_BENCH_TORCH_OPERATIONS_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/functional/function_ref.h"

namespace leapstream {

// The operations of one name that LibTorch ran: those that work on numbers, and views of tensors do
// not. On a GPU each is about one launch.
struct TorchOperation {
  int64_t calls = 0;
  double seconds = 0;  // On the processor, without operations that it calls.
};

// Runs f(), and returns the operations that ran on this thread, by name.
std::map<std::string, TorchOperation> CountTorchOperations(absl::FunctionRef<void()> f);

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_BENCH_TORCH_OPERATIONS_H_
