#include "server/wire/to_proto.h"

#include <utility>

namespace leapstream {
namespace {

// `proto` is a SegmentStats or a Lagging, whose fields have the same names.
template <typename Proto>
void SetLagging(const metrics::Lagging& lagging, Proto& proto) {
  proto.set_average_lagging(lagging.al);
  proto.set_length_adaptive_average_lagging(lagging.laal);
  proto.set_average_proportion(lagging.ap);
  proto.set_differentiable_average_lagging(lagging.dal);
  proto.set_average_token_delay(lagging.atd);
  proto.set_start_offset(lagging.start_offset);
  proto.set_end_offset(lagging.end_offset);
  if (lagging.yaal.has_value()) proto.set_yet_another_average_lagging(*lagging.yaal);
}

}  // namespace

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  const int64_t seconds = absl::IDivDuration(duration, absl::Seconds(1), &duration);
  proto.set_seconds(seconds);
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
  return proto;
}

v1::EarlyEnd ToProto(EarlyEnd early_end) {
  switch (early_end) {
    case EarlyEnd::kStop:
      return v1::EARLY_END_STOP;
    case EarlyEnd::kSuppress:
      return v1::EARLY_END_SUPPRESS;
    case EarlyEnd::kReadOn:
      return v1::EARLY_END_READ_ON;
    case EarlyEnd::kForceFinish:
      return v1::EARLY_END_FORCE_FINISH;
  }
  return v1::EARLY_END_UNSPECIFIED;
}

v1::PauseDetection ToProto(const PauseRule& rule) {
  v1::PauseDetection proto;
  *proto.mutable_min_duration() = ToProto(rule.duration);
  proto.set_threshold_db(rule.threshold_db);
  return proto;
}

v1::SegmentStats ToProto(const SegmentStats& stats) {
  v1::SegmentStats proto;
  proto.set_source_tokens(stats.source_tokens);
  proto.set_target_tokens(stats.target_tokens);
  SetLagging(stats.lagging, proto);
  if (stats.words.has_value()) SetLagging(*stats.words, *proto.mutable_words());
  if (stats.computation_aware.has_value()) {
    SetLagging(*stats.computation_aware, *proto.mutable_computation_aware());
  }
  if (stats.words_computation_aware.has_value()) {
    SetLagging(*stats.words_computation_aware, *proto.mutable_words_computation_aware());
  }
  *proto.mutable_first_token_duration() = ToProto(stats.first_token);
  *proto.mutable_compute_duration() = ToProto(stats.compute);
  *proto.mutable_queue_duration() = ToProto(stats.queue);
  proto.set_source_audio_ms(absl::ToDoubleMilliseconds(stats.source_audio));
  proto.set_encoder_rows(stats.cost.encoder_rows);
  proto.set_decoder_rows(stats.cost.decoder_rows);
  proto.set_decoder_steps(stats.decoder_steps);
  return proto;
}

v1::FinishReason ToProto(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfSentence:
      return v1::FINISH_REASON_END_OF_SENTENCE;
    case FinishReason::kMaxLength:
      return v1::FINISH_REASON_MAX_LENGTH;
    case FinishReason::kSourceLimit:
      return v1::FINISH_REASON_SOURCE_LIMIT;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

v1::TargetDelta ToProto(TargetDelta delta, const v1::OutputOptions& output) {
  v1::TargetDelta proto;
  proto.set_segment(delta.segment);
  proto.set_text(std::move(delta.text));
  proto.set_source_tokens_read(delta.token.source_tokens_read);
  const double audio_ms = absl::ToDoubleMilliseconds(delta.token.source_audio);
  proto.set_source_audio_ms(audio_ms);
  proto.set_audio_offset_ms(absl::ToDoubleMilliseconds(delta.token.audio_offset));
  if (!output.token_details()) return proto;
  v1::TargetToken& token = *proto.add_tokens();
  token.set_id(delta.token.id);
  token.set_piece(std::move(delta.token.piece));
  token.set_source_tokens_read(delta.token.source_tokens_read);
  token.set_source_audio_ms(audio_ms);
  if (output.log_probs()) token.set_log_prob(delta.token.log_prob);
  *token.mutable_emit_offset() = ToProto(delta.token.emit_offset);
  return proto;
}

v1::TargetDelta UnsentToProto(const SegmentCompleted& completed) {
  v1::TargetDelta proto;
  proto.set_segment(completed.segment);
  proto.set_text(completed.unsent);
  proto.set_source_tokens_read(completed.stats.source_tokens);
  proto.set_source_audio_ms(absl::ToDoubleMilliseconds(completed.stats.source_audio));
  proto.set_audio_offset_ms(absl::ToDoubleMilliseconds(completed.audio_end));
  return proto;
}

v1::SegmentCompleted ToProto(const SegmentCompleted& completed, const v1::OutputOptions& output) {
  v1::SegmentCompleted proto;
  proto.set_segment(completed.segment);
  proto.set_text(completed.text);
  proto.set_finish_reason(ToProto(completed.reason));
  if (output.segment_stats()) *proto.mutable_stats() = ToProto(completed.stats);
  proto.set_untranslated_source_tokens(completed.untranslated_source_tokens);
  proto.set_source_dropped(completed.source_dropped);
  proto.set_continues(completed.continues_at.has_value());
  proto.set_audio_start_ms(absl::ToDoubleMilliseconds(completed.audio_begin));
  proto.set_audio_end_ms(absl::ToDoubleMilliseconds(completed.audio_end));
  return proto;
}

v1::SessionSummary ToProto(const SessionSummary& summary, const v1::OutputOptions& output) {
  v1::SessionSummary proto;
  proto.set_segments(summary.segments);
  proto.set_source_tokens(summary.source_tokens);
  proto.set_target_tokens(summary.target_tokens);
  proto.set_untranslated_source_tokens(summary.untranslated_source_tokens);
  proto.set_dropped_source_bytes(summary.dropped_source_bytes);
  if (output.segment_stats()) *proto.mutable_totals() = ToProto(summary.totals);
  return proto;
}

v1::Usage ToProto(const CallUsage& usage) {
  v1::Usage proto;
  proto.set_source_characters(usage.source_characters());
  proto.set_source_audio_ms(absl::ToDoubleMilliseconds(usage.source_audio()));
  proto.set_target_tokens(usage.target_tokens());
  return proto;
}

}  // namespace leapstream
