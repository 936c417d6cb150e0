#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_CALL_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_CALL_H_

#include <string>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "model/engine/model_call.h"

namespace leapstream {

// The first line of an error's message, without the stack trace.
inline std::string FirstLine(const c10::Error& e) {
  const std::string why = e.what_without_backtrace();
  return why.substr(0, why.find('\n'));
}

// Whether an error is a lack of memory. LibTorch has a type of its own for that of its allocator
// on a device, but not for others: the processor's, CUDA's own and cuBLAS's.
inline bool IsLackOfMemory(const c10::Error& e) {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&e) != nullptr) return true;
  const absl::string_view why = e.what_without_backtrace();
  return absl::StrContains(why, "you tried to allocate") ||
         absl::StrContains(why, "CUDA error: out of memory") ||
         absl::StrContains(why, "CUBLAS_STATUS_ALLOC_FAILED");
}

// Makes LibTorch compute on so many threads. OpenMP's count is per thread.
inline void UseTorchThreads(int threads) {
  static thread_local int current = 0;
  if (current != threads) at::set_num_threads(threads);
  current = threads;
}

// ModelCall() for calls of LibTorch, on `threads` threads. Its errors come with a stack trace that
// no client should see. RESOURCE_EXHAUSTED: the device has no memory. INTERNAL: another error.
template <typename F>
absl::Status TorchCall(absl::string_view what, int threads, F&& f) {
  return ModelCall(what, 1, [&]() -> absl::Status {
    c10::InferenceMode guard;
    UseTorchThreads(threads);
    try {
      return f();
    } catch (const c10::Error& e) {
      const std::string why = absl::StrCat(what, ": ", FirstLine(e));
      return IsLackOfMemory(e) ? absl::ResourceExhaustedError(why) : absl::InternalError(why);
    }
  });
}

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_CALL_H_
