#include "model/fairseq/read_language_model.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/fairseq/option_table.h"

namespace leapstream {
namespace {

constexpr char kInputBands[] = "decoder.embed_tokens.embeddings";
constexpr char kTails[] = "decoder.adaptive_softmax.tail";

// The name of a part of a band.
std::string BandPart(const char* bands, size_t band, const char* part) {
  return absl::StrCat(bands, ".", band, ".", part, ".weight");
}

class BandReader {
 public:
  explicit BandReader(const FairseqCheckpoint& checkpoint) : checkpoint_(checkpoint) {}

  LanguageModelReading Run() {
    LanguageModelConfig& model = reading_.config;
    if (IsOn("adaptive_input")) {
      AddBand(BandPart(kInputBands, 0, "0"), &model.adaptive_input);
      for (size_t b = 1; Has(BandPart(kInputBands, b, "0")); ++b) {
        AddBand(BandPart(kInputBands, b, "0"), &model.adaptive_input);
      }
    }
    if (!IsOn("adaptive_softmax_cutoff")) return std::move(reading_);
    if (Has("decoder.adaptive_softmax.head.word_proj.0.weight")) {
      reading_.refusals.push_back(
          "option decoder_input_dim differs from decoder_embed_dim, though tie_adaptive_weights "
          "is on");
      return std::move(reading_);
    }
    model.tie_adaptive_weights = IsOn("tie_adaptive_weights");
    model.tie_adaptive_proj = model.tie_adaptive_weights && IsOn("tie_adaptive_proj");
    AddBand(model.tie_adaptive_weights ? "decoder.adaptive_softmax.head.word_proj.weight"
                                       : "decoder.adaptive_softmax.head.weight",
            &model.adaptive_softmax);
    for (size_t t = 0; Has(BandPart(kTails, t, "2")); ++t) {
      AddBand(BandPart(kTails, t, "2"), &model.adaptive_softmax);
      // A head of its own has the tail's class, too.
      if (!model.tie_adaptive_weights) --model.adaptive_softmax[0].words;
    }
    return std::move(reading_);
  }

 private:
  bool Has(const std::string& parameter) const {
    return checkpoint_.parameters().count(parameter) > 0;
  }
  bool IsOn(const char* option) const {
    const auto found = checkpoint_.options().find(option);
    return found != checkpoint_.options().end() && !IsOff(found->second);
  }
  void AddBand(const std::string& parameter, std::vector<BandConfig>* bands) {
    const absl::StatusOr<std::pair<int, int>> shape = ShapeOfTable(checkpoint_, parameter);
    if (!shape.ok()) reading_.errors.emplace_back(shape.status().message());
    bands->push_back(shape.ok() ? BandConfig{shape->first, shape->second} : BandConfig{});
  }

  const FairseqCheckpoint& checkpoint_;
  LanguageModelReading reading_;
};

}  // namespace

absl::StatusOr<std::pair<int, int>> ShapeOfTable(const FairseqCheckpoint& checkpoint,
                                                 const std::string& parameter) {
  const auto found = checkpoint.parameters().find(parameter);
  if (found == checkpoint.parameters().end()) {
    return absl::InvalidArgumentError(absl::StrCat("parameter ", parameter, " is missing"));
  }
  const std::vector<int64_t>& shape = found->second.shape;
  if (shape.size() != 2 || shape[0] > kMostTableRows || shape[1] > kMostTableRows) {
    return absl::InvalidArgumentError(absl::StrCat("parameter ", parameter, " has the shape [",
                                                   absl::StrJoin(shape, ", "),
                                                   "], no table of embeddings"));
  }
  return std::pair(static_cast<int>(shape[0]), static_cast<int>(shape[1]));
}

LanguageModelReading ReadLanguageModel(const FairseqCheckpoint& checkpoint) {
  return BandReader(checkpoint).Run();
}

}  // namespace leapstream
