#include "tests/bench/torch_operations.h"

#include <memory>
#include <string>
#include <vector>

#include <ATen/record_function.h>
#include "absl/algorithm/container.h"
#include "absl/strings/string_view.h"
#include "tests/bench/thread_time.h"

namespace leapstream {
namespace {

// Operations that only make views, take memory, or call other operations.
bool OnlyCalls(absl::string_view name) {
  constexpr absl::string_view kNames[] = {
      "_reshape_alias", "_to_copy",  "_unsafe_view", "as_strided",    "contiguous",  "detach",
      "embedding_bag",  "empty",     "empty_like",   "empty_strided", "expand",      "expand_as",
      "flatten",        "full",      "full_like",    "item",          "layer_norm",  "linear",
      "log_softmax",    "matmul",    "narrow",       "ones",          "permute",     "relu",
      "relu_",          "reshape",   "resize_",      "resolve_conj",  "resolve_neg", "select",
      "slice",          "softmax",   "squeeze",      "stack",         "t",           "to",
      "transpose",      "unflatten", "unsqueeze",    "view",          "view_as",     "where",
      "zeros",          "zeros_like"};
  return absl::c_linear_search(kNames, name.substr(name.rfind(':') + 1));
}

struct Count {
  struct Open {
    double start = 0;
    double within = 0;  // The time of operations that it called.
  };
  std::vector<Open> open;
  int inside = 0;  // How many of `open` work on numbers.
  std::map<std::string, TorchOperation> done;
};
thread_local Count* counted = nullptr;

std::unique_ptr<at::ObserverContext> BeginOperation(const at::RecordFunction& function) {
  if (!OnlyCalls(function.name())) ++counted->inside;
  counted->open.push_back({ThreadSeconds()});
  return nullptr;
}

void EndOperation(const at::RecordFunction& function, at::ObserverContext*) {
  const double seconds = ThreadSeconds() - counted->open.back().start;
  TorchOperation& operation = counted->done[function.name()];
  operation.seconds += seconds - counted->open.back().within;
  counted->open.pop_back();
  if (!counted->open.empty()) counted->open.back().within += seconds;
  // Operations that it calls are a part of its own work.
  if (!OnlyCalls(function.name()) && --counted->inside == 0) ++operation.calls;
}

}  // namespace

std::map<std::string, TorchOperation> CountTorchOperations(absl::FunctionRef<void()> f) {
  Count count;
  counted = &count;
  const at::CallbackHandle handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(BeginOperation, EndOperation).scopes({at::RecordScope::FUNCTION}));
  f();
  at::removeCallback(handle);
  counted = nullptr;
  return count.done;
}

}  // namespace leapstream
