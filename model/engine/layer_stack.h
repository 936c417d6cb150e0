#ifndef LEAPSTREAM_MODEL_ENGINE_LAYER_STACK_H_
#define LEAPSTREAM_MODEL_ENGINE_LAYER_STACK_H_

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "model/api/model_config.h"
#include "model/engine/batch.h"
#include "model/engine/kernels/workspace.h"
#include "model/engine/layers.h"
#include "model/engine/parameters.h"

namespace leapstream {

// The layers of one side. A shared layer is there once, and has one state: fairseq keeps the past
// of incremental decoding by module, so that layers which share parameters share their past as
// well.
template <typename Layer>
struct LayerStack {
  // parameters: the side's. golden_name: the side's name in goldens, "enc" or "dec".
  LayerStack(const Parameters& parameters, const ModelConfig& config, const SideConfig& side,
             absl::string_view golden_name) {
    for (int l = 0; l < side.layers; ++l) {
      names.push_back(absl::StrCat(golden_name, ".", l));
      const int distinct = side.LayerOf(l);
      if (distinct != l) {
        order.push_back(order[distinct]);
        continue;
      }
      order.push_back(layers.size());
      layers.emplace_back(parameters.Under(absl::StrCat("layers.", l)), config, side);
    }
  }

  std::vector<Layer> layers;
  std::vector<size_t> order;       // Indices into `layers`, in the order in which they run.
  std::vector<std::string> names;  // The layers' names in goldens, in the same order as `order`.
};

// Replaces x by x + f(norm(x)) (pre-norm) or by norm(x + f(x)) (post-norm). `add` gets the input of
// f, and adds the result to x.
template <typename F>
void Residual(const LayerNorm& norm, bool normalize_before, const Rows& x, Workspace& scratch,
              F&& add) {
  const Workspace::Scope scope(scratch);
  float* input = scratch.Floats(x.count * x.width);
  if (normalize_before) {
    norm.Apply(x.x, x.count, input);
  } else {
    std::copy_n(x.x, x.count * x.width, input);  // `add` reads the input while x changes.
  }
  add(input);
  if (!normalize_before) norm.Apply(x.x, x.count, x.x);
}

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_LAYER_STACK_H_
