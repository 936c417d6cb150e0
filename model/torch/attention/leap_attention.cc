#include "model/torch/attention/leap_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>
#include "model/torch/layers.h"

namespace leapstream {
namespace {
constexpr float kHalfPi = 1.57079632679489662f;
}  // namespace

ProportionNet::ProportionNet(const Weights& weights, const std::string& name)
    : hidden_(weights.Linear(name + ".hidden")), out_(weights.Linear(name + ".out")) {}

std::vector<float> ProportionNet::operator()(const float* features, int64_t count) const {
  std::vector<float> hidden(count * hidden_.out());
  hidden_.Apply(features, count, hidden.data());
  for (float& h : hidden) h = std::max(h, 0.0f);
  std::vector<float> p(count);
  out_.Apply(hidden.data(), count, p.data());
  for (float& x : p) x = 1.0f / (1.0f + std::exp(-x));
  return p;
}

LeapFeatures LeapRows::Head(int64_t row, int64_t head) const {
  const int64_t i = row * features.size(1) + head;
  return {features.data_ptr<float>() + i * features.size(2), sine[i], cosine[i]};
}

LeapAttention::LeapAttention(const Weights& weights, const std::string& name, int heads)
    : heads_(heads),
      query_(weights.Linear(name + ".query")),
      key_(weights.Linear(name + ".key")),
      value_(weights.Linear(name + ".value")),
      output_(weights.Linear(name + ".output")),
      d_(query_.out() / heads),
      query_proportion_(weights, name + ".query_proportion"),
      key_proportion_(weights, name + ".key_proportion") {}

LeapRows LeapAttention::Features(const PackedLinear& projection, const ProportionNet& net,
                                 float scale, const at::Tensor& x) const {
  LeapRows rows;
  rows.features = Apply(projection, x).view({x.size(0), heads_, d_});
  float* value = rows.features.data_ptr<float>();
  for (int64_t i = 0; i < rows.features.numel(); ++i) value[i] = std::max(scale * value[i], 0.0f);
  const int64_t count = x.size(0) * heads_;
  const std::vector<float> p = net(value, count);
  rows.sine.resize(count);
  rows.cosine.resize(count);
  for (int64_t i = 0; i < count; ++i) {
    rows.sine[i] = std::sin(kHalfPi * p[i]);
    rows.cosine[i] = std::cos(kHalfPi * p[i]);
  }
  return rows;
}

LeapRows LeapAttention::Queries(const at::Tensor& x) const {
  return Features(query_, query_proportion_, 1.0f / std::sqrt(static_cast<float>(d_)), x);
}
LeapRows LeapAttention::Keys(const at::Tensor& x) const {
  return Features(key_, key_proportion_, 1.0f, x);
}
at::Tensor LeapAttention::Values(const at::Tensor& x) const {
  return Apply(value_, x).view({x.size(0), heads_, d_});
}
at::Tensor LeapAttention::Output(const at::Tensor& attended) const {
  return Apply(output_, attended);
}

LeapFeatures LeapAttention::Held(const float* head) const {
  const float* held = head + LeapStateFloats(d_);
  return {held, held[2 * d_], held[2 * d_ + 1]};
}

at::Tensor LeapAttention::Step(const at::Tensor& x, const std::vector<float*>& states,
                               const std::vector<bool>& fold) const {
  const LeapRows q = Queries(x);
  const LeapRows k = Keys(x);
  const at::Tensor v = Values(x);
  at::Tensor out = at::empty({x.size(0), heads_ * d_}, x.options());
  for (int64_t r = 0; r < x.size(0); ++r) {
    for (int64_t h = 0; h < heads_; ++h) {
      float* head = states[r] + h * HeadFloats();
      float* held = head + LeapStateFloats(d_);
      LeapStep step;
      step.query = q.Head(r, h);
      step.own_key = k.Head(r, h);
      step.own_value = v.data_ptr<float>() + (r * heads_ + h) * d_;
      if (fold[r]) {
        step.past_key = Held(head);
        step.past_value = held + d_;
      }
      LeapAttend(head, d_, step, out.data_ptr<float>() + (r * heads_ + h) * d_);
      std::memcpy(held, step.own_key.features, d_ * sizeof(float));
      std::memcpy(held + d_, step.own_value, d_ * sizeof(float));
      held[2 * d_] = step.own_key.sine;
      held[2 * d_ + 1] = step.own_key.cosine;
    }
  }
  return out;
}

void LeapAttention::Append(const at::Tensor& encoder_rows,
                           const std::vector<float*>& states) const {
  const LeapRows k = Keys(encoder_rows);
  const at::Tensor v = Values(encoder_rows);
  for (int64_t r = 0; r < encoder_rows.size(0); ++r) {
    for (int64_t h = 0; h < heads_; ++h) {
      LeapAppend(states[r] + h * HeadFloats(), d_, k.Head(r, h),
                 v.data_ptr<float>() + (r * heads_ + h) * d_);
    }
  }
}

at::Tensor LeapAttention::Attend(const at::Tensor& x, const std::vector<float*>& states) const {
  const LeapRows q = Queries(x);
  at::Tensor out = at::zeros({x.size(0), heads_ * d_}, x.options());
  for (int64_t r = 0; r < x.size(0); ++r) {
    if (states[r] == nullptr) continue;
    for (int64_t h = 0; h < heads_; ++h) {
      LeapStep step;
      step.query = q.Head(r, h);
      LeapAttend(states[r] + h * HeadFloats(), d_, step,
                 out.data_ptr<float>() + (r * heads_ + h) * d_);
    }
  }
  return out;
}

at::Tensor LeapAttention::Folded(const float* state) const {
  at::Tensor folded = at::empty({heads_, LeapStateFloats(d_)});
  for (int64_t h = 0; h < heads_; ++h) {
    const float* head = state + h * HeadFloats();
    float* out = folded.data_ptr<float>() + h * LeapStateFloats(d_);
    std::memcpy(out, head, LeapStateFloats(d_) * sizeof(float));
    LeapAppend(out, d_, Held(head), head + LeapStateFloats(d_) + d_);
  }
  return folded;
}

at::Tensor LeapAttentionNaive(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const at::Tensor& p_q, const at::Tensor& p_k,
                              const at::Tensor& mask) {
  const at::Tensor angle = (p_q.unsqueeze(-1) - p_k.unsqueeze(-2)) * kHalfPi;  // [H, T, S]
  const at::Tensor energy = at::matmul(at::relu(q), at::relu(k).transpose(-1, -2)) * at::cos(angle);
  const at::Tensor seen = energy * mask.to(at::kFloat);
  return at::matmul(seen, v) / seen.sum(-1, /*keepdim=*/true).clamp_min(kLeapNormaliserFloor);
}

}  // namespace leapstream
