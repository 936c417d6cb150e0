#include "client/web/session_request.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace leapstream::client {
namespace {

using JsonBody = nlohmann::ordered_json;

constexpr int kMaxK = 1000;
constexpr int kSampleRate = 16000;                             // Rate of audio if none is named.
constexpr int kMinSampleRate = 8000, kMaxSampleRate = 192000;  // The protocol's bounds.
constexpr absl::Duration kPause = absl::Milliseconds(600);     // A pause that ends a segment.

absl::Status ReadNames(const JsonBody& body, StreamOptions* options) {
  for (const auto& [name, value] : {std::pair("model", &options->model),
                                    {"source_language_code", &options->source_language_code},
                                    {"target_language_code", &options->target_language_code}}) {
    const auto found = body.find(name);
    if (found == body.end()) continue;
    if (!found->is_string()) {
      return absl::InvalidArgumentError(absl::StrCat("expected a text as ", name));
    }
    *value = found->get<std::string>();
  }
  return absl::OkStatus();
}

absl::Status ReadPolicy(const JsonBody& body, StreamOptions* options) {
  const auto k = body.find("k"), text = body.find("policy");
  const bool has_k = k != body.end() && !k->is_null();
  if (has_k && text != body.end()) {
    return absl::InvalidArgumentError("expected a policy or a k, got both");
  }
  if (has_k) {
    if (!k->is_number_integer() || *k < 1 || *k > kMaxK) {
      return absl::InvalidArgumentError(absl::StrCat("expected a k from 1 to ", kMaxK));
    }
    options->policy.rule = WaitK{k->get<int>()};
  } else if (text != body.end()) {
    if (!text->is_string()) return absl::InvalidArgumentError("expected a text as policy");
    LEAPSTREAM_ASSIGN_OR_RETURN(options->policy, ParsePolicy(text->get<std::string>()));
  }
  return absl::OkStatus();
}

absl::Status ReadAudio(const JsonBody& body, StreamOptions* options) {
  if (const auto audio = body.find("audio"); audio != body.end()) {
    if (!audio->is_boolean()) {
      return absl::InvalidArgumentError("expected true or false as audio");
    }
    if (audio->get<bool>()) {
      options->audio = AudioFormat::kPcmS16Le;
      options->sample_rate = kSampleRate;
      options->pause = kPause;
    }
  }
  if (const auto rate = body.find("sample_rate"); rate != body.end()) {
    if (options->audio == AudioFormat::kNone || !rate->is_number_integer() ||
        *rate < kMinSampleRate || *rate > kMaxSampleRate) {
      return absl::InvalidArgumentError(absl::StrCat("expected a sample_rate from ",
                                                     kMinSampleRate, " to ", kMaxSampleRate,
                                                     ", of audio"));
    }
    options->sample_rate = rate->get<int>();
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StreamOptions> ReadSessionRequest(const nlohmann::ordered_json& body) {
  if (!body.is_object()) return absl::InvalidArgumentError("expected a JSON object");
  StreamOptions options;
  options.token_details = true;
  LEAPSTREAM_RETURN_IF_ERROR(ReadNames(body, &options));
  LEAPSTREAM_RETURN_IF_ERROR(ReadPolicy(body, &options));
  LEAPSTREAM_RETURN_IF_ERROR(ReadAudio(body, &options));
  // As `leapstream translate`.
  options.next_segments = options.sentences = options.audio == AudioFormat::kNone;
  return options;
}

}  // namespace leapstream::client
