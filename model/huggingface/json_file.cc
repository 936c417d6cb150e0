#include "model/huggingface/json_file.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/file_bytes.h"

namespace leapstream {
namespace {

constexpr int kMaxDepth = 16;

}  // namespace

absl::StatusOr<Json> ParseJsonObject(absl::string_view text, absl::string_view name) {
  Json json = Json::parse(
      text.begin(), text.end(),
      [](int depth, Json::parse_event_t, Json&) { return depth < kMaxDepth; },
      /*allow_exceptions=*/false);
  if (json.is_object()) return json;
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": expected a JSON object, found ", Quoted(text.substr(0, 100), 40),
                   "; fetch the file again"));
}

absl::StatusOr<Json> ReadJsonFile(const std::string& directory, const std::string& name) {
  const std::string path = absl::StrCat(directory, "/", name);
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file, FileBytes::Read(path, kMaxFolderJsonBytes));
  LEAPSTREAM_RETURN_IF_ERROR(CheckNoPointer(file->bytes(), path));
  return ParseJsonObject(file->bytes(), path);
}

absl::StatusOr<Json> ReadJsonFileIfThere(const std::string& directory, const std::string& name) {
  absl::StatusOr<Json> json = ReadJsonFile(directory, name);
  if (absl::IsNotFound(json.status())) return Json::object();
  return json;
}

absl::Status CheckNoPointer(absl::string_view bytes, absl::string_view name) {
  if (!absl::StartsWith(bytes, "version https://git-lfs")) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"));
}

bool JsonKeys::Has(const char* key) const { return !Value(key).is_null(); }

const Json& JsonKeys::Value(const char* key) const {
  static const Json* const kNull = new Json();
  const auto found = object_.find(key);
  return found == object_.end() ? *kNull : *found;
}

int JsonKeys::Int(const char* key, int otherwise, int low, int high) {
  const Json& value = Value(key);
  if (value.is_null()) return otherwise;
  if (value.is_number_integer()) {
    const bool fits = !value.is_number_unsigned() || value.get<uint64_t>() <= INT32_MAX;
    const int64_t number = fits ? value.get<int64_t>() : INT64_MAX;
    if (number >= low && number <= high) return static_cast<int>(number);
  }
  Fail(key, absl::StrCat("an integer in [", low, ", ", high, "]"));
  return otherwise;
}

bool JsonKeys::Bool(const char* key, bool otherwise) {
  const Json& value = Value(key);
  if (value.is_null()) return otherwise;
  if (value.is_boolean()) return value.get<bool>();
  Fail(key, "true or false");
  return otherwise;
}

std::string JsonKeys::Text(const char* key, const std::string& otherwise) {
  const Json& value = Value(key);
  if (value.is_null()) return otherwise;
  if (value.is_string()) return value.get<std::string>();
  Fail(key, "a string");
  return otherwise;
}

std::vector<std::string> JsonKeys::Texts(const char* key) {
  std::vector<std::string> texts;
  const Json& value = Value(key);
  if (value.is_null()) return texts;
  if (!value.is_array()) Fail(key, "a list of strings");
  for (const Json& element : value) {
    if (!element.is_string()) {
      Fail(key, "a list of strings");
      break;
    }
    texts.push_back(element.get<std::string>());
  }
  return texts;
}

void JsonKeys::Fail(const char* key, absl::string_view expected) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(absl::StrCat(name_, ": ", key, " needs to be ", expected,
                                                    ", got ", JsonText(Value(key)),
                                                    "; fetch the file again"));
}

std::string JsonText(const Json& value) {
  return OneLine(value.dump(-1, ' ', false, Json::error_handler_t::replace), 100);
}

}  // namespace leapstream
