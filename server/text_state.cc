#include "server/text_state.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/budget.h"
#include "base/status.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

// The lines in front of the state's bytes: this kind and version, the model's checksum, its
// types, the owner, the expiry in milliseconds, and the tokens of `pending` and `recent`.
constexpr char kTextKind[] = "leapstream text";
constexpr char kTextVersion[] = "leapstream text 1";
constexpr size_t kTextLines = 7;
constexpr size_t kMostLineBytes = 4096;

// The type that a model computes in, and that of its states unless that is float32.
std::string TypesOf(const ModelInfo& model) {
  if (model.state_type.empty() || model.state_type == "float32") return model.compute_type;
  return absl::StrCat(model.compute_type, " and states in ", model.state_type);
}

bool ParseIds(absl::string_view line, std::vector<TokenId>* ids) {
  for (const absl::string_view id : absl::StrSplit(line, ' ', absl::SkipEmpty())) {
    if (!absl::SimpleAtoi(id, &ids->emplace_back())) return false;
  }
  return true;
}

absl::Status TextExpired(absl::string_view why) {
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat("the state of the text ", why,
                                                 "; send the text again as a prompt")),
      "TEXT_STATE_EXPIRED");
}

}  // namespace

std::string SealText(const SavedText& text, const ModelInfo& model, absl::string_view principal,
                     absl::Time expires, const ResumeSigner& signer) {
  return signer.Seal(absl::StrCat(
      absl::StrJoin({std::string(kTextVersion), model.checksum, TypesOf(model), OwnerOf(principal),
                     absl::StrCat(absl::ToUnixMillis(expires)), absl::StrJoin(text.pending, " "),
                     absl::StrJoin(text.recent, " ")},
                    "\n"),
      "\n", text.state));
}

absl::StatusOr<SavedText> UnsealText(absl::string_view state, const ModelInfo& model,
                                     absl::string_view principal, absl::Time now,
                                     const ResumeSigner& signer) {
  const std::optional<absl::string_view> unsealed = signer.Unseal(state);
  if (!unsealed.has_value() || !absl::StartsWith(*unsealed, kTextKind)) {
    return InvalidRequest("TEXT_STATE_INVALID",
                          "the state was not signed by this server's key; servers that share states "
                          "need the same resume_key_file; send the text again as a prompt");
  }
  absl::string_view rest = *unsealed;
  std::vector<absl::string_view> lines;
  while (lines.size() < kTextLines) {
    const size_t end = rest.substr(0, kMostLineBytes).find('\n');
    if (end == rest.npos) break;
    lines.push_back(rest.substr(0, end));
    rest.remove_prefix(end + 1);
    if (lines.front() != kTextVersion) break;
  }
  SavedText text;
  int64_t expires = 0;
  if (lines.size() != kTextLines || !absl::SimpleAtoi(lines[4], &expires) ||
      !ParseIds(lines[5], &text.pending) || !ParseIds(lines[6], &text.recent)) {
    return TextExpired("is of another version of the server");
  }
  if (lines[3] != OwnerOf(principal)) {
    return InvalidRequest("TEXT_STATE_INVALID",
                          "the state is another caller's; send the text again as a prompt");
  }
  if (lines[1] != model.checksum || lines[2] != TypesOf(model)) {
    return WithReason(absl::FailedPreconditionError(absl::StrCat(
                          "the state is of another model than ", model.name, " with ",
                          TypesOf(model),
                          ", or of other weights; send the text again as a prompt")),
                      "TEXT_STATE_MISMATCH");
  }
  if (now >= absl::FromUnixMillis(expires)) return TextExpired("has expired");
  text.state = std::string(rest);
  return text;
}

int MessageBytes(int least, const std::vector<std::shared_ptr<const Model>>& models) {
  int64_t most = least;
  for (const auto& model : models) {
    const ModelInfo& info = model->info;
    if (!info.generates || info.state_bytes_per_token > 0) continue;
    most = std::max(most, info.state_bytes_per_session + budget::kBesideStateBytes);
  }
  return static_cast<int>(std::min<int64_t>(most, 1 << 30));
}

}  // namespace leapstream
