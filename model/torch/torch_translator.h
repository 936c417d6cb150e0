#ifndef LEAPSTREAM_MODEL_TORCH_TORCH_TRANSLATOR_H_
#define LEAPSTREAM_MODEL_TORCH_TORCH_TRANSLATOR_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "model/api/model_config.h"
#include "model/api/translator.h"
#include "model/engine/layers.h"
#include "model/engine/torch_device.h"
#include "model/engine/weights.h"

namespace leapstream {

// The model in LibTorch operations, on any device that LibTorch has: the plain twin of Transformer,
// which it equals up to rounding, for GPUs and to measure the other against. For models of text
// with a causal encoder, wait-k or none, and LeaP in all three blocks; in float32.
//
// The states of all sessions lie side by side on the device, so that a batch takes some operations
// for all of its sessions and none for each. Calls from several threads wait for each other. Unlike
// other translators' its results depend on the batch, by roundings.
class TorchTranslator : public Translator {
 public:
  // UNIMPLEMENTED: see CheckTorchComputes(). FAILED_PRECONDITION: there is no such
  // device.
  static absl::StatusOr<std::unique_ptr<TorchTranslator>> Create(const ModelConfig& config,
                                                                 Weights& weights,
                                                                 const TorchDevice& device);
  ~TorchTranslator() override;

  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override;
  absl::Status Reserve(int states) const override;
  absl::Status Read(absl::Span<const SourceRows> rows, BetweenLayers between_layers) const override;
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override;

 private:
  class State;
  class Slots;
  // LeaP features of queries or keys, [B, H, 2 d], and values with a one behind, [B, H, d + 1], so
  // that a product with the sums gives numerator and denominator.
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
  // Of query times sums, [B, H, d + 1]; adds the projection to x [B, E].
  at::Tensor Output(const std::string& name, const at::Tensor& attended, const at::Tensor& x) const;
  at::Tensor Indices(const std::vector<int64_t>& values) const;
  void Encode(const std::vector<int64_t>& tokens, const std::vector<int64_t>& positions,
              const at::Tensor& slots) const;
  at::Tensor Decode(const std::vector<int64_t>& tokens, const std::vector<int64_t>& positions,
                    const at::Tensor& slots, const at::Tensor& sees_source) const;

  const ModelConfig config_;
  const Activation activation_;
  const c10::Device device_;
  const int threads_;
  std::map<std::string, at::Tensor> weights_;  // On the device.
  const std::shared_ptr<Slots> slots_;         // States may outlive the translator.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_TORCH_TRANSLATOR_H_
