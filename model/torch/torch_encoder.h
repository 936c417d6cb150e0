#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_ENCODER_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_ENCODER_H_

#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "model/api/model_config.h"
#include "model/engine/batch.h"
#include "model/engine/session_state.h"
#include "model/torch/attention/torch_past.h"
#include "model/torch/row_grid.h"
#include "model/torch/torch_layers.h"

namespace leapstream {

// One layer of an encoder: see EncoderLayer. Const and thread-safe.
class TorchEncoderLayer {
 public:
  virtual ~TorchEncoderLayer() = default;
  struct Call {
    int64_t layer;
    const at::Tensor& positions;  // Of the rows, from 0: [R].
    const RowGrid& grid;
    TorchPastCall& attention;
  };
  virtual at::Tensor Apply(const at::Tensor& x, const Call& call) const = 0;
};

// A conformer's layer: see ConformerLayer. parameters: the layer's.
std::unique_ptr<const TorchEncoderLayer> MakeTorchConformerLayer(const TorchParameters& parameters,
                                                                 const ModelConfig& config);

// The source side of a network, or the layers of a language model: see TransformerEncoder. Const
// and thread-safe but for Encode(), which needs the context's mutex; only states change.
class TorchEncoder {
 public:
  // parameters: the whole model's. `config` must outlive the encoder.
  TorchEncoder(const TorchParameters& parameters, const ModelConfig& config,
               std::shared_ptr<TorchContext> context);

  void AddTo(TransformerState* state) const;
  absl::Status Reserve(int states) const;

  // Some rows of a batch: those of the sessions in `pass`, encoded, [R, E].
  struct Encoded {
    const RowPass& pass;
    const RowGrid& grid;
    const std::vector<TransformerState*>& owners;  // Of the pass's parts.
    const at::Tensor& positions;
    const at::Tensor& x;
  };
  // Encodes a batch, a part after the other, and adds its rows to the encoder's states.
  void Encode(const SourceBatch& batch, absl::FunctionRef<void(const Encoded&)> take) const;

 private:
  // The input of the first layer for all rows of a batch.
  at::Tensor Embed(const SourceBatch& batch, const at::Tensor& positions) const;
  at::Tensor EncodePass(const at::Tensor& in, const at::Tensor& positions, const RowGrid& grid,
                        const std::vector<TransformerState*>& owners, bool provisional) const;

  const ModelConfig& config_;
  const SideConfig& side_;
  const std::shared_ptr<TorchContext> context_;
  const TorchShape shape_;
  const TorchEmbedding embedding_;
  TorchLinear input_;  // A conformer's, behind the positions; otherwise undefined.
  std::vector<std::shared_ptr<const TorchEncoderLayer>> layers_;  // Some may be one.
  TorchNorm norm_;                                                // Undefined if there is none.
  std::unique_ptr<const TorchPast> past_;  // Null if the encoder is bidirectional.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_ENCODER_H_
