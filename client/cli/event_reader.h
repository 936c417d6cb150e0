#ifndef LEAPSTREAM_CLIENT_CLI_EVENT_READER_H_
#define LEAPSTREAM_CLIENT_CLI_EVENT_READER_H_

#include <istream>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {

// The events of a recorded run, one after the other, each an object of JSON with a text "event" in
// the shape of `leapstream translate --json` and --trace. Read from that, and from the answers of
// StreamTranslate in the JSON of Protocol Buffers, as grpcurl and other tools print them: on one
// line, on several, or more of them on one; with names of either form, 64-bit numbers as texts,
// zeros left out. Not thread-safe.
class EventReader {
 public:
  explicit EventReader(std::istream* input) : input_(input) {}  // `input` outlives it.

  // Returns the next event; nullopt: there are no more. INVALID_ARGUMENT: the next object is no
  // event of either shape.
  absl::StatusOr<std::optional<nlohmann::json>> Next();

  // Returns INVALID_ARGUMENT with the line and the beginning of the event that Next() returned
  // last.
  absl::Status NotAnEvent() const;

 private:
  // What follows into rest_, if that is empty; false: nothing does.
  bool NextLine();
  // The next object into text_; false: there is none.
  bool ReadObject();

  std::istream* const input_;
  std::string text_;
  std::string rest_;  // Of the last line, after text_.
  int line_ = 0;    // The last one that was read.
  int began_ = 0;   // The first one of text_.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_EVENT_READER_H_
