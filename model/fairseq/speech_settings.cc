#include "model/fairseq/speech_settings.h"

#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/file_bytes.h"
#include "model/fairseq/global_cmvn.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxSettingsBytes = 1 << 20;

std::string TextAt(const YAML::Node& node, const char* key) {
  const YAML::Node found = node[key];
  return found && found.IsScalar() ? found.as<std::string>() : "";
}

// Reads the transforms of features that fairseq applies at inference: those of `_eval`, or else of
// `*`. Throws YAML::Exception.
absl::Status ReadTransforms(const YAML::Node& root, SpeechSettings* settings) {
  const YAML::Node transforms = root["transforms"];
  if (!transforms || !transforms.IsMap()) return absl::OkStatus();
  for (const char* split : {"_eval", "*"}) {
    if (!transforms[split]) continue;
    for (const YAML::Node& transform : transforms[split]) {
      const auto name = transform.as<std::string>();
      const bool global = name == "global_cmvn";
      if (name == "specaugment") continue;
      if ((global || name == "utterance_cmvn") && settings->cmvn == "none") {
        settings->cmvn = global ? "global" : "utterance";
        continue;
      }
      return absl::UnimplementedError(absl::StrCat(
          settings->path, ": transform ", Quoted(name), " of ", Quoted(split),
          " is not served; served: one of global_cmvn and utterance_cmvn"));
    }
    break;
  }
  return absl::OkStatus();
}

// Throws YAML::Exception.
absl::StatusOr<SpeechSettings> Parse(const std::string& text, const std::string& path) {
  SpeechSettings settings;
  settings.path = path;
  const YAML::Node root = YAML::Load(text);
  if (!root.IsMap()) return absl::InvalidArgumentError(absl::StrCat(path, ": no map of settings"));
  if (const YAML::Node bins = root["input_feat_per_channel"]; bins && bins.as<int>() != kMelBins) {
    return absl::UnimplementedError(absl::StrCat(
        path, ": input_feat_per_channel is ", bins.as<int>(), "; served: ", kMelBins));
  }
  for (const char* waveform : {"use_audio_input", "standardize_audio"}) {
    if (const YAML::Node node = root[waveform]; node && node.as<bool>()) {
      return absl::UnimplementedError(
          absl::StrCat(path, ": ", waveform, " is on, so that the model takes samples; served are "
                       "models of filter banks"));
    }
  }
  LEAPSTREAM_RETURN_IF_ERROR(ReadTransforms(root, &settings));
  if (const YAML::Node utterance = root["utterance_cmvn"]; utterance && utterance.IsMap()) {
    if (const YAML::Node means = utterance["norm_means"]) settings.norm_means = means.as<bool>();
    if (const YAML::Node vars = utterance["norm_vars"]) settings.norm_vars = vars.as<bool>();
  }
  if (const YAML::Node global = root["global_cmvn"]; global && global.IsMap()) {
    settings.stats_npz_path = TextAt(global, "stats_npz_path");
  }
  if (const YAML::Node tag = root["prepend_tgt_lang_tag"]) {
    settings.prepend_tgt_lang_tag = tag.as<bool>();
  }
  settings.vocabulary = TextAt(root, "vocab_filename");
  if (const YAML::Node bpe = root["bpe_tokenizer"]; bpe && bpe.IsMap()) {
    settings.sentencepiece_model = TextAt(bpe, "sentencepiece_model");
  }
  return settings;
}

}  // namespace

std::string SpeechSettings::Find(const std::string& name) const {
  if (name.empty()) return "";
  const fs::path folder = fs::path(path).parent_path();
  std::error_code error;
  for (const fs::path& each :
       {folder / name, fs::path(name), folder / fs::path(name).filename()}) {
    if (fs::exists(each, error)) return each.string();
  }
  return "";
}

absl::StatusOr<SpeechSettings> ReadSpeechSettings(const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto yaml, FileBytes::Read(path, kMaxSettingsBytes));
  try {  // yaml-cpp reports by exception.
    return Parse(std::string(yaml->bytes()), path);
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.what()));
  }
}

}  // namespace leapstream
