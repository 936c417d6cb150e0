#ifndef LEAPSTREAM_SERVER_WIRE_TO_PROTO_H_
#define LEAPSTREAM_SERVER_WIRE_TO_PROTO_H_

#include "absl/time/time.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "server/accounts.h"
#include "streaming/pause_segmenter.h"
#include "streaming/session.h"

// These functions turn the session's values into messages of leapstream.v1.
namespace leapstream {

google::protobuf::Duration ToProto(absl::Duration duration);
absl::Duration FromProto(const google::protobuf::Duration& duration);

v1::EarlyEnd ToProto(EarlyEnd early_end);
v1::PauseDetection ToProto(const PauseRule& rule);
v1::SegmentStats ToProto(const SegmentStats& stats);
v1::FinishReason ToProto(FinishReason reason);
v1::Usage ToProto(const CallUsage& usage);

// Make messages of a stream, with as much as `output` asks for. A delta has no sequence number yet.
v1::TargetDelta ToProto(TargetDelta delta, const v1::OutputOptions& output);
v1::SegmentCompleted ToProto(const SegmentCompleted& completed, const v1::OutputOptions& output);
v1::SessionSummary ToProto(const SessionSummary& summary, const v1::OutputOptions& output);
// Makes a delta of the text that became complete only by the segment's end.
v1::TargetDelta UnsentToProto(const SegmentCompleted& completed);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_WIRE_TO_PROTO_H_
