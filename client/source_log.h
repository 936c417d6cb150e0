#ifndef LEAPSTREAM_CLIENT_SOURCE_LOG_H_
#define LEAPSTREAM_CLIENT_SOURCE_LOG_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

namespace leapstream::client {

// The next message to send: a chunk of source, or, without text, the end of its segment.
struct SourceMessage {
  int64_t sequence = 0;  // Number of the chunk; 0: the end of a segment.
  std::string text;      // Text, or samples if the session is of audio.
};

// The source of a session from its first incomplete segment on. It has to be sent again when a call
// breaks. Knows nothing of calls and of time. Not thread-safe.
class SourceLog {
 public:
  // Append() adds to the open segment, and opens one if there is none. After Close() neither
  // Append() nor EndSegment() is called.
  void Append(std::string text);
  void EndSegment();
  void Close();

  // The next message that this call is to send; nullopt: everything was sent.
  std::optional<SourceMessage> Next();
  // Whether the source is closed and Next() has given all of it to this call.
  bool all_sent() const { return closed_ && unsent_bytes_ == 0; }
  int64_t unsent_bytes() const { return unsent_bytes_; }  // An end of a segment counts as one.

  // The translation of the first incomplete segment is complete now. The server wants the rest of
  // its source all the same, but no later call does.
  void Complete();

  // The server no longer needs the first incomplete segment's chunks up to this one, and the
  // segment stays incomplete.
  void ConsumeOpen(int64_t sequence);

  // For sessions whose segments are ended by pauses: the server no longer needs the chunks up to
  // this one, whatever their segment.
  void Consume(int64_t sequence);

  // Begins another call, with the first incomplete segment. Returns its first chunk's sequence.
  int64_t Rewind();

 private:
  struct Segment {
    std::deque<SourceMessage> chunks;  // In a complete segment, the unsent ones only.
    size_t sent = 0;                   // Chunks at the front that this call has sent.
    bool ended = false;
    bool end_sent = false;
    bool complete = false;
    bool dropped = false;  // Complete in an earlier call, so that this one is told nothing of it.
  };

  void Forget();  // Forgets segments that are complete and sent.

  std::deque<Segment> segments_;  // All but the last one are ended.
  size_t sending_ = 0;            // Index of the segment that Next() looks at.
  size_t completed_ = 0;          // How many segments at the front are complete.
  int64_t next_sequence_ = 1;
  int64_t unsent_bytes_ = 0;
  bool closed_ = false;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_SOURCE_LOG_H_
