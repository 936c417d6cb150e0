#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_SCORES_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_SCORES_H_

#include <cstddef>

#include <ATen/core/Tensor.h>
#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "model/api/translator.h"
#include "model/torch/torch_context.h"
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

// The scores of one row that are asked for.
struct AskedScores {
  float temperature = 1;
  WantedScores wanted;
};

// Gives `visit` the scores of rows x that are asked for, in order. They are found on the device,
// and only they are copied from it: about wanted.best numbers of a row, or all where that is a
// large part of them, or where `visit` asks for all.
void ShowRows(const TorchContext& context, const TorchOutput& output, const at::Tensor& x,
              absl::FunctionRef<AskedScores(size_t row)> asked, ScoreVisitor visit);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_SCORES_H_
