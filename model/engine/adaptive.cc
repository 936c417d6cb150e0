#include "model/engine/adaptive.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/engine/kernels/simd.h"

namespace leapstream {
namespace {

constexpr char kAdaptive[] = "adaptive";

std::string BandName(size_t band) { return absl::StrCat("bands.", band); }

// Replaces numbers by `more` plus the logarithm of their soft-max.
void LogSoftmaxInPlace(float* x, int64_t count, float more) {
  const float most = *std::max_element(x, x + count);
  const float log_sum = std::log(Simd().sum_exp(x, count, most, nullptr));
  for (int64_t i = 0; i < count; ++i) x[i] = ((x[i] - most) - log_sum) + more;
}

}  // namespace

AdaptiveInput::AdaptiveInput(const Parameters& parameters, absl::Span<const BandConfig> bands,
                             int64_t width)
    : width_(width) {
  int64_t first = 0;
  for (size_t b = 0; b < bands.size(); ++b) {
    const Parameters band = parameters.Under(BandName(b));
    RowTable words = band.Table("embedding", {bands[b].words, bands[b].width});
    bands_.push_back({first, std::move(words), band.Matrix("project", {width, bands[b].width})});
    first += bands[b].words;
  }
}

void AdaptiveInput::Apply(absl::Span<const TokenId> tokens, float* out, Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  float* words = scratch.Floats(bands_[0].words.width());  // The first band is the widest.
  for (size_t r = 0; r < tokens.size(); ++r) {
    const auto after = std::upper_bound(
        bands_.begin(), bands_.end(), tokens[r],
        [](TokenId token, const Band& band) { return token < band.first; });
    const Band& band = *(after - 1);
    band.words.Read(tokens[r] - band.first, words);
    band.project.Apply(words, 1, out + static_cast<int64_t>(r) * width_, scratch);
  }
}

OutputLayer::OutputLayer(const Parameters& parameters, const ModelConfig& config)
    : vocabulary_(config.decoder.vocabulary_size) {
  const LanguageModelConfig& model = *config.language_model;
  const std::vector<BandConfig>& bands = model.adaptive_softmax;
  const int64_t width = config.decoder.output_dim;
  if (bands.empty()) {
    const bool shared = config.share_decoder_input_output_embed;
    words_ = parameters.Matrix(shared ? "embedding" : "output", {vocabulary_, width});
    return;
  }
  const Parameters own = parameters.Under(kAdaptive);
  first_band_ = bands[0].words;
  const auto tails = static_cast<int64_t>(bands.size()) - 1;
  if (model.tie_adaptive_weights) {
    words_ = parameters.Under(BandName(0)).Matrix("embedding", {first_band_, width});
    classes_ = own.Matrix("classes", {tails, width});
  } else {
    words_ = own.Matrix("head", {first_band_ + tails, width});
  }
  int64_t first = first_band_;
  for (size_t b = 1; b < bands.size(); ++b) {
    const Parameters tail = own.Under(absl::StrCat("tails.", b - 1));
    const Parameters band = parameters.Under(BandName(b));
    const auto [size, inner] = std::pair<int64_t, int64_t>(bands[b].words, bands[b].width);
    PackedLinear project = model.tie_adaptive_proj ? band.Transposed("project", {width, inner})
                                                   : tail.Matrix("project", {inner, width});
    PackedLinear words = model.tie_adaptive_weights ? band.Matrix("embedding", {size, inner})
                                                    : tail.Matrix("words", {size, inner});
    tails_.push_back({std::move(project), std::move(words), first, size});
    first += size;
  }
}

void OutputLayer::ApplyHead(const float* x, int64_t rows, float* head, float* out,
                            Workspace& scratch) const {
  const Workspace::Scope scope(scratch);
  const int64_t width = first_band_ + static_cast<int64_t>(tails_.size());
  float* parts = scratch.Floats(rows * width);
  words_.Apply(x, rows, parts, scratch);
  float* classes = parts + rows * first_band_;
  if (classes_.out() > 0) classes_.Apply(x, rows, classes, scratch);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = head + r * width;
    std::copy_n(parts + r * words_.out(), words_.out(), row);
    std::copy_n(classes + r * classes_.out(), classes_.out(), row + first_band_);
    LogSoftmaxInPlace(row, width, 0);
    std::copy_n(row, first_band_, out + r * vocabulary_);
  }
}

void OutputLayer::Apply(const float* x, int64_t rows, float* out, Workspace& scratch) const {
  if (tails_.empty()) return words_.Apply(x, rows, out, scratch);
  const Workspace::Scope scope(scratch);
  const auto head_width = first_band_ + static_cast<int64_t>(tails_.size());
  float* head = scratch.Floats(rows * head_width);
  ApplyHead(x, rows, head, out, scratch);
  for (size_t t = 0; t < tails_.size(); ++t) {
    const Workspace::Scope tail_scope(scratch);
    const Tail& tail = tails_[t];
    float* inner = scratch.Floats(rows * tail.project.out());
    float* scores = scratch.Floats(rows * tail.size);
    tail.project.Apply(x, rows, inner, scratch);
    tail.words.Apply(inner, rows, scores, scratch);
    for (int64_t r = 0; r < rows; ++r) {
      float* row = scores + r * tail.size;
      LogSoftmaxInPlace(row, tail.size, head[r * head_width + first_band_ + static_cast<int64_t>(t)]);
      std::copy_n(row, tail.size, out + r * vocabulary_ + tail.first);
    }
  }
}

}  // namespace leapstream
