#ifndef LEAPSTREAM_SERVER_RPC_SOURCE_RECEIVER_H_
#define LEAPSTREAM_SERVER_RPC_SOURCE_RECEIVER_H_

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "server/accounts.h"
#include "server/rpc/resume_points.h"
#include "server/rpc/sentence_input.h"
#include "server/wire/open_request.h"
#include "server/wire/source_reader.h"
#include "streaming/pause_segmenter.h"
#include "streaming/session.h"

namespace leapstream {

// Counts the messages of one open stream and gives them to its session. Used by the reading
// reactions, which do not overlap; not thread-safe.
class SourceReceiver {
 public:
  // `points` must outlive this, and be started. `usage` must outlive this, too.
  SourceReceiver(const OpenRequest& request, int max_chunk_bytes, ResumePoints* points,
                 CallUsage* usage, std::shared_ptr<CountedSource> counted);

  // Takes a message after the first one. Returns a resume point if one is due. INVALID_ARGUMENT:
  // see the error table of docs/protocol.md. RESOURCE_EXHAUSTED: the message is more than a quota
  // allows, and was not taken.
  absl::StatusOr<std::optional<ResumePoint>> Receive(const v1::StreamTranslateRequest& request,
                                                     Session& session);
  // Ends the source, after the last message.
  void Finish(Session& session);

 private:
  absl::StatusOr<std::optional<ResumePoint>> ReceiveSource(const v1::SourceChunk& chunk,
                                                           Session& session);
  void EndSegment(Session& session);
  void PushPart(Session& session, PauseSegmenter::Part part, Session::End end);
  // Pushes the last part of a segment of audio that the client ends.
  void PushEnd(Session& session, std::optional<PauseSegmenter::Part> part);
  void PushParts(Session& session, std::vector<SentenceInput::Part> parts);
  // Pushes the segments that the segmenter finds in a chunk. `chunks` others came before the chunk.
  std::optional<ResumePoint> PushSegments(Session& session, int64_t chunks,
                                          const AudioSamples& samples);

  const SourceReader reader_;
  const std::shared_ptr<const Model> model_;
  const int sample_rate_;
  ResumePoints* const points_;
  CallUsage* const usage_;
  const std::shared_ptr<CountedSource> counted_;
  const bool by_pauses_;                     // Pauses end segments.
  std::optional<PauseSegmenter> segmenter_;  // It has a value if the source is audio.
  std::optional<SentenceInput> sentences_;   // It has a value if sentences end segments.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_RPC_SOURCE_RECEIVER_H_
