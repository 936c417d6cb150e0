#include "model/fairseq/read_language_model.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

constexpr char kInputBands[] = "decoder.embed_tokens.embeddings";
constexpr char kTails[] = "decoder.adaptive_softmax.tail";

// The name of a part of a band.
std::string BandPart(const char* bands, size_t band, const char* part) {
  return absl::StrCat(bands, ".", band, ".", part, ".weight");
}

bool HasParameter(const OptionReader& options, const std::string& parameter) {
  return options.checkpoint().parameters().count(parameter) > 0;
}

void AddBand(const std::string& parameter, OptionReader* options, std::vector<BandConfig>* bands) {
  const auto [words, width] = options->TableShape(parameter);
  bands->push_back(BandConfig{words, width});
}

}  // namespace

LanguageModelConfig ReadLanguageModel(OptionReader* options) {
  LanguageModelConfig model;
  if (options->IsTrue("adaptive_input")) {
    AddBand(BandPart(kInputBands, 0, "0"), options, &model.adaptive_input);
    for (size_t b = 1; HasParameter(*options, BandPart(kInputBands, b, "0")); ++b) {
      AddBand(BandPart(kInputBands, b, "0"), options, &model.adaptive_input);
    }
  }
  if (!options->IsTrue("adaptive_softmax_cutoff")) return model;
  if (HasParameter(*options, "decoder.adaptive_softmax.head.word_proj.0.weight")) {
    options->Refuse(
        "option decoder_input_dim differs from decoder_embed_dim, though tie_adaptive_weights "
        "is on");
    return model;
  }
  model.tie_adaptive_weights = options->IsTrue("tie_adaptive_weights");
  model.tie_adaptive_proj = model.tie_adaptive_weights && options->IsTrue("tie_adaptive_proj");
  AddBand(model.tie_adaptive_weights ? "decoder.adaptive_softmax.head.word_proj.weight"
                                     : "decoder.adaptive_softmax.head.weight",
          options, &model.adaptive_softmax);
  for (size_t t = 0; HasParameter(*options, BandPart(kTails, t, "2")); ++t) {
    AddBand(BandPart(kTails, t, "2"), options, &model.adaptive_softmax);
    // A head of its own has the tail's class, too.
    if (!model.tie_adaptive_weights) --model.adaptive_softmax[0].words;
  }
  return model;
}

}  // namespace leapstream
