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
// an absl::Status.
template <typename F>
absl::Status TorchCall(absl::string_view what, F&& f) {
  c10::InferenceMode guard;
  // OpenMP's count is per thread. The step thread is the one that computes: helpers that spin
  // beside it would take cores from other models and from gRPC.
  static thread_local const bool one_thread = (at::set_num_threads(1), true);
  static_cast<void>(one_thread);
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

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_CALL_H_
