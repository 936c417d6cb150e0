#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_CALL_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_CALL_H_

#include <exception>
#include <utility>

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// Where an exception of LibTorch or of memory becomes a Status. `what` names the call. f() returns
// an absl::Status, and at::parallel_for() in it splits its work among so many `threads`, the
// calling one included.
template <typename F>
absl::Status TorchCall(absl::string_view what, int threads, F&& f) {
  c10::InferenceMode guard;
  static thread_local int current = 0;  // OpenMP's count is per thread.
  if (current != threads) at::set_num_threads(threads);
  current = threads;
  try {
    return std::forward<F>(f)();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": out of memory"));
  } catch (const c10::Error& e) {  // Its what() has a stack trace, which no client should see.
    return absl::InternalError(absl::StrCat(what, ": ", e.what_without_backtrace()));
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat(what, ": ", e.what()));
  }
}

template <typename F>
absl::Status TorchCall(absl::string_view what, F&& f) {
  return TorchCall(what, 1, std::forward<F>(f));
}

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_CALL_H_
