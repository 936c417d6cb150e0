#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_TRANSLATOR_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_TRANSLATOR_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/layers.h"
#include "model/engine/torch_device.h"
#include "model/engine/weights.h"
#include "model/torch/torch_slots.h"

namespace leapstream {

// A model of LibTorch operations, on any device that LibTorch has. Its results are Transformer's up
// to rounding. It is for GPUs, and to compare Transformer with. It takes models of text with a
// causal encoder, wait-k or no policy, and LeaP in all three blocks, and computes in float32.
//
// The states of all sessions lie side by side on the device, so that a batch takes a few operations
// for all of its sessions together. Calls from several threads wait for each other. Unlike other
// translators' results, these depend on the batch, by rounding errors.
class TorchTranslator : public Translator {
 public:
  // UNIMPLEMENTED: see CheckTorchComputes(). FAILED_PRECONDITION: there is no such device.
  // INVALID_ARGUMENT: see Weights::Finish().
  static absl::StatusOr<std::unique_ptr<TorchTranslator>> Create(const ModelConfig& config,
                                                                 Weights& weights,
                                                                 const TorchDevice& device);
  ~TorchTranslator() override;

  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override;
  absl::Status Reserve(int states) const override;
  absl::Status Read(absl::Span<const SourceRows> rows, BetweenLayers between_layers) const override;
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override;
  absl::Status Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                     BetweenLayers between_layers) const override;

 private:
  class State;
  using Slots = TorchSlots;
  // The LeaP features of queries and keys, [B, H, 2 d], and values followed by a one, [B, H, d +
  // 1], so that a product with the sums gives numerator and denominator.
  struct Heads {
    at::Tensor query, key, value;
  };

  TorchTranslator(const ModelConfig& config, Weights& weights, const TorchDevice& device);

  at::Tensor Linear(const std::string& name, const at::Tensor& x) const;
  at::Tensor Norm(const std::string& name, const at::Tensor& x) const;
  at::Tensor FeedForward(const std::string& name, const at::Tensor& x) const;
  at::Tensor Embed(const std::string& side, const SideConfig& config, const at::Tensor& tokens,
                   const at::Tensor& positions) const;
  at::Tensor Features(const std::string& net, const SideConfig& side, const at::Tensor& x) const;
  at::Tensor Query(const std::string& name, const SideConfig& side, const at::Tensor& x) const;
  void KeyAndValue(const std::string& name, const SideConfig& side, const at::Tensor& x,
                   Heads* heads) const;
  // Returns x [B, E] plus the projected result of attention. `attended`: query times sums,
  // [B, H, d + 1].
  at::Tensor Output(const std::string& name, const at::Tensor& attended, const at::Tensor& x) const;
  // A function that takes one row of a step's logits.
  using RowFunction = absl::FunctionRef<absl::Status(size_t row, absl::Span<float> logits)>;
  // Opens a step of each state, and gives the rows of logits to `take`, in order.
  absl::Status Step(absl::Span<SessionState* const> batch, RowFunction take) const;
  at::Tensor Indices(const std::vector<int64_t>& values) const;
  void FeedFirstRows(absl::Span<SessionState* const> batch) const;
  void Encode(const std::vector<int64_t>& tokens, const std::vector<int64_t>& positions,
              const at::Tensor& slots) const;
  at::Tensor Decode(const std::vector<int64_t>& tokens, const std::vector<int64_t>& positions,
                    const at::Tensor& slots, const at::Tensor& sees_source) const;

  const ModelConfig config_;
  const Activation activation_;
  const c10::Device device_;
  const int threads_;
  std::map<std::string, at::Tensor> weights_;  // All tensors of the model, on the device.
  const std::shared_ptr<Slots> slots_;         // States may outlive the translator.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_TRANSLATOR_H_
