#include "model/fairseq/global_cmvn.h"

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
#include "base/status.h"
#include "model/api/file_bytes.h"
#include "model/api/safetensors.h"
#include "model/api/speech.h"
#include "model/torchfile/zip_archive.h"

namespace leapstream {
namespace {

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

absl::StatusOr<GlobalCmvn> ReadGlobalCmvn(const SpeechSettings& settings) {
  const std::string& stats = settings.stats_npz_path;
  if (stats.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        settings.path, ": global_cmvn.stats_npz_path is not set, and the model's features are "
        "normalised by the statistics that it names"));
  }
  const std::string path = settings.Find(stats);
  if (path.empty()) {
    return absl::NotFoundError(absl::StrCat(
        settings.path, ": its stats_npz_path names no file: there is neither ",
        (std::filesystem::path(settings.path).parent_path() / stats).string(), " nor ", stats,
        "; put the CMVN statistics beside the yaml"));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file, FileBytes::Read(path, kMaxTextFileBytes));
  return ParseCmvnNpz(file->bytes(), path);
}

}  // namespace leapstream
