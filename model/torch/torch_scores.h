#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_SCORES_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_SCORES_H_

#include <cstddef>

#include <ATen/core/Tensor.h>
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "model/api/translator.h"
#include "model/torch/torch_layers.h"

namespace leapstream {

// Facts that are known of rows before their logits, on the device: [R] each, or undefined.
struct TorchNotes {
  at::Tensor wants;     // Whether a learned policy wants more source: then there is no decision.
  at::Tensor attended;  // Decision::attended.
};

// Decides the tokens of rows x [R, E], behind the decoder's norm. The largest numbers are found on
// the device, and only they are copied from it.
void DecideRows(const TorchOutput& output, const at::Tensor& x, const TorchNotes& notes,
                absl::Span<Decision> result);

// Gives `visit` the scores of all tokens of rows x, in order, a few rows at a time: a search looks
// at all of them, so they are copied from the device.
void ShowRows(const TorchOutput& output, const at::Tensor& x,
              absl::FunctionRef<float(size_t row)> temperature,
              absl::FunctionRef<void(size_t row, const TokenScores& scores)> visit);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_SCORES_H_
