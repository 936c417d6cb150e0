#ifndef LEAPSTREAM_MODEL_HUGGINGFACE_JSON_FILE_H_
#define LEAPSTREAM_MODEL_HUGGINGFACE_JSON_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// The JSON files of a Hugging Face folder. They come from anywhere, so size and depth have bounds.
namespace leapstream {

using Json = nlohmann::json;

// The most bytes that such a file may have: a vocabulary of 256,000 pieces has some 10 MB.
inline constexpr int64_t kMaxFolderJsonBytes = 64 << 20;

// The object that `text` is. Messages call it `name`. Values deeper than 16 are dropped unread.
// INVALID_ARGUMENT: it is no JSON object.
absl::StatusOr<Json> ParseJsonObject(absl::string_view text, absl::string_view name);

// The object that the file DIRECTORY/NAME holds. NOT_FOUND: there is no such file.
// INVALID_ARGUMENT: it is no regular file, too large, a Git LFS pointer, or no JSON object.
absl::StatusOr<Json> ReadJsonFile(const std::string& directory, const std::string& name);

// Reads ReadJsonFile(), and gives an empty object if there is no such file.
absl::StatusOr<Json> ReadJsonFileIfThere(const std::string& directory, const std::string& name);

// INVALID_ARGUMENT: `bytes` are the text that Git LFS puts in place of a large file.
absl::Status CheckNoPointer(absl::string_view bytes, absl::string_view name);

// Typed access to an object's keys. A key that is absent or null has its default. Keeps the first
// error: a value of another type or outside of its range.
class JsonKeys {
 public:
  // `object` must outlive this. Messages call it `name`.
  JsonKeys(const Json& object, std::string name) : object_(object), name_(std::move(name)) {}

  bool Has(const char* key) const;
  int Int(const char* key, int otherwise, int low, int high);
  bool Bool(const char* key, bool otherwise);
  std::string Text(const char* key, const std::string& otherwise);
  std::vector<std::string> Texts(const char* key);
  // The value itself; null if it is absent.
  const Json& Value(const char* key) const;

  const std::string& name() const { return name_; }
  const absl::Status& status() const { return status_; }

 private:
  void Fail(const char* key, absl::string_view expected);

  const Json& object_;
  const std::string name_;
  absl::Status status_;
};

// The value as JSON on one line, cut, for messages.
std::string JsonText(const Json& value);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_HUGGINGFACE_JSON_FILE_H_
