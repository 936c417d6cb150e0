#include "model/engine/contract.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "model/engine/kernels/simd.h"

namespace leapstream {
namespace {

absl::Status CheckTokens(absl::string_view side, absl::Span<const TokenId> tokens, int size) {
  for (const TokenId token : tokens) {
    if (token >= 0 && token < size) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("a ", side, " token must be in [0, ", size, "), got ", token));
  }
  return absl::OkStatus();
}

#ifdef __SSE2__
// GCC 12 takes four instructions for what is one, and a large vocabulary takes millions.
typedef __m128 Four;
inline Four Load(const float* x) { return _mm_loadu_ps(x); }
inline Four Larger(Four x, Four most) { return _mm_max_ps(x, most); }
#else
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
inline Four Load(const float* x) { return *reinterpret_cast<const Four*>(x); }
inline Four Larger(Four x, Four most) { return x > most ? x : most; }
#endif

// The largest number; a NaN may be passed over.
float Largest(absl::Span<const float> x) {
  constexpr size_t kLanes = 16;
  size_t i = 0;
  float most = x[0];
  if (x.size() >= kLanes) {
    Four lanes[4];
    for (int v = 0; v < 4; ++v) lanes[v] = Load(x.data() + 4 * v);
    for (i = kLanes; i + kLanes <= x.size(); i += kLanes) {
      for (int v = 0; v < 4; ++v) lanes[v] = Larger(Load(x.data() + i + 4 * v), lanes[v]);
    }
    const Four four = Larger(Larger(lanes[0], lanes[1]), Larger(lanes[2], lanes[3]));
    for (int l = 0; l < 4; ++l) most = std::max(most, four[l]);
  }
  for (; i < x.size(); ++i) most = std::max(most, x[i]);
  return most;
}

// The largest number of each block of a row.
class Blocks {
 public:
  explicit Blocks(absl::Span<const float> x)
      : size_(kLeastSize * ((x.size() + kLeastSize * kMost - 1) / (kLeastSize * kMost))) {
    for (size_t begin = 0; begin < x.size(); begin += size_) {
      largest_[count_++] = leapstream::Largest(x.subspan(begin, size_));
    }
  }
  size_t size() const { return size_; }  // Of a block; the last one may be smaller.
  size_t count() const { return count_; }
  float operator[](size_t block) const { return largest_[block]; }
  float Largest() const { return *std::max_element(largest_, largest_ + count_); }

 private:
  static constexpr size_t kLeastSize = 512;
  static constexpr size_t kMost = 1024;

  size_t size_;
  size_t count_ = 0;
  float largest_[kMost] = {};
};

// Scored(), if the largest logit is known.
TokenScores ScoredBelow(float most, absl::Span<const float> logits) {
  TokenScores scores;
  scores.logits = logits;
  scores.most = most;
  scores.log_sum =
      std::log(Simd().sum_exp(logits.data(), static_cast<int64_t>(logits.size()), most, nullptr));
  return scores;
}

// Decided(); blocks: those of the scores' logits.
Decision DecidedAmong(const TokenScores& scores, const Blocks& blocks) {
  Decision decision;
  if (!scores.finite()) {
    decision.best.log_prob = decision.second.log_prob = std::numeric_limits<float>::quiet_NaN();
    return decision;
  }
  // Log-probabilities are rounded in the order of log_softmax: different logits may then tie. Ties
  // go to the lowest index, as with argmax in fairseq's agents.
  TokenId best = 0;
  TokenId second = 1;
  if (scores.log_prob(1) > scores.log_prob(0)) std::swap(best, second);
  for (size_t b = 0; b < blocks.count(); ++b) {
    // Only the few blocks that have a candidate are looked through.
    if ((blocks[b] - scores.most) - scores.log_sum <= scores.log_prob(second)) continue;
    const size_t end = std::min((b + 1) * blocks.size(), scores.logits.size());
    for (size_t i = std::max<size_t>(b * blocks.size(), 2); i < end; ++i) {
      const auto id = static_cast<TokenId>(i);
      const float p = scores.log_prob(id);
      if (p <= scores.log_prob(second)) continue;
      if (p > scores.log_prob(best)) {
        second = best;
        best = id;
      } else {
        second = id;
      }
    }
  }
  decision.best = {best, scores.log_prob(best)};
  decision.second = {second, scores.log_prob(second)};
  return decision;
}

}  // namespace

absl::Status CheckSource(absl::Span<const SourceRows> batch, const ModelConfig& config) {
  for (const SourceRows& rows : batch) {
    const bool wrong = config.speech.has_value() ? !rows.tokens.empty() : !rows.samples.empty();
    if (wrong) {
      return absl::InvalidArgumentError(
          absl::StrCat("the model takes ", config.speech.has_value() ? "samples" : "tokens",
                       ", got the other kind of source"));
    }
    LEAPSTREAM_RETURN_IF_ERROR(CheckTokens("source", rows.tokens, config.SourceVocabularySize()));
  }
  return absl::OkStatus();
}

absl::Status CheckReplay(absl::Span<const ReplayRows> batch, const ModelConfig& config,
                         absl::FunctionRef<int64_t(const ReplayRows&)> source_read_after) {
  for (const ReplayRows& rows : batch) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckTokens("source", rows.source, config.encoder.vocabulary_size));
    LEAPSTREAM_RETURN_IF_ERROR(CheckTokens("target", rows.target, config.decoder.vocabulary_size));
    if (rows.source_read.size() != rows.target.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("each target token needs its source_read, got ", rows.source_read.size(),
                       " of them for ", rows.target.size(), " tokens"));
    }
    const int64_t read = rows.state->source_read();
    const int64_t most = source_read_after(rows);
    int64_t least = std::max<int64_t>(read, 1);
    for (const int source_read : rows.source_read) {
      if (source_read < least || source_read > most) {
        return absl::InvalidArgumentError(absl::StrCat("a target token's source_read must be in [",
                                                       least, ", ", most, "], got ", source_read));
      }
      least = source_read;
    }
  }
  return absl::OkStatus();
}

absl::Status CheckHaveSource(absl::Span<SessionState* const> batch) {
  for (const SessionState* state : batch) {
    if (state->source_read() == 0) {
      return absl::FailedPreconditionError(
          "a target token needs at least one source token; call Read() first");
    }
  }
  return absl::OkStatus();
}

const char* OutputName(const ModelConfig& config) {
  if (config.share_all_embeddings) return "encoder.embedding";
  return config.share_decoder_input_output_embed ? "decoder.embedding" : "decoder.output";
}

TokenScores Scored(absl::Span<float> logits, float temperature) {
  if (temperature != 1) {
    for (float& logit : logits) logit /= temperature;
  }
  return ScoredBelow(Largest(logits), logits);
}

Decision Decided(const TokenScores& scores) { return DecidedAmong(scores, Blocks(scores.logits)); }

Decision DecidedFrom(absl::Span<const float> logits) {
  const Blocks blocks(logits);
  return DecidedAmong(ScoredBelow(blocks.Largest(), logits), blocks);
}

}  // namespace leapstream
