#include "model/api/model_json.h"

#include <algorithm>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "model/api/model_fields.h"

namespace leapstream {
namespace {

using Json = nlohmann::json;

constexpr char kFormatVersion[] = "format_version";
constexpr int kMaxDepth = 8;  // model.json has depth 2; deeper values are dropped unread.

// Reads the fields of one JSON object; keeps the first error.
class FieldReader {
 public:
  FieldReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  template <typename T, typename... Check>
  void operator()(const char* key, T& result, const Check&...) {
    const auto found = object_.find(key);
    if (found == object_.end()) return Fail(key, "a value, and there is none");
    Read(key, *found, result);
  }
  template <typename T, typename... Check>
  void Later(const char* key, T& result, const T& first, const Check&...) {
    result = first;
    Optional(key, result);
  }
  template <typename T>
  void Optional(const char* key, T& result) {
    const auto found = object_.find(key);
    if (found != object_.end()) Read(key, *found, result);
  }

  const absl::Status& status() const { return status_; }

 private:
  void Read(const char* key, const Json& value, std::string& result) {
    if (!value.is_string()) return Fail(key, "a string");
    result = value.get<std::string>();
  }
  void Read(const char* key, const Json& value, bool& result) {
    if (!value.is_boolean()) return Fail(key, "true or false");
    result = value.get<bool>();
  }
  void Read(const char* key, const Json& value, int& result) {
    // The parser makes every number without sign, point and exponent an unsigned one.
    if (!value.is_number_unsigned() || value.get<uint64_t>() > 0x7fffffff) {
      return Fail(key, "an integer in [0, 2^31)");
    }
    result = value.get<int>();
  }
  void Read(const char* key, const Json& value, std::vector<int>& result) {
    if (!value.is_array()) return Fail(key, "an array of integers");
    for (const Json& element : value) {
      if (!element.is_number_unsigned() || element.get<uint64_t>() > 0x7fffffff) {
        return Fail(key, "an array of integers in [0, 2^31)");
      }
      result.push_back(element.get<int>());
    }
  }
  void Read(const char* key, const Json& value, std::vector<float>& result) {
    if (!value.is_array()) return Fail(key, "an array of numbers");
    for (const Json& element : value) {
      if (!element.is_number()) return Fail(key, "an array of numbers");
      result.push_back(element.get<float>());
    }
  }
  void Read(const char* key, const Json& value, std::vector<std::string>& result) {
    if (!value.is_array()) return Fail(key, "an array of strings");
    result.clear();
    for (const Json& element : value) {
      if (!element.is_string()) return Fail(key, "an array of strings");
      result.push_back(element.get<std::string>());
    }
  }
  template <typename T>
  void Read(const char* key, const Json& value, std::vector<T>& result) {
    if (!value.is_array()) return Fail(key, "an array of objects");
    result.clear();
    for (size_t i = 0; i < value.size() && status_.ok(); ++i) {
      Read(absl::StrCat(key, "[", i, "]").c_str(), value[i], result.emplace_back());
    }
  }
  void Read(const char* key, const Json& value, std::map<std::string, std::string>& result) {
    if (!value.is_object()) return Fail(key, "an object of strings");
    for (const auto& [name, text] : value.items()) {
      if (!text.is_string()) return Fail(key, "an object of strings");
      result[name] = text.get<std::string>();
    }
  }
  template <typename T>
  void Read(const char* key, const Json& value, std::optional<T>& result) {
    Read(key, value, result.emplace());
  }
  template <typename T>
  void Read(const char* key, const Json& value, T& result) {
    if constexpr (std::is_enum_v<T>) {
      const auto& names = EnumNames<T>::kNames;
      const auto found = std::find(std::begin(names), std::end(names), value);
      if (found == std::end(names)) {
        return Fail(key, absl::StrCat("one of ", absl::StrJoin(names, ", ")));
      }
      result = static_cast<T>(found - std::begin(names));
    } else {
      if (!value.is_object()) return Fail(key, "an object");
      FieldReader nested(value, absl::StrCat(where_, key, "."));
      Fields<T>::Visit(result, nested);
      if (status_.ok()) status_ = nested.status_;
    }
  }
  void Fail(absl::string_view key, absl::string_view expected) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(absl::StrCat("field ", where_, key, " needs ", expected));
  }

  const Json& object_;
  const std::string where_;
  absl::Status status_;
};

// The choice of the fields that are written, of those that older files lack: all, or only those
// that differ from their first value.
enum class LaterFields { kAll, kChanged };

// Whether a T is a list of objects.
template <typename T>
struct IsList : std::false_type {};
template <typename T>
struct IsList<std::vector<T>> : Fields<T> {};

class FieldWriter {
 public:
  explicit FieldWriter(LaterFields later) : later_(later) {}

  template <typename T, typename... Check>
  void operator()(const char* key, const T& value, const Check&...) {
    if constexpr (std::is_enum_v<T>) {
      json_[key] = EnumNames<T>::kNames[static_cast<int>(value)];
    } else if constexpr (Fields<T>::value) {
      FieldWriter nested(later_);
      Fields<T>::Visit(value, nested);
      json_[key] = std::move(nested.json_);
    } else if constexpr (IsList<T>::value) {
      json_[key] = Json::array();
      for (const auto& element : value) {
        FieldWriter nested(later_);
        Fields<std::decay_t<decltype(element)>>::Visit(element, nested);
        json_[key].push_back(std::move(nested.json_));
      }
    } else {
      json_[key] = value;
    }
  }
  template <typename T, typename... Check>
  void Later(const char* key, const T& value, const T& first, const Check&...) {
    if (later_ == LaterFields::kAll || value != first) (*this)(key, value);
  }
  template <typename T>
  void Optional(const char* key, const std::optional<T>& value) {
    if (value.has_value()) (*this)(key, *value);
  }

  Json& json() { return json_; }

 private:
  const LaterFields later_;
  Json json_ = Json::object();
};

Json NetworkToJson(const ModelConfig& config) {
  FieldWriter writer(LaterFields::kAll);
  Fields<ModelConfig>::VisitNetwork(config, writer);
  return writer.json();
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelJson(absl::string_view text) {
  const Json json = Json::parse(
      text.begin(), text.end(),
      [](int depth, Json::parse_event_t, Json&) { return depth < kMaxDepth; },
      /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("not a JSON object");
  FieldReader reader(json, "");
  int version = 0;
  reader(kFormatVersion, version);
  if (reader.status().ok() && version != kModelFormatVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat(kFormatVersion, " ", version, ", this program reads ", kModelFormatVersion,
                     "; export the model again with its own leapstream-export"));
  }
  ModelConfig config;
  Fields<ModelConfig>::Visit(config, reader);
  LEAPSTREAM_RETURN_IF_ERROR(reader.status());
  return config;
}

std::string ModelJson(const ModelConfig& config) {
  FieldWriter writer(LaterFields::kChanged);
  Fields<ModelConfig>::Visit(config, writer);
  writer(kFormatVersion, kModelFormatVersion);
  return writer.json().dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::Status CheckSameNetwork(const ModelConfig& first, const ModelConfig& other) {
  const Json difference = Json::diff(NetworkToJson(first), NetworkToJson(other));
  if (difference.empty()) return absl::OkStatus();
  const std::string field = difference[0]["path"].get<std::string>();
  const Json::json_pointer at(field);
  const auto text = [&at](const ModelConfig& config) {
    return NetworkToJson(config)[at].dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  return absl::InvalidArgumentError(absl::StrCat("field ", field.substr(1), " is ", text(other),
                                                 ", in the first it is ", text(first)));
}

}  // namespace leapstream
