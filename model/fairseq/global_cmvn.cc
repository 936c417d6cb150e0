#include "model/fairseq/global_cmvn.h"

#include <yaml-cpp/yaml.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/file_bytes.h"
#include "model/api/safetensors.h"
#include "model/api/speech.h"
#include "model/torchfile/zip_archive.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxYamlBytes = 1 << 20;

// Parses NumPy's format: magic, version, length of the header, the header (a Python dict), values.
absl::StatusOr<std::vector<float>> ParseNpy(absl::string_view bytes, absl::string_view name) {
  const auto error = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", what));
  };
  if (!absl::ConsumePrefix(&bytes, "\x93NUMPY") || bytes.size() < 4) return error("no npy array");
  const int major = static_cast<unsigned char>(bytes[0]);
  const size_t length_bytes = major == 1 ? 2 : 4;
  if (major < 1 || major > 3) return error(absl::StrCat("npy version ", major, ", wanted 1 to 3"));
  bytes.remove_prefix(2);
  if (bytes.size() < length_bytes) return error("a cut npy header");
  size_t length = 0;
  for (size_t i = 0; i < length_bytes; ++i) {
    length |= static_cast<size_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  bytes.remove_prefix(length_bytes);
  if (bytes.size() < length) return error("a cut npy header");
  const std::string header = absl::StrReplaceAll(bytes.substr(0, length), {{" ", ""}});
  bytes.remove_prefix(length);
  const bool is_double = absl::StrContains(header, "'descr':'<f8'");
  if (!is_double && !absl::StrContains(header, "'descr':'<f4'")) {
    return error(absl::StrCat("wanted float32 or float64, little-endian, found the header ",
                              absl::CHexEscape(header.substr(0, 200))));
  }
  if (!absl::StrContains(header, absl::StrCat("'shape':(", kMelBins, ",)"))) {
    return error(absl::StrCat("wanted the shape (", kMelBins, ",), found the header ",
                              absl::CHexEscape(header.substr(0, 200))));
  }
  const size_t element = is_double ? sizeof(double) : sizeof(float);
  if (bytes.size() != kMelBins * element) {
    return error(
        absl::StrCat("wanted ", kMelBins * element, " bytes of values, found ", bytes.size()));
  }
  std::vector<float> values(kMelBins);
  for (int i = 0; i < kMelBins; ++i) {
    if (is_double) {
      double value;
      std::memcpy(&value, bytes.data() + i * element, element);
      values[i] = static_cast<float>(value);
    } else {
      std::memcpy(&values[i], bytes.data() + i * element, element);
    }
    if (!std::isfinite(values[i])) return error(absl::StrCat("value ", i, " is not finite"));
  }
  return values;
}

// Checks the settings in the text of the yaml file, and returns its global_cmvn.stats_npz_path.
// Throws YAML::Exception.
absl::StatusOr<std::string> StatsPath(const std::string& text, const std::string& path) {
  const auto refuse = [&](absl::string_view what) {
    return absl::UnimplementedError(absl::StrCat(path, ": ", what));
  };
  const YAML::Node root = YAML::Load(text);
  if (!root.IsMap()) return absl::InvalidArgumentError(absl::StrCat(path, ": no map of settings"));
  if (const YAML::Node bins = root["input_feat_per_channel"]; bins && bins.as<int>() != kMelBins) {
    return refuse(
        absl::StrCat("input_feat_per_channel is ", bins.as<int>(), "; served: ", kMelBins));
  }
  // Transforms of "_train" only do not matter at inference.
  for (const char* split : {"*", "_eval", "_test"}) {
    const YAML::Node transforms = root["transforms"];
    if (!transforms || !transforms.IsMap() || !transforms[split]) continue;
    for (const YAML::Node& transform : transforms[split]) {
      const auto name = transform.as<std::string>();
      if (name != "global_cmvn") {
        return refuse(absl::StrCat("transform ", Quoted(name), " of ", Quoted(split),
                                   " is not served; served: global_cmvn"));
      }
    }
  }
  const YAML::Node stats = root["global_cmvn"];
  if (!stats || !stats.IsMap() || !stats["stats_npz_path"]) {
    return refuse("global_cmvn.stats_npz_path is not set; only global CMVN is served");
  }
  return stats["stats_npz_path"].as<std::string>();
}

}  // namespace

absl::StatusOr<GlobalCmvn> ParseCmvnNpz(absl::string_view bytes, absl::string_view name) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const ZipArchive archive, ZipArchive::Parse(bytes, name));
  GlobalCmvn result;
  for (const auto& [entry, values] :
       {std::pair("mean.npy", &result.mean), {"std.npy", &result.std}}) {
    if (!archive.Has(entry)) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": has no ", entry, ", no file of CMVN statistics"));
    }
    LEAPSTREAM_ASSIGN_OR_RETURN(const absl::string_view npy, archive.Read(entry));
    LEAPSTREAM_ASSIGN_OR_RETURN(*values, ParseNpy(npy, absl::StrCat(name, ": ", entry)));
  }
  for (const float value : result.std) {
    if (value > 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": a standard deviation needs to be positive, got ", value));
  }
  return result;
}

absl::StatusOr<GlobalCmvn> ReadGlobalCmvn(const std::string& config_yaml) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto yaml, FileBytes::Read(config_yaml, kMaxYamlBytes));
  absl::StatusOr<std::string> stats;
  try {  // yaml-cpp reports by exception.
    stats = StatsPath(std::string(yaml->bytes()), config_yaml);
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(config_yaml, ": ", error.what()));
  }
  if (!stats.ok()) return stats.status();
  const std::string beside = (fs::path(config_yaml).parent_path() / *stats).string();
  std::error_code error;
  const std::string path = fs::exists(beside, error) ? beside : *stats;
  if (!fs::exists(path, error)) {
    return absl::NotFoundError(
        absl::StrCat(config_yaml, ": its stats_npz_path names no file: there is neither ", beside,
                     " nor ", path, "; put the CMVN statistics beside the yaml"));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file, FileBytes::Read(path, kMaxTextFileBytes));
  return ParseCmvnNpz(file->bytes(), path);
}

}  // namespace leapstream
