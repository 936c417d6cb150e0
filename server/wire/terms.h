#ifndef LEAPSTREAM_SERVER_WIRE_TERMS_H_
#define LEAPSTREAM_SERVER_WIRE_TERMS_H_

#include "absl/status/status.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "streaming/scheduler.h"
#include "streaming/session.h"

namespace leapstream {

// Fills in the glossary and keep_markup of `options`, whose other fields must be complete. Without
// a glossary of its own a session has that of its model, if it can. INVALID_ARGUMENT
// GLOSSARY_INVALID: the glossary cannot be kept, or the session can have neither it nor mark-up.
absl::Status ReadTerms(const v1::SessionConfig& config, const Scheduler& scheduler,
                       SessionOptions* options);
absl::Status ReadTerms(const v1::TranslateRequest& request, const Scheduler& scheduler,
                       SessionOptions* options);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_WIRE_TERMS_H_
