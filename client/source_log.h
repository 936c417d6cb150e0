#ifndef LEAPSTREAM_CLIENT_SOURCE_LOG_H_
#define LEAPSTREAM_CLIENT_SOURCE_LOG_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

namespace leapstream::client {

// What is to be sent next: a chunk of source, or, without text, the end of its segment.
struct SourceMessage {
  int64_t sequence = 0;  // Of the chunk; 0: the end of a segment.
  std::string text;      // Or samples, if the session is of audio.
};

// The source of a session from the first segment that is not complete on: what has to be sent again
// when a call breaks. Knows nothing of calls and of time. Not thread-safe.
class SourceLog {
 public:
  // Text is appended to the open segment and opens one if none is. After Close() neither is called.
  void Append(std::string text);
  void EndSegment();
  void Close();

  // What this call is to send next; nothing: all that there is was sent.
  std::optional<SourceMessage> Next();
  // The source is closed, and Next() has given all of it to this call.
  bool all_sent() const { return closed_ && unsent_bytes_ == 0; }
  int64_t unsent_bytes() const { return unsent_bytes_; }  // An end of a segment counts as one.

  // The translation of the first segment that was not complete is. The server wants the rest of its
  // source all the same, but no later call does.
  void Complete();

  // A part of the first segment that is not complete is: the server needs the chunks up to this one
  // no more.
  void ConsumeOpen(int64_t sequence);

  // Where pauses end segments, instead: it needs the chunks up to this one no more.
  void Consume(int64_t sequence);

  // Another call begins, with the first segment that is not complete. Returns the sequence of its
  // first chunk.
  int64_t Rewind();

 private:
  struct Segment {
    std::deque<SourceMessage> chunks;  // Of a complete one: those that are not sent.
    size_t sent = 0;                   // Chunks of the front that this call has sent.
    bool ended = false;
    bool end_sent = false;
    bool complete = false;
    bool dropped = false;  // Complete in an earlier call: this one is told nothing of it.
  };

  void Forget();  // Segments that are complete and sent.

  std::deque<Segment> segments_;  // All but the last one are ended.
  size_t sending_ = 0;            // Index of the one that Next() looks at.
  size_t completed_ = 0;          // How many of the front are complete.
  int64_t next_sequence_ = 1;
  int64_t unsent_bytes_ = 0;
  bool closed_ = false;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_SOURCE_LOG_H_
