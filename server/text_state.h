#ifndef LEAPSTREAM_SERVER_TEXT_STATE_H_
#define LEAPSTREAM_SERVER_TEXT_STATE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "model/api/model.h"
#include "server/resume_token.h"
#include "streaming/generation.h"

namespace leapstream {

// A text that was left, as clients have it: signed with the key of resume tokens, and good for one
// model with its types, for one principal, until a date. It has a version. Besides the
// numbers of the state it holds the text's last few tokens.
std::string SealText(const SavedText& text, const ModelInfo& model, absl::string_view principal,
                     absl::Time expires, const ResumeSigner& signer);
// INVALID_ARGUMENT, TEXT_STATE_INVALID: no server with this key has sealed it, or it is another
// principal's. FAILED_PRECONDITION, TEXT_STATE_MISMATCH: it is of another model or type;
// TEXT_STATE_EXPIRED: it has expired at `now`, or another version of the server wrote it.
absl::StatusOr<SavedText> UnsealText(absl::string_view state, const ModelInfo& model,
                                     absl::string_view principal, absl::Time now,
                                     const ResumeSigner& signer);

// The size of a request that has room for a text's state of each model whose states have a fixed
// size, but not less than `least`. The buffers of all connections together have a bound of their own.
int MessageBytes(int least, const std::vector<std::shared_ptr<const Model>>& models);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_TEXT_STATE_H_
