#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/quoted.h"
#include "model/fairseq/inspect.h"
#include "model/huggingface/folder.h"

namespace leapstream {
namespace {

std::string SideText(const SideConfig& side) {
  return absl::StrCat(side.layers, " layers, width ", side.embed_dim, ", feed-forward ",
                      side.ffn_embed_dim, ", ", side.attention_heads, " heads, ",
                      side.normalize_before ? "pre-norm" : "post-norm", ", ",
                      side.positions == PositionKind::kLearned
                          ? absl::StrCat(side.max_positions, " positions") : "any position",
                      ", ", side.vocabulary_size, " symbols");
}

std::string LanguagesText(const ModelConfig& model) {
  if (model.languages.empty()) {
    return absl::StrCat(OneLine(model.source_language, 64), " to ",
                        OneLine(model.target_language, 64));
  }
  std::vector<std::string> sources, targets;
  for (const LanguageConfig& language : model.languages) {
    if (!language.source_token.empty()) sources.push_back(OneLine(language.code, 64));
    if (!language.target_token.empty()) targets.push_back(OneLine(language.code, 64));
  }
  if (sources == targets) {
    return absl::StrCat("each of these to each: ", absl::StrJoin(sources, " "));
  }
  return absl::StrCat("from ", absl::StrJoin(sources, " "), " to ", absl::StrJoin(targets, " "));
}

}  // namespace

absl::StatusOr<std::string> InspectFolder(const FolderExportOptions& options) {
  Folder folder;
  const absl::Status served = ReadFolder(options, &folder);
  if (absl::IsNotFound(served) && folder.files.config.is_null()) return served;
  const ModelConfig& model = folder.model;
  std::string text = absl::StrCat("folder: ", options.folder, "\n");
  absl::StrAppend(&text, "can be exported: ",
                  served.ok() ? "yes" : absl::StrCat("no: ", served.message()), "\n");
  if (served.ok()) {
    absl::StrAppend(
        &text, ServingText(model), "type: ", model.architecture, "\nlanguages: ",
        LanguagesText(model), "\nencoder: ", SideText(model.encoder),
        "\ndecoder: ", SideText(model.decoder), "\nactivation: ", model.activation_fn,
        "\nembeddings: ", model.share_all_embeddings ? "all shared"
        : model.share_decoder_input_output_embed    ? "decoder's shared with its output"
                                                     : "separate",
        model.output_bias ? "\nlogits: with a bias" : "", "\nlicence: ",
        model.license.empty() ? "not said" : model.license, "\norigin: ",
        model.origin.empty() ? "not said" : model.origin, "\n");
    for (const std::string& note : LicenseNotes(folder)) {
      absl::StrAppend(&text, "note: ", note, "\n");
    }
  }
  if (folder.tensors.has_value()) {
    absl::StrAppend(&text, "tensors:\n");
    for (const auto& [name, tensor] : folder.tensors->tensors()) {
      absl::StrAppend(&text, "  ", OneLine(name, 200), " [", absl::StrJoin(tensor->shape(), ", "),
                      "] ", tensor->type(), "\n");
    }
  }
  return text;
}

}  // namespace leapstream
