#ifndef LEAPSTREAM_MODEL_ENGINE_OBSERVER_H_
#define LEAPSTREAM_MODEL_ENGINE_OBSERVER_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/engine/attention/attention.h"
#include "model/engine/batch.h"
#include "model/engine/tensor.h"

namespace leapstream {

// Shows intermediate rows to a test, each under its golden name ("enc.0.self_attn", "logits", ...).
// Does nothing if no test listens.
class RowObserver {
 public:
  using Listener = std::function<void(absl::string_view name, const Tensor& rows)>;
  void ListenForTest(Listener listener) { listener_ = std::move(listener); }
  const Listener& listener() const { return listener_; }

  void Show(const std::string& layer, const char* what, const Rows& rows) const {
    if (!listener_) return;
    listener_(layer + what, {{rows.count, rows.width},
                             std::vector<float>(rows.x, rows.x + rows.count * rows.width)});
  }
  // Runs `add`, which adds to y, and shows the difference.
  template <typename F>
  void ShowAdded(const std::string& layer, const char* what, const Rows& y, F&& add) const {
    if (!listener_) return add();
    const std::vector<float> before(y.x, y.x + y.count * y.width);
    add();
    std::vector<float> added(y.x, y.x + y.count * y.width);
    for (size_t i = 0; i < added.size(); ++i) added[i] -= before[i];
    Show(layer, what, {added.data(), y.count, y.width});
  }
  // Shows the proportions of a LeaP block with so many heads and the input `in`. Shows nothing for
  // other kinds of attention.
  void ShowProportions(const std::string& layer, const Attention& attention, int64_t heads,
                       const Rows& in) const;

 private:
  Listener listener_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_OBSERVER_H_
