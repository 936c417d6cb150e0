#ifndef LEAPSTREAM_MODEL_ENGINE_MODEL_CALL_H_
#define LEAPSTREAM_MODEL_ENGINE_MODEL_CALL_H_

#include <exception>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "model/engine/parallel.h"

namespace leapstream {

// Calls f(), which returns an absl::Status, and turns an exception into a Status. `what` names the
// call in its message. ParallelFor() in f() splits its work among so many `threads`, the calling
// one included. RESOURCE_EXHAUSTED: there is no memory; INTERNAL: another exception.
template <typename F>
absl::Status ModelCall(absl::string_view what, int threads, F&& f) {
  const ThreadsScope scope(threads);
  try {
    return std::forward<F>(f)();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": out of memory"));
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat(what, ": ", e.what()));
  }
}

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_MODEL_CALL_H_
