#ifndef LEAPSTREAM_MODEL_TORCH_ATTENTION_LEAP_ATTENTION_H_
#define LEAPSTREAM_MODEL_TORCH_ATTENTION_LEAP_ATTENTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include "model/torch/kernels/leap_kernel.h"
#include "model/torch/kernels/packed_linear.h"
#include "model/torch/weights.h"

namespace leapstream {

// The net that gives each head and position its proportion p in (0, 1):
// sigmoid(W2 relu(W1 x + b1) + b2), shared by the heads of a block.
class ProportionNet {
 public:
  ProportionNet(const Weights& weights, const std::string& name);
  // features: [R * H, d] after relu; returns p [R * H].
  std::vector<float> operator()(const float* features, int64_t count) const;

 private:
  PackedLinear hidden_;
  PackedLinear out_;
};

// Rows of keys or queries after projection, feature map and proportion.
struct LeapRows {
  at::Tensor features;        // [R, H, d]
  std::vector<float> sine;    // [R * H], of pi/2 p
  std::vector<float> cosine;  // [R * H]
  LeapFeatures Head(int64_t row, int64_t head) const;
};

// A LeaP attention block (Agostinelli et al. 2024; FAIRSEQ.md, section 1): weights only. Its states
// are StateFloats() floats, zero at the start, that the caller owns.
//
// A state holds one position beside the sums: the newest one of self-attention, not yet folded in.
// It joins the sums in the pass of the next step, or is forgotten if that position is decided
// again.
class LeapAttention {
 public:
  LeapAttention(const Weights& weights, const std::string& name, int heads);

  int64_t StateFloats() const { return heads_ * HeadFloats(); }

  // Self-attention over rows in order, row r belonging to states[r]. fold[r]: whether the position
  // that states[r] still holds apart is part of the past (else it is forgotten). Returns [R, E],
  // the input of Output().
  at::Tensor Step(const at::Tensor& x, const std::vector<float*>& states,
                  const std::vector<bool>& fold) const;
  // Cross-attention: adds source rows [R, E_encoder] to states[r].
  void Append(const at::Tensor& encoder_rows, const std::vector<float*>& states) const;
  // Cross-attention: attends with rows [R, E]. A null state gives zeros.
  at::Tensor Attend(const at::Tensor& x, const std::vector<float*>& states) const;
  // [R, E] -> [R, E]
  at::Tensor Output(const at::Tensor& attended) const;

  LeapRows Queries(const at::Tensor& x) const;
  LeapRows Keys(const at::Tensor& x) const;
  at::Tensor Values(const at::Tensor& x) const;  // [R, H, d]
  // The sums of a state with the position held apart folded in: [H, 2 d d + 2 d]. For tests.
  at::Tensor Folded(const float* state) const;

 private:
  // The sums, then features [d], value [d], sine, cosine of the position held apart.
  int64_t HeadFloats() const { return LeapStateFloats(d_) + 2 * d_ + 2; }
  LeapFeatures Held(const float* head) const;
  LeapRows Features(const PackedLinear& projection, const ProportionNet& net, float scale,
                    const at::Tensor& x) const;

  int64_t heads_;
  PackedLinear query_, key_, value_, output_;
  int64_t d_;
  ProportionNet query_proportion_, key_proportion_;
};

// The quadratic form in LibTorch operations, the slow twin. q, k: [H, T, d], [H, S, d] before the
// feature map (q already scaled); p_q, p_k: [H, T], [H, S]; v: [H, S, d]; mask: [T, S] bool, what
// each row may see. Returns [H, T, d].
at::Tensor LeapAttentionNaive(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const at::Tensor& p_q, const at::Tensor& p_k, const at::Tensor& mask);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCH_ATTENTION_LEAP_ATTENTION_H_
